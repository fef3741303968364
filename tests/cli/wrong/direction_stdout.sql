CREATE TABLE screen (id BIGINT) WITH (connector = 'stdout', format = 'json');
CREATE TABLE best (id BIGINT, email TEXT) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
INSERT INTO best SELECT id, 'x' FROM screen;
