CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'best', format = 'json', type = 'sink',
  'sink.commit_mode' = 'exactly_once'
);
CREATE TABLE leads (id BIGINT NOT NULL, email TEXT, score DOUBLE, tags TEXT[], company STRUCT<name TEXT, city TEXT>) WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source'
);
INSERT INTO best SELECT id, email FROM leads;
