-- The topics of the agents, one for each CREATE AGENT. route_messages writes here, and a row goes to the topic that it
-- names. An agent's inbox has the options of this table.

CREATE TABLE agent_topics (
  topic TEXT METADATA FROM 'topic',
  workflow_id TEXT,
  value BYTEA
) WITH (
  connector = 'kafka',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  'baton.topics' = 'agents',
  format = 'raw_bytes',
  'source.offset' = 'group',
  client_configs = 'auto.offset.reset=earliest',
  'sink.key_field' = 'workflow_id',
  'baton.create_partitions' = '${BATON_TOPIC_PARTITIONS:-6}',
  -- A message with its decision is larger than the message alone.
  'baton.create_max_message_bytes' = '4194304'
);
