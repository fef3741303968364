CREATE TABLE leads (
  value BYTEA, place TEXT METADATA FROM 'offset_id', part INT METADATA FROM 'partition', o BIGINT METADATA FROM 'ofset_id'
) WITH (connector = 'kafka', bootstrap_servers = 'localhost:9092', topic = 'leads', format = 'raw_bytes', type = 'source');
CREATE TABLE best (v BIGINT) WITH (connector = 'stdout', format = 'json');
INSERT INTO best SELECT part FROM leads;
