-- A column that the view gives no name cannot be proposed.
CREATE TABLE leads (name TEXT, size BIGINT) WITH (
  connector = 'single_file', path = 'in.json', format = 'json', type = 'source', wait_for_control = 'false'
);
CREATE VIEW named AS
SELECT name, concat('a', name) FROM leads;

SELECT company FROM named;
