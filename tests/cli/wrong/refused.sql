CREATE TABLE leads (id BIGINT NOT NULL, email TEXT, score DOUBLE, tags TEXT[], company STRUCT<name TEXT, city TEXT>) WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source'
);
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
INSERT INTO best SELECT DISTINCT id, email FROM leads;
INSERT INTO best SELECT id, email FROM leads ORDER BY id;
INSERT INTO best SELECT id, email FROM leads LIMIT 5;
INSERT INTO best SELECT id, email FROM leads UNION SELECT id, email FROM leads;
INSERT INTO best SELECT 1, 'x';
INSERT INTO best SELECT id, email FROM leads WHERE id IN (SELECT id FROM leads);
