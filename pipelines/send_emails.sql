-- The Send Email Agent: takes finished e-mails, writes one row an e-mail to outbox, and ends the workflow with one row in
-- completed. No model is asked.
--
-- A message whose e-mails cannot all be sent (one without an address, a list without e-mails) goes to dead_letters whole:
-- half a campaign is worse than none.

CREATE VIEW received AS
SELECT
  value, topic, partition, offset_id, published_ms,
  TRY_CAST(value AS TEXT) AS message,
  to_char(to_timestamp_millis(least(greatest(published_ms, 0), 253000000000000)), '%Y-%m-%dT%H:%M:%S%.3fZ') AS answered_at
FROM send_email;

-- `emails` is a list, or the same list as JSON text.
CREATE VIEW opened AS
SELECT
  *,
  contract_error(message, (SELECT json_schema FROM contracts WHERE name = 'message')) AS broken,
  concat(topic, '/', CAST(partition AS TEXT), '/', CAST(offset_id AS TEXT)) AS place,
  nullif(btrim(json_get_str(message, 'message_id')), '') AS message_id,
  nullif(btrim(json_get_str(message, 'workflow_id')), '') AS workflow_id,
  json_get_str(message, 'parent_id') AS parent_id,
  TRY_CAST(json_get_float(message, 'hop') AS BIGINT) AS hop,
  json_as_text(message, 'lead_data', 'email') AS lead_email,
  coalesce(json_get_str(message, 'emails'), nullif(json_get_json(message, 'emails'), 'null')) AS emails
FROM received;

CREATE VIEW examined AS
SELECT
  *,
  CASE
    WHEN emails IS NOT NULL THEN contract_error(emails, (SELECT json_schema FROM contracts WHERE name = 'emails'))
  END AS broken_emails
FROM opened;

CREATE VIEW checked AS
SELECT
  *,
  CASE
    WHEN message IS NULL THEN 'the message is not UTF-8 text'
    WHEN broken IS NOT NULL THEN concat('the message does not keep its contract: ', broken)
    WHEN message_id IS NULL OR workflow_id IS NULL OR hop IS NULL THEN
      'the message lacks `message_id`, `workflow_id` or `hop`: publish to agent_messages, which adds them'
    WHEN emails IS NULL OR coalesce(CAST(json_length(emails) AS BIGINT), 0) = 0 THEN
      'the message has no e-mails to send: `emails` must be a list of {"to", "subject", "body", "send_at"}'
    WHEN broken_emails IS NOT NULL THEN concat('the e-mails cannot be sent: ', broken_emails)
  END AS refusal
FROM examined;

CREATE VIEW single_emails AS
SELECT workflow_id, message_id, answered_at, unnest(extract_json(emails, '$[*]')) AS email
FROM checked
WHERE refusal IS NULL;

-- The id follows from the message and the e-mail, so that a second delivery of the same is seen to be one.
INSERT INTO outbox_sink
SELECT
  left(
    encode(
      sha256(
        concat_ws(
          '|', message_id, json_get_str(email, 'to'), coalesce(json_get_str(email, 'send_at'), ''),
          json_get_str(email, 'subject'), json_get_str(email, 'body')
        )
      ),
      'hex'
    ),
    32
  ) AS email_id,
  workflow_id,
  message_id,
  json_get_str(email, 'to') AS recipient,
  json_get_str(email, 'subject') AS subject,
  json_get_str(email, 'body') AS body,
  coalesce(
    json_get_str(email, 'send_at'),
    answered_at
  ) AS send_at,
  answered_at AS created_at
FROM single_emails;

INSERT INTO completed_sink
SELECT
  workflow_id,
  'completed' AS outcome,
  message_id,
  parent_id,
  hop,
  lead_email,
  CAST(json_length(emails) AS BIGINT) AS emails,
  answered_at AS created_at
FROM checked
WHERE refusal IS NULL;

INSERT INTO dead_letters_sink
SELECT
  coalesce(left(workflow_id, 200), place) AS workflow_id,
  left(message_id, 200) AS message_id,
  'send_emails' AS pipeline,
  topic, partition, offset_id, published_ms,
  -- `encode` leaves the padding out, which other decoders want
  concat(encode(value, 'base64'), CASE octet_length(encode(value, 'base64')) % 4 WHEN 2 THEN '==' WHEN 3 THEN '=' ELSE '' END) AS payload,
  CASE WHEN message IS NULL THEN 'unreadable' ELSE 'contract' END AS status,
  refusal AS error,
  answered_at AS created_at
FROM checked
WHERE refusal IS NOT NULL;
