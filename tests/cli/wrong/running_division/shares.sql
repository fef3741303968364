CREATE TABLE leads (id BIGINT, parts BIGINT) WITH (connector = 'single_file', path = 'leads.json', format = 'json');
CREATE TABLE best (share BIGINT) WITH (connector = 'stdout', format = 'json');
CREATE VIEW shares AS SELECT 100 / parts AS share FROM leads;
INSERT INTO best SELECT share FROM shares;
