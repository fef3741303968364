CREATE TABLE leads (id BIGINT NOT NULL) WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source',
  'baton.dead_letters' = 'rejected'
);
CREATE TABLE rejected (payload TEXT, error TEXT) WITH (
  connector = 'single_file', path = 'rejected.json', format = 'json', type = 'source'
);
CREATE TABLE best (id BIGINT) WITH (connector = 'single_file', path = 'best.json', format = 'json', type = 'sink');
INSERT INTO best SELECT id FROM leads;
