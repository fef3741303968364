-- An agent that is an HTTP service: takes messages from its topic, posts each to the service, and publishes the answer to
-- agent_messages. Copy it to pipelines/research_leads.sql, change the URL, and run it in the place of ingest_leads.
--
-- The service gets the message as JSON and answers 200 with {"context": "…"}, which says first what the message is now. It
-- may get a message twice, with the same header Idempotency-Key.

CREATE VIEW received AS
SELECT
  value, topic, partition, offset_id, published_ms,
  TRY_CAST(value AS TEXT) AS message,
  to_char(to_timestamp_millis(least(greatest(published_ms, 0), 253000000000000)), '%Y-%m-%dT%H:%M:%S%.3fZ') AS answered_at
FROM lead_ingestion;

CREATE VIEW opened AS
SELECT
  *,
  contract_error(message, (SELECT json_schema FROM contracts WHERE name = 'message')) AS broken,
  concat(topic, '/', CAST(partition AS TEXT), '/', CAST(offset_id AS TEXT)) AS place,
  nullif(btrim(json_get_str(message, 'message_id')), '') AS message_id,
  nullif(btrim(json_get_str(message, 'workflow_id')), '') AS workflow_id,
  TRY_CAST(json_get_float(message, 'hop') AS BIGINT) AS hop,
  json_get_str(message, 'context') AS context,
  json_as_text(message, 'lead_data', 'name') AS name,
  json_as_text(message, 'lead_data', 'email') AS email,
  json_as_text(message, 'lead_data', 'job_title') AS job_title,
  json_as_text(message, 'lead_data', 'company_name') AS company_name,
  json_as_text(message, 'lead_data', 'company_website') AS company_website,
  json_as_text(message, 'lead_data', 'project_description') AS project_description,
  json_as_text(message, 'lead_data', 'lead_source') AS lead_source
FROM received;

-- Whether the message can be worked on; if not, why.
CREATE VIEW checked AS
SELECT
  *,
  CASE
    WHEN message IS NULL THEN 'the message is not UTF-8 text'
    WHEN broken IS NOT NULL THEN concat('the message does not keep its contract: ', broken)
    WHEN message_id IS NULL OR workflow_id IS NULL OR hop IS NULL THEN
      'the message lacks `message_id`, `workflow_id` or `hop`: publish to agent_messages, which adds them'
    WHEN context IS NULL OR btrim(context) = '' THEN 'the message has no `context`'
  END AS refusal
FROM opened;

-- What the service gets; the three arguments come first. `${NAME}` in a header is taken from the environment.
CREATE VIEW requests AS
SELECT
  'http://localhost:8080/research' AS url,
  message AS body,
  concat(
    '{"timeout": "30s", "retries": 2, "idempotency_key": "', encode(sha256(message_id), 'hex'), '"}'
  ) AS options,
  value, topic, partition, offset_id, published_ms, answered_at, message_id, workflow_id, hop,
  name, email, job_title, company_name, company_website, project_description, lead_source
FROM checked
WHERE refusal IS NULL;

CREATE VIEW answers AS
SELECT
  http_call(url, body, options) AS answer,
  value, topic, partition, offset_id, published_ms, answered_at, message_id, workflow_id, hop,
  name, email, job_title, company_name, company_website, project_description, lead_source
FROM requests;

CREATE VIEW replies AS
SELECT
  *,
  coalesce(json_get_str(answer, 'status'), 'failed') AS status,
  json_get_str(answer, 'error') AS error,
  nullif(btrim(json_get_str(json_get_str(answer, 'body'), 'context')), '') AS reply
FROM answers;

INSERT INTO agent_messages_sink
SELECT
  left(encode(sha256(concat(message_id, '|Lead Ingestion Agent|1')), 'hex'), 32) AS message_id,
  workflow_id,
  message_id AS parent_id,
  hop + 1 AS hop,
  'Lead Ingestion Agent' AS sender,
  answered_at AS created_at,
  named_struct(
    'name', name, 'email', email, 'job_title', job_title, 'company_name', company_name,
    'company_website', company_website, 'project_description', project_description, 'lead_source', lead_source
  ) AS lead_data,
  reply AS context
FROM replies
WHERE status = 'ok' AND reply IS NOT NULL;

INSERT INTO dead_letters_sink
SELECT
  workflow_id, message_id,
  'research_leads' AS pipeline,
  topic, partition, offset_id, published_ms,
  -- `encode` leaves the padding out, which other decoders want
  concat(encode(value, 'base64'), CASE octet_length(encode(value, 'base64')) % 4 WHEN 2 THEN '==' WHEN 3 THEN '=' ELSE '' END) AS payload,
  CASE WHEN status = 'ok' THEN 'invalid' ELSE status END AS status,
  CASE
    WHEN status = 'ok' THEN 'the service answered without a `context`'
    ELSE coalesce(error, concat('no answer: ', status))
  END AS error,
  answered_at AS created_at
FROM replies
WHERE status <> 'ok' OR reply IS NULL;

INSERT INTO dead_letters_sink
SELECT
  coalesce(left(workflow_id, 200), place) AS workflow_id,
  left(message_id, 200) AS message_id,
  'research_leads' AS pipeline,
  topic, partition, offset_id, published_ms,
  -- `encode` leaves the padding out, which other decoders want
  concat(encode(value, 'base64'), CASE octet_length(encode(value, 'base64')) % 4 WHEN 2 THEN '==' WHEN 3 THEN '=' ELSE '' END) AS payload,
  CASE WHEN message IS NULL THEN 'unreadable' ELSE 'contract' END AS status,
  refusal AS error,
  answered_at AS created_at
FROM checked
WHERE refusal IS NOT NULL;
