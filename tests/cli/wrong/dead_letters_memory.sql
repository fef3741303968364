CREATE TABLE leads (id BIGINT NOT NULL) WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source',
  'baton.dead_letters' = 'kept'
);
CREATE TABLE kept (payload TEXT, error TEXT);
INSERT INTO kept SELECT 'a', 'b' FROM leads;
CREATE TABLE best (id BIGINT) WITH (connector = 'single_file', path = 'best.json', format = 'json', type = 'sink');
INSERT INTO best SELECT id FROM leads;
