CREATE TABLE agent_messages (value TEXT) WITH (connector = 'kafka', bootstrap_servers = 'k:9092',
  topic = 'agent_messages', format = 'raw_string', 'source.offset' = 'earliest', 'source.group_id' = 'all',
  'auth.type' = 'sasl', 'auth.protocol' = 'SASL_SSL', 'auth.mechanism' = 'PLAIN', 'auth.username' = 'shop',
  'auth.password' = 'hunter2hunter2');
CREATE TABLE agent_topics (topic TEXT METADATA FROM 'topic', value BYTEA) WITH (connector = 'kafka',
  bootstrap_servers = 'k:9092', 'baton.topics' = 'agents', format = 'raw_bytes', 'source.offset' = 'earliest');
CREATE TABLE nobody (a TEXT) WITH (connector = 'kafka', bootstrap_servers = 'k:9092', topic = 'nobody', format = 'json');
CREATE TABLE results (value TEXT) WITH (connector = 'stdout', format = 'json');
CREATE TABLE dead_letters (
  workflow_id TEXT, message_id TEXT, pipeline TEXT, topic TEXT, partition INT, offset_id BIGINT, timestamp BIGINT,
  payload BYTEA, status TEXT, error TEXT, created_at TEXT
) WITH (connector = 'kafka', bootstrap_servers = 'k:9092', topic = 'dead_letters', format = 'json');
