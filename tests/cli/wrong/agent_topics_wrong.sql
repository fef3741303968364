CREATE TABLE agent_topics (workflow_id TEXT, value BYTEA) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'x', 'baton.topics' = 'agents', format = 'raw_bytes', 'sink.key_field' = 'workflow_id');
CREATE TABLE t (value BYTEA) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 't', format = 'raw_bytes');
CREATE TABLE all_topics (topic TEXT METADATA FROM 'topic', value BYTEA) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', 'baton.topics' = 'others', format = 'raw_bytes');
INSERT INTO agent_topics SELECT 'w', value FROM t;
INSERT INTO all_topics SELECT 'w', value FROM t;
INSERT INTO t SELECT value FROM all_topics;
