-- Topic agent_messages: all messages between agents. Anyone may publish here; only `context` is required
-- (docs/agents/message.schema.json has all fields). route_messages decides which agent takes each message.
--
-- Messages are read as bytes and opened in SQL, so that one which cannot be read becomes a dead letter and the
-- pipeline goes on. A consumer group without offsets begins with the oldest message.
--
-- For a broker with TLS or a login, set the `auth.…` options in each table (docs/connectors.md). Values may be
-- `${VARIABLES}`.

CREATE TABLE agent_messages (
  value BYTEA,
  workflow_id TEXT, -- the Kafka key: messages of a workflow stay in order
  topic TEXT METADATA FROM 'topic',
  partition INT METADATA FROM 'partition',
  offset_id BIGINT METADATA FROM 'offset_id',
  published_ms BIGINT METADATA FROM 'timestamp'
) WITH (
  connector = 'kafka',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'agent_messages',
  format = 'raw_bytes',
  'source.group_id' = 'route_messages',
  'source.offset' = 'group',
  'baton.create_max_message_bytes' = '3145728',
  client_configs = 'auto.offset.reset=earliest',
  'sink.key_field' = 'workflow_id',
  'baton.create_partitions' = '${BATON_TOPIC_PARTITIONS:-6}'
);

-- The messages as route_messages reads them. Past 20 hops a message is halted, and so is every message of a workflow
-- past its 100th; no model is asked. A decision with less confidence than `least_confidence` goes to unrouted.
CREATE VIEW opened_messages AS
SELECT
  open_message(value, topic, partition, offset_id, published_ms,
    concat('{"hops": 20, "messages": 100, "agents": ', (SELECT json_agg(name) FROM agents), '}')) AS opened,
  0.5 AS least_confidence,
  *
FROM agent_messages;

CREATE VIEW messages AS
SELECT
  opened->>'message_id' AS message_id, opened->>'workflow_id' AS workflow_id, opened->>'parent_id' AS parent_id,
  CAST(opened->>'hop' AS BIGINT) AS hop, opened->>'sender' AS sender, opened->>'created_at' AS created_at,
  json_get_str(opened, 'message', 'context') AS context, opened->>'received_at' AS received_at,
  opened->>'refusal' AS refusal, opened->>'refusal_status' AS refusal_status, opened->>'halted' AS halted,
  least_confidence, opened, value, topic, partition, offset_id, published_ms
FROM opened_messages;
