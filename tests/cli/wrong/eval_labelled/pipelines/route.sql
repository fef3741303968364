CREATE TABLE messages (value TEXT) WITH (connector = 'single_file', path = 'messages.json', format = 'json');
CREATE TABLE decisions (decision TEXT) WITH (connector = 'stdout', format = 'json');
CREATE TABLE agents (name TEXT);
INSERT INTO agents VALUES ('Billing Agent'), ('Support Agent');
INSERT INTO decisions
SELECT llm_classify(value, (SELECT json_agg(named_struct('name', name)) FROM agents), NULL) FROM messages;
