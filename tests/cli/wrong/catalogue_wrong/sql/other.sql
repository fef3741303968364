CREATE TABLE other (id BIGINT) WITH (connector = 'stdout', format = 'json'
