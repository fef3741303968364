CREATE TABLE agent_topics (topic TEXT METADATA FROM 'topic', workflow_id TEXT, value BYTEA) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', 'baton.topics' = 'agents', format = 'raw_bytes', 'sink.key_field' = 'workflow_id');
CREATE TABLE agent_messages (value BYTEA, workflow_id TEXT) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'agent_messages', format = 'raw_bytes', 'sink.key_field' = 'workflow_id');
CREATE TABLE dead_letters (workflow_id TEXT, payload BYTEA, status TEXT, error TEXT) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'dead_letters', format = 'json');
CREATE TABLE reviews (value BYTEA) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'legal_review', format = 'raw_bytes');
CREATE AGENT one WITH (name = 'First Agent', description = 'd', input = 'i', output = 'o', topic = 'agent_messages');
CREATE AGENT two WITH (name = 'Second Agent', description = 'd', input = 'i', output = 'o', topic = 'dead_letters');
CREATE AGENT legal_review WITH (name = 'Legal Review Agent', description = 'd', input = 'i', output = 'o');
INSERT INTO agent_messages SELECT value, workflow_id FROM one;
