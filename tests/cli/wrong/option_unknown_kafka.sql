CREATE TABLE leads (id BIGINT) WITH (
  connector = 'kafka', bootstrap_server = 'localhost:9092', topic = 'leads', format = 'json', type = 'source',
  'source.ofset' = 'earliest', 'sink.key_fields' = 'id'
);
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
INSERT INTO best SELECT id, 'x' FROM leads;
