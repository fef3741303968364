CREATE TABLE leads (id BIGINT, email TEXT, domain TEXT GENERATED ALWAYS AS (split_part(emial, '@', 2))) WITH (connector = 'single_file', path = 'leads.json', format = 'json');
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
INSERT INTO best SELECT id, domain FROM leads;
