CREATE TABLE leads (id BIGINT, PRIMARY KEY (id)) WITH (connector = 'single_file', path = 'leads.json', format = 'json');
CREATE TABLE best (id BIGINT DEFAULT 5, email TEXT) WITH (connector = 'stdout', format = 'json');
INSERT INTO best SELECT id, 'x' FROM leads;
