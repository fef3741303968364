CREATE AGENT legal WITH (name = 'Legal', description = 'd', input = 'i', output = 'o', url = 'https://h/?api_key=sk-abc123456', topic = 'dead_letters');
CREATE VIEW v AS
SELECT
  nme,
  CAST(context AS NUMBER) AS n,
  uppr(context) AS u
FROM legal;
