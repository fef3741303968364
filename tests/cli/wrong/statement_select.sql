CREATE TABLE leads (id BIGINT NOT NULL, email TEXT, score DOUBLE, tags TEXT[], company STRUCT<name TEXT, city TEXT>) WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source'
);
SELECT id FROM leads;
