CREATE TABLE leads (id BIGINT) WITH (connector = 'single_file', path = 'leads.json', format = 'avro');
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
INSERT INTO best SELECT id, 'x' FROM leads;
