CREATE TABLE leads (id BIGINT) WITH (
  connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'leads', format = 'jsno', type = 'source',
  'source.offset' = 'newest', bad_data = 'skip'
);
CREATE TABLE best (id BIGINT) WITH (connector = 'single_file', path = 'best.json', format = 'json', type = 'both');
INSERT INTO best SELECT id FROM leads;
