-- The Active Outreach Agent: takes a scored lead whose next step is Actively Engage and writes one personal e-mail to book
-- a meeting. The e-mail itself travels in `emails`; the router sees only that it is finished.
--
-- What to edit here: the prompt and the offline text in `questions`.

CREATE VIEW received AS
SELECT
  value, topic, partition, offset_id, published_ms,
  TRY_CAST(value AS TEXT) AS message,
  to_char(to_timestamp_millis(least(greatest(published_ms, 0), 253000000000000)), '%Y-%m-%dT%H:%M:%S%.3fZ') AS answered_at
FROM active_outreach;

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

-- Whether the message can be worked on; if not, why. The fields with _json can stand in JSON text: on one
-- line, with a backslash before quotation marks and backslashes.
CREATE VIEW checked AS
SELECT
  *,
  CASE
    WHEN message IS NULL THEN 'the message is not UTF-8 text'
    WHEN broken IS NOT NULL THEN concat('the message does not keep its contract: ', broken)
    WHEN message_id IS NULL OR workflow_id IS NULL OR hop IS NULL THEN
      'the message lacks `message_id`, `workflow_id` or `hop`: publish to agent_messages, which adds them'
    WHEN context IS NULL OR btrim(context) = '' THEN 'the message has no `context`'
    WHEN NOT regexp_like(coalesce(btrim(email), ''), '^[^@\s,;<>"]+@[^@\s,;<>"]+$') THEN
      'the lead has no e-mail address: `lead_data.email` must be one'
  END AS refusal,
  btrim(email) AS recipient,
  lower(coalesce(project_description, '')) AS project,
  lower(coalesce(lead_source, '')) AS came_by,
  replace(replace(left(btrim(regexp_replace(coalesce(name, ''), '[\s\p{Cc}]+', ' ', 'g')), 100), chr(92), concat(chr(92), chr(92))), '"', concat(chr(92), '"')) AS name_json,
  replace(replace(left(btrim(regexp_replace(coalesce(company_name, ''), '[\s\p{Cc}]+', ' ', 'g')), 100), chr(92), concat(chr(92), chr(92))), '"', concat(chr(92), '"')) AS company_json,
  replace(replace(left(btrim(regexp_replace(coalesce(job_title, ''), '[\s\p{Cc}]+', ' ', 'g')), 100), chr(92), concat(chr(92), chr(92))), '"', concat(chr(92), '"')) AS role_json
FROM opened;

-- What the lead is after, by its own words.
CREATE VIEW interests AS
SELECT
  *,
  CASE
    WHEN regexp_like(
      project,
      concat(
        'migrat|migrier|migraci|moderni|legacy|ablös|ersetz|reemplaz|sustitu|remplac|snowflake|redshift|bigquery|',
        'teradata|synapse|databricks|netezza|oracle|sap |hadoop|sql server|移行|刷新|迁移'
      )
    ) THEN 'migration'
    WHEN regexp_like(project, 'cost|price|expens|bill\b|invoice|kosten|teuer|coste|caro\b|coût|コスト|费用|成本') THEN 'costs'
    WHEN regexp_like(
      project,
      'real[- ]?time|latency|slow|streaming|echtzeit|langsam|tiempo real|lent[oa]|リアルタイム|遅い|实时'
    ) THEN 'speed'
    WHEN regexp_like(
      project,
      'machine learning|\bml\b|\bai\b|forecast|predict|prognose|inteligencia artificial|機械学習|予測|机器学习|人工智能'
    ) THEN 'machine learning'
    WHEN regexp_like(
      project,
      concat(
        'dashboard|report|\bbi\b|analytic|analys|kpi|auswertung|bericht|informe|anal[ií]|cuadros|tableau|looker|',
        'レポート|分析|ダッシュボード|报表'
      )
    ) THEN 'reporting'
    ELSE 'data'
  END AS interest
FROM checked;

