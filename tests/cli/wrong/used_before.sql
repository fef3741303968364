CREATE TABLE leads (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source'
);
INSERT INTO best SELECT id, email FROM known;
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
CREATE VIEW known AS SELECT id, email FROM kept;
CREATE TABLE kept (id BIGINT, email TEXT);
INSERT INTO best SELECT id, email FROM kept;
INSERT INTO kept SELECT id, email FROM leads;
