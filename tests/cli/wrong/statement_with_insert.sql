CREATE TABLE leads (id BIGINT) WITH (connector = 'single_file', path = 'leads.json', format = 'json', type = 'source');
CREATE TABLE best (id BIGINT) WITH (connector = 'single_file', path = 'best.json', format = 'json', type = 'sink');
WITH l AS (SELECT id FROM leads) INSERT INTO best SELECT id FROM l;
