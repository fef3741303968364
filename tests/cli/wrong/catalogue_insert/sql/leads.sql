CREATE TABLE leads (id BIGINT) WITH (connector = 'single_file', path = 'leads.json', format = 'json');
CREATE TABLE best (id BIGINT) WITH (connector = 'stdout', format = 'json');
INSERT INTO best SELECT id FROM leads;
