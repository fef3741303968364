CREATE TABLE leads (id BIGINT) WITH (connector = 'single_file', paht = 'leads.json', format = 'jsn');
CREATE TABLE best (id BIGINT) WITH (connector = 'stdot', format = 'json');
INSERT INTO best SELECT idd FROM leads;
