CREATE TABLE leads (id BIGINT) WITH (connector = 'single_file');
CREATE TABLE best (id BIGINT) WITH (connector = 'kafka', format = 'json', type = 'sink');
INSERT INTO best SELECT id FROM leads;
