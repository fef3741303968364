CREATE TABLE messages (value TEXT) WITH (connector = 'single_file', path = '${NOT_SET}', format = 'json');
CREATE TABLE decisions (decision TEXT) WITH (connector = 'stdout', format = 'json');
INSERT INTO decisions SELECT llm_classify(value, '[{"name": "A"}]', '{}') FROM messages;
INSERT INTO decisions SELECT llm_classify(value, '[{"name": "B"}]', '{}') FROM messages;
