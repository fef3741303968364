CREATE TABLE leads (id BIGINT, userName TEXT) WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source'
);
CREATE TABLE best (id BIGINT, userName TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
INSERT INTO best (id, userName) SELECT id, "userName" FROM leads;
INSERT INTO best (id, "userName", id) SELECT id, userName, id FROM leads;
INSERT INTO best ("userName") SELECT id, "userName" FROM leads;
CREATE TABLE open WITH (connector = 'stdout', format = 'json');
INSERT INTO open SELECT id FROM leads;
INSERT INTO open SELECT "userName" FROM leads;
