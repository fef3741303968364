CREATE TABLE leads (id BIGINT NOT NULL, email TEXT, score DOUBLE, tags TEXT[], company STRUCT<name TEXT, city TEXT>) WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source'
);
CREATE TABLE best (id BIGINT) AS SELECT id FROM leads;
CREATE TABLE rest WITH (connector = 'blackhole') AS SELECT id FROM leads;
INSERT INTO best SELECT id FROM leads;
