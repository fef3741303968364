-- The Send Email Agent: takes finished e-mails, writes a row for each to outbox, and ends the workflow with a row in
-- completed. It asks no model. If one e-mail of a message cannot be sent, the whole message becomes a dead letter:
-- half a campaign is worse than none.

CREATE AGENT send_email WITH (
  name = 'Send Email Agent',
  description = 'Sends e-mails. This ends the workflow.',
  input = 'Finished e-mails, ready to be sent.',
  output = 'The e-mails on their way; nothing is left to do.'
);

-- `emails` is a list, or a list as JSON text.
CREATE VIEW tasks AS
SELECT
  *,
  lead_data->>'email' AS lead_email,
  coalesce(json_get_str(message, 'emails'), nullif(json_get_json(message, 'emails'), 'null'), '[]') AS emails
FROM send_email;

CREATE VIEW checked_tasks AS
SELECT
  *,
  contract_error(emails, '{"type": "array", "minItems": 1, "maxItems": 20, "items": {
    "type": "object", "required": ["to", "subject", "body"], "properties": {
      "to": {"type": "string", "pattern": "^[^@\\s,;<>\"]+@[^@\\s,;<>\"]+$", "maxLength": 320},
      "subject": {"type": "string", "pattern": "^[^\\r\\n]*\\S[^\\r\\n]*$", "maxLength": 500},
      "body": {"type": "string", "pattern": "\\S"},
      "send_at": {"anyOf": [{"type": "null"}, {"type": "string", "format": "date-time"}]}}}}') AS broken
FROM tasks;

CREATE VIEW single_emails AS
SELECT workflow_id, message_id, received_at, unnest(extract_json(emails, '$[*]')) AS email
FROM checked_tasks
WHERE broken IS NULL;

-- The id follows from the message and the e-mail, so a redelivered message gives the same id.
INSERT INTO outbox
SELECT
  left(encode(sha256(concat_ws('|', message_id, email->>'to', coalesce(email->>'send_at', ''), email->>'subject',
    email->>'body')), 'hex'), 32),
  workflow_id, message_id, email->>'to', email->>'subject', email->>'body', coalesce(email->>'send_at', received_at),
  received_at
FROM single_emails;

INSERT INTO completed
SELECT workflow_id, 'completed', message_id, parent_id, hop, lead_email, json_length(emails), received_at
FROM checked_tasks
WHERE broken IS NULL;

INSERT INTO dead_letters
SELECT workflow_id, message_id, 'send_emails', topic, partition, offset_id, published_ms, value,
  'contract', concat('the e-mails cannot be sent: ', broken), received_at
FROM checked_tasks
WHERE broken IS NOT NULL;
