CREATE TABLE leads (id BIGINT, email TEXT) WITH (connector = 'single_file', path = 'leads.json', format = 'json');
CREATE TABLE best (a TEXT, b TEXT) WITH (connector = 'stdout', format = 'json');
