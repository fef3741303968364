CREATE TABLE leads (id BIGINT) WITH (connector = 'single_file', path = 'leads.json', format = 'json');
CREATE TABLE rejected (payload TEXT, error TEXT) WITH (connector = 'single_file', path = 'rejected.json', format = 'json');
CREATE TABLE best (id BIGINT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', 'baton.dead_letters' = 'rejected'
);
INSERT INTO best SELECT id FROM leads;
