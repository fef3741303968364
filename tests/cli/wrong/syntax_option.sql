CREATE TABLE best (id BIGINT) WITH (connector = 'stdout', format);
INSERT INTO best SELECT 1;
