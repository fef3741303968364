CREATE TABLE leads (id BIGINT) WITH (connector = 'kafak', topic = 'leads', format = 'json');
CREATE TABLE best (id BIGINT) WITH (connector = 'mongodb', format = 'json');
INSERT INTO best SELECT id FROM leads;
