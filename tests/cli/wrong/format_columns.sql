CREATE TABLE leads (id BIGINT, value TEXT) WITH (connector = 'single_file', path = 'leads.json', format = 'raw_string');
CREATE TABLE bytes (value TEXT) WITH (connector = 'single_file', path = 'leads.json', format = 'raw_bytes');
CREATE TABLE loose (payload JSON) WITH (connector = 'single_file', path = 'leads.json', format = 'json', 'json.unstructured' = 'true');
CREATE TABLE typed (id BIGINT, raw BYTEA) WITH (connector = 'single_file', path = 'leads.json', format = 'json');
CREATE TABLE best (v TEXT) WITH (connector = 'stdout', format = 'json');
INSERT INTO best SELECT value FROM leads;
INSERT INTO best SELECT value FROM bytes;
INSERT INTO best SELECT payload FROM loose;
INSERT INTO best SELECT id FROM typed;
