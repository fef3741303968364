CREATE TABLE leads (id BIGINT NOT NULL) WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source',
  'baton.dead_letters' = 'rejected'
);
CREATE TABLE rejected (payload BIGINT, message_id TEXT NOT NULL, partition INT NOT NULL) WITH (
  connector = 'single_file', path = 'rejected.json', format = 'json'
);
CREATE TABLE best (id BIGINT) WITH (connector = 'single_file', path = 'best.json', format = 'json', type = 'sink');
INSERT INTO best SELECT id FROM leads;
