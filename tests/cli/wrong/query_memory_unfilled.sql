CREATE TABLE kept (id BIGINT, email TEXT);
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
INSERT INTO best SELECT id, email FROM kept;
