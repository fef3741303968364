CREATE TABLE leads (id BIGINT NOT NULL) WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source',
  wait_for_control = 'false'
);
CREATE TABLE best (id BIGINT) WITH (connector = 'single_file', path = 'best.json', format = 'json', type = 'sink');
INSERT INTO best SELECT id FROM leads WHERE id = (SELECT FROM leads);
