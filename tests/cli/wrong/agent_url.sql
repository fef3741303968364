CREATE TABLE agent_topics (topic TEXT METADATA FROM 'topic', workflow_id TEXT, value BYTEA) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', 'baton.topics' = 'agents', format = 'raw_bytes', 'sink.key_field' = 'workflow_id');
CREATE TABLE agent_messages (value BYTEA, workflow_id TEXT) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'agent_messages', format = 'raw_bytes', 'sink.key_field' = 'workflow_id');
CREATE TABLE dead_letters (workflow_id TEXT, payload BYTEA, status TEXT, error TEXT) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'dead_letters', format = 'json');
CREATE TABLE agent_messages_in (value BYTEA) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'in', format = 'raw_bytes');
CREATE AGENT legal_review WITH (
  name = 'Legal Review Agent', description = 'd', input = 'i', output = 'o',
  url = 'https://${BATON_TEST_NOT_SET}/work?key=${BATON_TEST_NOT_SET_EITHER}',
  options = '{"headers": {"Authorization": "Bearer ${BATON_TEST_NO_TOKEN}"}}'
);
CREATE AGENT tax_review WITH (
  name = 'Tax Review Agent', description = 'd', input = 'i2', output = 'o', url = 'legal.example.com/work',
  options = '{"timeot": "10s", "method": "FETCH"}'
);
CREATE AGENT risk_review WITH (
  name = 'Risk Review Agent', description = 'd', input = 'i3', output = 'o', url = 'https://${HOST/work'
);
INSERT INTO dead_letters (error) SELECT http_call('ftp://h', 'x', '{"retries": 11}') FROM agent_messages_in;
