CREATE TABLE leads (id BIGINT, email TEXT) WITH (connector = 'single_file', path = 'leads.json', format = 'json', type = 'source');
CREATE TABLE best (id BIGINT, email TEXT) WITH (connector = 'single_file', path = 'best.json', format = 'json', type = 'sink');
CREATE TABLE sizes (name TEXT, size BIGINT);
INSERT INTO sizes VALUES ('small', 1), ('large', 100);
