-- The Active Outreach Agent: takes a scored lead whose next step is Actively Engage and writes one personal e-mail to
-- book a meeting. The e-mail is in the field `emails`; the router reads only that it is finished. To change: the
-- prompt in `letters`.

CREATE AGENT active_outreach WITH (
  name = 'Active Outreach Agent',
  description = 'Writes one personal e-mail to book a meeting with one of the best leads.',
  input = 'A scored lead whose next step is Actively Engage. No e-mail has been written yet.',
  output = 'One finished e-mail, ready to be sent.'
);

CREATE VIEW leads AS
SELECT *, regexp_match(lead_data->>'email', '^\s*([^@\s,;<>"\\]+@[^@\s,;<>"\\]+)\s*$')[1] AS recipient
FROM active_outreach;

CREATE VIEW letters AS
SELECT
  llm_complete(
    'You write for StratusDB, which sells a cloud data warehouse (StratusAI Warehouse) to data and analytics leaders at
    mid-size and large companies. Write one personal e-mail that asks this lead for a meeting of 30 minutes, in the
    language in which the lead describes the project. At most 150 words, plain text. Refer to what the lead wants to do
    and to one or two talking points; promise nothing that the report does not say. Sign as "The StratusDB team". Leave
    no placeholders. Answer with subject and body.',
    input,
    -- The e-mail without a model. The name is copied as JSON, so that it stays valid JSON here.
    concat('{"subject": "Your data project", "body": "Hello ',
      regexp_replace(coalesce(json_get_json(lead_data, 'name'), ''), '^"|"$', '', 'g'),
      ',\n\nthank you for telling us about your project. We would like to understand what it is to be good for.',
      '\n\nWould you have 30 minutes this week or next? Any two times that suit you are enough for an answer.',
      '\n\nKind regards\nThe StratusDB team"}'),
    '{"temperature": 0.4, "max_tokens": 4000, "schema": {"type": "object", "additionalProperties": false,
      "required": ["subject", "body"], "properties": {
        "subject": {"type": "string", "pattern": "^[^\\r\\n]*\\S[^\\r\\n]*$"},
        "body": {"type": "string", "pattern": "\\S"}}}}'
  ) AS answer,
  *
FROM leads WHERE recipient IS NOT NULL;

-- The first sentence says what the message is now: the router chooses the next agent by it.
INSERT INTO agent_messages (workflow_id, value)
SELECT workflow_id, reply(opened,
  concat('One finished e-mail, ready to be sent. To: ', left(recipient, 320), '.'), answer,
  concat('{"emails": [{"to": "', recipient, '", "subject": ', json_get_json(said, 'subject'), ', "body": ',
    json_get_json(said, 'body'), ', "send_at": "', received_at, '"}]}'))
FROM (SELECT *, json_get_str(answer, 'text') AS said FROM letters WHERE answer->>'status' = 'ok') AS answered;

INSERT INTO dead_letters
SELECT workflow_id, message_id, 'write_outreach', topic, partition, offset_id, published_ms, value,
  coalesce(answer->>'status', 'failed'), coalesce(answer->>'error', 'no answer'), received_at
FROM letters WHERE coalesce(answer->>'status', 'failed') <> 'ok'
UNION ALL
SELECT workflow_id, message_id, 'write_outreach', topic, partition, offset_id, published_ms, value,
  'contract', 'the lead has no e-mail address: `lead_data.email` must be one', received_at
FROM leads WHERE recipient IS NULL;
