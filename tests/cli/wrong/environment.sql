CREATE TABLE leads (id BIGINT) WITH (connector = 'single_file', path = '${LEADS_OF_NOBODY}/leads.json', format = 'json');
CREATE TABLE best (id BIGINT) WITH (connector = 'single_file', path = '${OPEN', format = 'json');
INSERT INTO best SELECT id FROM leads;
