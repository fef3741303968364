CREATE TABLE leads (id BIGINT, email TXT) WITH (connector = 'single_file', path = 'leads.json', format = 'json');
CREATE TABLE leads (id BIGINT) WITH (connector = 'single_file', format = 'json');
UPDATE leads SET id = 1;
