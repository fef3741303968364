CREATE TABLE leads (id BIGINT, seen TIMESTAMP, WATERMARK FOR id, WATERMARK FOR sen AS seen - INTERVAL '1 second') WITH (
  connector = 'single_file', path = 'leads.json', format = 'json', type = 'source'
);
CREATE TABLE best (userId BIGINT, kind VARBINARY, lists TEXT[][], at TIMESTAMP(4)) WITH (
  connector = 'single_file', path = 'best.json', format = 'json', type = 'sink'
);
INSERT INTO best SELECT id FROM leads;
