CREATE TABLE messages (value TEXT, agents TEXT) WITH (connector = 'single_file', path = 'messages.json', format = 'json');
CREATE TABLE decisions (decision TEXT) WITH (connector = 'stdout', format = 'json');
INSERT INTO decisions
SELECT llm_classify(value, agents, CASE WHEN value = '' THEN '{}' END) FROM messages;
