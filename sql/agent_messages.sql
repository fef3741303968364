-- Topic agent_messages: what agents say to each other, and the only place where they say it. Written by copy_leads, by the
-- agents, by anyone; read by route_messages, which decides who takes each message next.
--
-- A message, in docs/agents/message.schema.json field by field: only `context` must be there.

CREATE TABLE agent_messages (
  value BYTEA,
  topic TEXT METADATA FROM 'topic',
  partition INT METADATA FROM 'partition',
  offset_id BIGINT METADATA FROM 'offset_id',
  published_ms BIGINT METADATA FROM 'timestamp'
) WITH (
  connector = 'kafka',
  type = 'source',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'agent_messages',
  'baton.create_partitions' = '6',
  format = 'raw_bytes',
  'source.group_id' = 'route_messages',
  'source.offset' = 'group',
  client_configs = 'auto.offset.reset=earliest'
);

CREATE TABLE agent_messages_sink (
  message_id TEXT,
  workflow_id TEXT,
  parent_id TEXT,
  hop BIGINT,
  sender TEXT,
  created_at TEXT,
  lead_data STRUCT<
    name TEXT, email TEXT, job_title TEXT, company_name TEXT, company_website TEXT, project_description TEXT,
    lead_source TEXT
  >,
  context TEXT
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'agent_messages',
  'baton.create_partitions' = '6',
  format = 'json',
  'sink.key_field' = 'workflow_id',
  'sink.commit_mode' = 'at_least_once'
);

-- The same topic, for the agents whose messages carry finished e-mails.
CREATE TABLE agent_messages_with_emails_sink (
  message_id TEXT,
  workflow_id TEXT,
  parent_id TEXT,
  hop BIGINT,
  sender TEXT,
  created_at TEXT,
  lead_data STRUCT<
    name TEXT, email TEXT, job_title TEXT, company_name TEXT, company_website TEXT, project_description TEXT,
    lead_source TEXT
  >,
  context TEXT,
  emails STRUCT<to TEXT, subject TEXT, body TEXT, send_at TEXT>[]
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'agent_messages',
  'baton.create_partitions' = '6',
  format = 'json',
  'sink.key_field' = 'workflow_id',
  'sink.commit_mode' = 'at_least_once'
);
