CREATE TABLE agents (name TEXT, weight BIGINT);
INSERT INTO agents VALUES ('a', 1), ('b', 2);
CREATE TABLE leads (id BIGINT NOT NULL, email TEXT, score DOUBLE, tags TEXT[], company STRUCT<name TEXT, city TEXT>) WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source'
);
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
INSERT INTO best SELECT id, name FROM leads CROSS JOIN agents;
INSERT INTO best SELECT weight, name  unrouted FROM agents;
INSERT INTO best SELECT id, (SELECT FROM agents) FROM leads;
