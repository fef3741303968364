CREATE TABLE leads (id BIGINT, note TEXT, own TEXT)
WITH (connector = 'single_file', path = 'in.json', format = 'json', type = 'source');
CREATE TABLE answers (id BIGINT, answer TEXT) WITH (connector = 'stdout', format = 'json');

CREATE VIEW here AS
SELECT id, llm_classify(note, '[]', '{"modell": "large"}') AS answer FROM leads;

CREATE VIEW questions AS
SELECT note, '[]' AS agents, '{"temperature": 3, "timeout": 10}' AS options, id FROM leads;
CREATE VIEW few AS
SELECT * FROM (SELECT * FROM questions WHERE id > 3) AS q WHERE id < 5;
CREATE VIEW below AS
SELECT llm_classify(note, agents, options) AS answer, id FROM few;

CREATE VIEW either AS
SELECT note, concat('{"dead', 'line": "1y"}') AS options, id FROM leads
UNION ALL
SELECT note, own, id FROM leads WHERE own IS NOT NULL
UNION ALL
SELECT note, CASE WHEN id > 7 THEN '{"prompt": "Answer."}' ELSE '[]' END, id FROM leads;
CREATE VIEW completed AS
SELECT llm_complete('Answer.', note, '', options) AS answer, id FROM either;

INSERT INTO answers SELECT id, answer FROM here;
INSERT INTO answers SELECT id, answer FROM below;
INSERT INTO answers SELECT id, answer FROM completed;
