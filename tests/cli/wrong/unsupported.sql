CREATE TABLE leads (id BIGINT NOT NULL, email TEXT, score DOUBLE, tags TEXT[], company STRUCT<name TEXT, city TEXT>) WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source'
);
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
CREATE VIEW joined AS SELECT a.id, b.email FROM leads AS a JOIN leads AS b ON a.id = b.id;
CREATE VIEW counted AS SELECT count(*) AS n, 'x' AS t FROM leads;
CREATE VIEW ranked AS SELECT row_number() OVER (PARTITION BY email ORDER BY id) AS n, email FROM leads;
INSERT INTO best SELECT * FROM joined;
INSERT INTO best SELECT * FROM counted;
INSERT INTO best SELECT * FROM ranked;
