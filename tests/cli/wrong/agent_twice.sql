CREATE TABLE agent_topics (topic TEXT METADATA FROM 'topic', workflow_id TEXT, value BYTEA) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', 'baton.topics' = 'agents', format = 'raw_bytes', 'sink.key_field' = 'workflow_id');
CREATE TABLE agent_messages (value BYTEA, workflow_id TEXT) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'agent_messages', format = 'raw_bytes', 'sink.key_field' = 'workflow_id');
CREATE TABLE dead_letters (workflow_id TEXT, payload BYTEA, status TEXT, error TEXT) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'dead_letters', format = 'json');
CREATE AGENT one WITH (name = 'First Agent', description = 'd', input = 'i', output = 'o', topic = 'shared');
CREATE AGENT two WITH (name = 'first agent', description = 'd', input = 'i', output = 'o', topic = 'shared');
CREATE AGENT one WITH (name = 'Third Agent', description = 'd', input = 'i', output = 'o', topic = 'third');
CREATE VIEW one AS SELECT value FROM agent_messages;
CREATE TABLE agents (name TEXT);
INSERT INTO agent_messages SELECT value, workflow_id FROM two;
