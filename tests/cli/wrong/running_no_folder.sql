CREATE TABLE best (id BIGINT) WITH (connector = 'single_file', path = 'running_no_folder.sql/best.json', format = 'json');
CREATE TABLE leads (id BIGINT) WITH (connector = 'single_file', path = 'running_no_folder.sql', format = 'json', bad_data = 'drop');
INSERT INTO best SELECT id FROM leads;
