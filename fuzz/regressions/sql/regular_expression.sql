CREATE TABLE leads (id BIGINT, email TEXT) WITH (connector = 'single_file', path = 'leads.json', format = 'json', type = 'source');
SELECT regexp_like(email, '@(gmail|ARRAY[t-online|]') AS free FROM leads;
