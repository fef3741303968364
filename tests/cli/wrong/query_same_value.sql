CREATE TABLE leads (id BIGINT) WITH (connector = 'single_file', path = 'leads.json', format = 'json');
CREATE TABLE best (id BIGINT, low INT, high INT) WITH (connector = 'single_file', path = 'best.json', format = 'json');
INSERT INTO best SELECT id, 0, 0 FROM leads;
