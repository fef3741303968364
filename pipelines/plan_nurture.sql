-- The Nurture Campaign Agent: takes a scored lead whose next step is Nurture and writes three e-mails, by the lead's
-- source and interest. The e-mails are in the field `emails`; the router reads only that they are finished. To change:
-- the prompt in `letters`.

CREATE AGENT nurture_campaign WITH (
  name = 'Nurture Campaign Agent',
  description = 'Plans a nurture campaign: a sequence of three e-mails for a lead that needs more time.',
  input = 'A scored lead whose next step is Nurture. No e-mails have been written yet.',
  output = 'Three finished e-mails, ready to be sent.'
);

CREATE VIEW leads AS
SELECT *, regexp_match(lead_data->>'email', '^\s*([^@\s,;<>"\\]+@[^@\s,;<>"\\]+)\s*$')[1] AS recipient,
  CAST(received_at AS TIMESTAMP) AS day
FROM nurture_campaign;

CREATE VIEW letters AS
SELECT
  llm_complete(
    'You write for StratusDB, which sells a cloud data warehouse (StratusAI Warehouse) to data and analytics leaders at
    mid-size and large companies. This lead needs more time. Plan three short e-mails, to be sent today, in three days
    and in a week, in the language in which the lead describes the project: the first thanks and refers to where the
    lead came from, the second teaches something useful about what the lead is interested in, the third asks one
    question that is easy to answer. At most 100 words each, plain text, no pressure. Sign as "The StratusDB team".
    Leave no placeholders. Answer with emails: three times subject and body.',
    input,
    -- The e-mails without a model.
    concat('{"emails": [{"subject": "Thank you for your interest in StratusDB", "body": "Hello,\n\nthank you for ',
      'writing to us', CASE WHEN lead_data->>'lead_source' ILIKE '%webinar%' THEN ' after our webinar' ELSE '' END,
      '.\n\nThe StratusDB team"}, {"subject": "What a data warehouse is good for", "body": "Hello,\n\na data ',
      'warehouse pays off when several teams ask about the same data.\n\nThe StratusDB team"}, {"subject": "One ',
      'question", "body": "Hello,\n\nwhat would make a plan of your project?\n\nThe StratusDB team"}]}'),
    '{"temperature": 0.4, "max_tokens": 6000, "schema": {"type": "object", "additionalProperties": false,
      "required": ["emails"], "properties": {"emails": {"type": "array", "minItems": 3, "maxItems": 3, "items": {
        "type": "object", "additionalProperties": false, "required": ["subject", "body"], "properties": {
          "subject": {"type": "string", "pattern": "^[^\\r\\n]*\\S[^\\r\\n]*$"},
          "body": {"type": "string", "pattern": "\\S"}}}}}}}'
  ) AS answer,
  *
FROM leads WHERE recipient IS NOT NULL;

INSERT INTO agent_messages (workflow_id, value)
SELECT workflow_id, reply(opened,
  concat('Three finished e-mails, ready to be sent. To: ', left(recipient, 320), '.'), answer, concat('{"emails": [',
    '{"to": "', recipient, '", "send_at": "', received_at, '", ',
    substr(json_get_json(said, 'emails', 0), 2), ', ',
    '{"to": "', recipient, '", "send_at": "', to_char(day + INTERVAL '3 days', '%Y-%m-%dT%H:%M:%S%.3fZ'), '", ',
    substr(json_get_json(said, 'emails', 1), 2), ', ',
    '{"to": "', recipient, '", "send_at": "', to_char(day + INTERVAL '7 days', '%Y-%m-%dT%H:%M:%S%.3fZ'), '", ',
    substr(json_get_json(said, 'emails', 2), 2), ']}'))
FROM (SELECT *, json_get_str(answer, 'text') AS said FROM letters WHERE answer->>'status' = 'ok') AS answered;

INSERT INTO dead_letters
SELECT workflow_id, message_id, 'plan_nurture', topic, partition, offset_id, published_ms, value,
  coalesce(answer->>'status', 'failed'), coalesce(answer->>'error', 'no answer'), received_at
FROM letters WHERE coalesce(answer->>'status', 'failed') <> 'ok'
UNION ALL
SELECT workflow_id, message_id, 'plan_nurture', topic, partition, offset_id, published_ms, value,
  'contract', 'the lead has no e-mail address: `lead_data.email` must be one', received_at
FROM leads WHERE recipient IS NULL;
