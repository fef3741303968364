CREATE TABLE leads (id BIGINT, at INTERVAL, place GEOMETRY) WITH (connector = 'single_file', path = 'leads.json', format = 'json');
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
INSERT INTO best SELECT id, 'x' FROM leads;
