CREATE TABLE leads (id BIGINT, note TEXT)
WITH (connector = 'single_file', path = 'in.json', format = 'json', type = 'source');
CREATE TABLE answers (id BIGINT, answer TEXT) WITH (connector = 'stdout', format = 'json');

CREATE VIEW asked AS
SELECT id, llm_classify(note, '[]', '{}') AS answer FROM leads;

INSERT INTO answers SELECT id, answer FROM asked;
