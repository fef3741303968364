CREATE TABLE leads (id BIGINT, payload TEXT) WITH (connector = 'single_file', path = 'leads.json', format = 'json', type = 'source');
CREATE TABLE best (id BIGINT) WITH (connector = 'single_file', path = 'best.json', format = 'json', type = 'sink');
INSERT INTO best SELECT id FROM leads WHERE payload->'next' = 'Nurture';
INSERT INTO best SELECT length(payload) FROM leads WHERE char_length(payload) > 3;
