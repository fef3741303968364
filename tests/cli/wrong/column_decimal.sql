CREATE TABLE leads (id DECIMAL(60, 2)) WITH (connector = 'single_file', path = 'leads.json', format = 'json');
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
INSERT INTO best SELECT 1, 'x' FROM leads;
