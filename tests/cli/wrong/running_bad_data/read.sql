CREATE TABLE leads (id BIGINT NOT NULL, email TEXT) WITH (connector = 'single_file', path = 'leads.json', format = 'json');
CREATE TABLE best (id BIGINT) WITH (connector = 'blackhole');
INSERT INTO best SELECT id FROM leads;
