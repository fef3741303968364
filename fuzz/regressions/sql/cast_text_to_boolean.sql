CREATE TABLE leads (id BIGINT, email TEXT) WITH (connector = 'single_file', path = 'leads.json', format = 'json', type = 'source');
SELECT CASE WHEN 'Active Outreach Agent' THEN email END AS a FROM leads;
