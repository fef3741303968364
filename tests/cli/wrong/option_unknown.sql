CREATE TABLE leads (id BIGINT) WITH (connector = 'single_file', pfad = 'a', path = 'leads.json', format = 'json', wait_for_contrl = 'false', 'sourec.offset' = 'earliest');
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
INSERT INTO best SELECT id, 'x' FROM leads;
