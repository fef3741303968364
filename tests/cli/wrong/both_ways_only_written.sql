CREATE TABLE t (value BYTEA, workflow_id TEXT, place TEXT METADATA FROM 'topic') WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 't', format = 'raw_bytes', 'sink.key_field' = 'workflow_id');
INSERT INTO t SELECT value, workflow_id FROM t;
INSERT INTO t SELECT value, place, 'k' FROM t;
