CREATE TABLE messages (value TEXT) WITH (connector = 'single_file', path = 'messages.json', format = 'json');
CREATE TABLE copies (value TEXT) WITH (connector = 'stdout', format = 'json');
INSERT INTO copies SELECT llm_classify(value, '["Billing Agent"]', '{}') FROM messages;