-- What the model is asked; the four arguments come first. Without a model, the answer is `fallback`, which is written in
-- the form that the model's answer has to have (\n in it is a new line).
CREATE VIEW questions AS
SELECT
  'You write for StratusDB, which sells a cloud data warehouse (StratusAI Warehouse) to data and analytics leaders at
  mid-size and large companies. Write one personal e-mail that asks this lead for a meeting of 30 minutes, in the
  language in which the lead describes the project. At most 150 words, plain text. Refer to what the lead wants to do
  and to one or two talking points; promise nothing that the report does not say. Sign as "The StratusDB team". Leave
  no placeholders. Answer with subject and body.' AS prompt,
  concat(
    context,
    chr(10), chr(10), 'The web form. Name: ', coalesce(name, 'not given'), '. Job title: ', coalesce(job_title, 'not given'),
    '. Company: ', coalesce(company_name, 'not given'), '. Website: ', coalesce(company_website, 'not given'),
    '. Lead source: ', coalesce(lead_source, 'not given'), '. Project: ', coalesce(left(project_description, 4000), 'not given')
  ) AS input,
  concat(
    '{"subject": "',
    CASE interest
      WHEN 'migration' THEN 'Your move to a new data warehouse'
      WHEN 'costs' THEN 'What your data warehouse costs you'
      WHEN 'speed' THEN 'Answers from your data in seconds'
      WHEN 'machine learning' THEN 'From your data to your models'
      WHEN 'reporting' THEN 'Reports that your teams can rely on'
      ELSE 'Your data project'
    END,
    CASE WHEN company_json <> '' THEN concat(' at ', company_json) ELSE '' END,
    '", "body": "Hello', CASE WHEN name_json <> '' THEN concat(' ', name_json) ELSE '' END,
    ',\n\nthank you for telling us about your project',
    CASE WHEN company_json <> '' THEN concat(' at ', company_json) ELSE '' END, '. ',
    CASE interest
      WHEN 'migration' THEN 'Moving away from what you use today is mostly a question of order: which data first, and how both systems run side by side until the last report has moved.'
      WHEN 'costs' THEN 'Costs mostly follow from how storage and computing are tied together, and that is the first thing that we would look at with you.'
      WHEN 'speed' THEN 'How fresh and how fast answers can be mostly depends on a few tables, and those are what we would look at with you first.'
      WHEN 'machine learning' THEN 'Models are as good as the tables that they learn from, and keeping both in one place saves most of the copying.'
      WHEN 'reporting' THEN 'Reports are trusted when everybody counts the same way, and that begins with one place for the numbers.'
      ELSE 'We would like to understand what you want to do with your data, and where it is kept today.'
    END,
    CASE WHEN role_json <> '' THEN concat('\n\nAs ', role_json, ' you will know best where it hurts most.') ELSE '' END,
    '\n\nWould you have 30 minutes this week or next? Any two times that suit you are enough for an answer.\n\nKind regards\nThe StratusDB team"}'
  ) AS fallback,
  concat(
    '{"temperature": 0.4, "max_tokens": 800, "schema": ', (SELECT json_schema FROM contracts WHERE name = 'email_text'), '}'
  ) AS options,
  value, topic, partition, offset_id, published_ms, answered_at, message_id, workflow_id, hop, recipient,
  name, email, job_title, company_name, company_website, project_description, lead_source
FROM interests
WHERE refusal IS NULL;

CREATE VIEW answers AS
SELECT
  llm_complete(prompt, input, fallback, options) AS answer,
  value, topic, partition, offset_id, published_ms, answered_at, message_id, workflow_id, hop, recipient,
  name, email, job_title, company_name, company_website, project_description, lead_source
FROM questions;

CREATE VIEW letters AS
SELECT
  *,
  coalesce(json_get_str(answer, 'status'), 'failed') AS status,
  json_get_str(answer, 'error') AS error,
  btrim(regexp_replace(json_get_str(json_get_str(answer, 'text'), 'subject'), '[\s\p{Cc}]+', ' ', 'g')) AS subject,
  btrim(json_get_str(json_get_str(answer, 'text'), 'body')) AS body
FROM answers;

CREATE VIEW written AS
SELECT *, status = 'ok' AND coalesce(subject, '') <> '' AND coalesce(body, '') <> '' AS is_valid
FROM letters;

-- The first sentence says what the message is now: the next agent is chosen by it.
INSERT INTO agent_messages_with_emails_sink
SELECT
  left(encode(sha256(concat(message_id, '|Active Outreach Agent|1')), 'hex'), 32) AS message_id,
  workflow_id,
  message_id AS parent_id,
  hop + 1 AS hop,
  'Active Outreach Agent' AS sender,
  answered_at AS created_at,
  named_struct(
    'name', name, 'email', email, 'job_title', job_title, 'company_name', company_name,
    'company_website', company_website, 'project_description', project_description, 'lead_source', lead_source
  ) AS lead_data,
  concat('One finished e-mail, ready to be sent. To: ', left(recipient, 320), '.') AS context,
  make_array(
    named_struct(
      'to', recipient, 'subject', left(subject, 500), 'body', body,
      'send_at', answered_at
    )
  ) AS emails
FROM written
WHERE is_valid;

INSERT INTO dead_letters_sink
SELECT
  workflow_id, message_id,
  'write_outreach' AS pipeline,
  topic, partition, offset_id, published_ms,
  -- `encode` leaves the padding out, which other decoders want
  concat(encode(value, 'base64'), CASE octet_length(encode(value, 'base64')) % 4 WHEN 2 THEN '==' WHEN 3 THEN '=' ELSE '' END) AS payload,
  CASE WHEN status = 'ok' THEN 'invalid' ELSE status END AS status,
  CASE
    WHEN status = 'ok' THEN 'the model answered without a subject or without a body'
    ELSE coalesce(error, concat('no answer: ', status))
  END AS error,
  answered_at AS created_at
FROM written
WHERE NOT is_valid;

INSERT INTO dead_letters_sink
SELECT
  coalesce(left(workflow_id, 200), place) AS workflow_id,
  left(message_id, 200) AS message_id,
  'write_outreach' AS pipeline,
  topic, partition, offset_id, published_ms,
  -- `encode` leaves the padding out, which other decoders want
  concat(encode(value, 'base64'), CASE octet_length(encode(value, 'base64')) % 4 WHEN 2 THEN '==' WHEN 3 THEN '=' ELSE '' END) AS payload,
  CASE WHEN message IS NULL THEN 'unreadable' ELSE 'contract' END AS status,
  refusal AS error,
  answered_at AS created_at
FROM checked
WHERE refusal IS NOT NULL;
