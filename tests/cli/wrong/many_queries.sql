CREATE TABLE leads (id BIGINT NOT NULL, email TEXT, score DOUBLE, tags TEXT[], company STRUCT<name TEXT, city TEXT>) WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source'
);
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
CREATE VIEW v AS SELECT idd, email FROM leads;
CREATE VIEW w AS SELECT upperr(email) AS e FROM leads;
INSERT INTO best SELECT id FROM leads;
INSERT INTO best SELECT * FROM v;
INSERT INTO best SELECT * FROM w;
INSERT INTO best SELECT id, tagz FROM leads;
