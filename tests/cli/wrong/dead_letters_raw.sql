CREATE TABLE leads (value TEXT) WITH (
  connector = 'single_file', path = 'leads.json', format = 'raw_string', type = 'source',
  'baton.dead_letters' = 'rejected'
);
CREATE TABLE rejected (payload TEXT, error TEXT) WITH (connector = 'single_file', path = 'rejected.json', format = 'json');
CREATE TABLE best (id BIGINT) WITH (connector = 'single_file', path = 'best.json', format = 'json', type = 'sink');
INSERT INTO best SELECT CAST(value AS BIGINT) FROM leads;
