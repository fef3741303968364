CREATE TABLE leads (id BIGINT) WITH (connector = 'single_file', path = 'leads.json', path = 'other.json', format = 'json');
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
INSERT INTO best SELECT id, 'x' FROM leads;
