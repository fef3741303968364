-- The Nurture Campaign Agent: takes a scored lead whose next step is Nurture and plans a sequence of three e-mails, by
-- where the lead came from and what it is interested in. They travel in `emails`; the router sees only that they are
-- finished.
--
-- What to edit here: the prompt and the offline texts in `questions`, and the days between the e-mails (in milliseconds)
-- in the first INSERT.

CREATE VIEW received AS
SELECT
  value, topic, partition, offset_id, published_ms,
  TRY_CAST(value AS TEXT) AS message,
  to_char(to_timestamp_millis(least(greatest(published_ms, 0), 253000000000000)), '%Y-%m-%dT%H:%M:%S%.3fZ') AS answered_at,
  to_char(to_timestamp_millis(least(greatest(published_ms, 0), 253000000000000) + 259200000), '%Y-%m-%dT%H:%M:%S%.3fZ') AS in_three_days,
  to_char(to_timestamp_millis(least(greatest(published_ms, 0), 253000000000000) + 604800000), '%Y-%m-%dT%H:%M:%S%.3fZ') AS in_a_week
FROM nurture_campaign;

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
  mid-size and large companies. This lead needs more time. Plan three short e-mails, to be sent today, in three days
  and in a week, in the language in which the lead describes the project: the first thanks and refers to where the
  lead came from, the second teaches something useful about what the lead is interested in, the third asks one
  question that is easy to answer. At most 100 words each, plain text, no pressure. Sign as "The StratusDB team".
  Leave no placeholders. Answer with emails: three times subject and body.' AS prompt,
  concat(
    context,
    chr(10), chr(10), 'The web form. Name: ', coalesce(name, 'not given'), '. Job title: ', coalesce(job_title, 'not given'),
    '. Company: ', coalesce(company_name, 'not given'), '. Website: ', coalesce(company_website, 'not given'),
    '. Lead source: ', coalesce(lead_source, 'not given'), '. Project: ', coalesce(left(project_description, 4000), 'not given')
  ) AS input,
  concat(
    -- First, by source.
    '{"emails": [{"subject": "Thank you for your interest in StratusDB", "body": "Hello',
    CASE WHEN name_json <> '' THEN concat(' ', name_json) ELSE '' END, ',\n\n',
    CASE
      WHEN regexp_like(came_by, 'webinar|セミナー') THEN 'thank you for joining our webinar. The recording and the slides are yours to share.'
      WHEN regexp_like(came_by, 'event|conference|messe|feria|trade|展示会') THEN 'it was good to meet you at the event.'
      WHEN regexp_like(came_by, 'referral|recommend|partner|empfehlung|recomend|紹介') THEN 'thank you for getting in touch on a recommendation; that means a lot to us.'
      WHEN regexp_like(came_by, 'paper|download|content|e-?book|blog|newsletter') THEN 'thank you for reading what we write. We will send you the next pieces as they come out.'
      WHEN regexp_like(came_by, 'ad\b|ads\b|search|google|linkedin|social|suche|busca|検索') THEN 'thank you for stopping by. It is easy to get lost in what vendors say, so we will keep it short.'
      ELSE 'thank you for writing to us.'
    END,
    CASE WHEN company_json <> '' THEN concat(' We will keep in mind what you told us about ', company_json, '.') ELSE '' END,
    '\n\nKind regards\nThe StratusDB team"}, ',
    -- Second, by interest.
    '{"subject": "',
    CASE interest
      WHEN 'migration' THEN 'Three things to settle before you migrate'
      WHEN 'costs' THEN 'Where the costs of a data warehouse come from'
      WHEN 'speed' THEN 'Why some questions take so long'
      WHEN 'machine learning' THEN 'What models need from a data warehouse'
      WHEN 'reporting' THEN 'One number, one meaning'
      ELSE 'What a cloud data warehouse is good for'
    END,
    '", "body": "Hello', CASE WHEN name_json <> '' THEN concat(' ', name_json) ELSE '' END, ',\n\n',
    CASE interest
      WHEN 'migration' THEN 'before a migration it pays to settle three things: which reports must not change, how both systems run side by side, and who signs off that the numbers agree.'
      WHEN 'costs' THEN 'most of the bill comes from a few questions that are asked again and again. A list of the ten most expensive ones is a good start, whatever you use.'
      WHEN 'speed' THEN 'slow answers mostly come from reading more than is needed. Partitioning the two or three largest tables by date often helps more than new hardware.'
      WHEN 'machine learning' THEN 'models need history that does not change under them. Keeping versions of the tables that they learn from makes their results repeatable.'
      WHEN 'reporting' THEN 'when two teams report two numbers, the reason is rarely the tool: they count differently. Writing down the five most important figures and their definitions settles most of it.'
      ELSE 'a data warehouse pays off when several teams ask questions about the same data. Two teams and one shared question are enough to try it out.'
    END,
    '\n\nKind regards\nThe StratusDB team"}, ',
    -- Third, one question.
    '{"subject": "One question', CASE WHEN company_json <> '' THEN concat(' about ', company_json) ELSE '' END,
    '", "body": "Hello', CASE WHEN name_json <> '' THEN concat(' ', name_json) ELSE '' END,
    ',\n\nmay we ask one thing: what would have to change for a project like yours to become a plan? One line is enough, and no answer is fine as well.\n\nKind regards\nThe StratusDB team"}]}'
  ) AS fallback,
  concat(
    '{"temperature": 0.4, "max_tokens": 1500, "schema": ', (SELECT json_schema FROM contracts WHERE name = 'email_texts'), '}'
  ) AS options,
  value, topic, partition, offset_id, published_ms, answered_at, in_three_days, in_a_week, message_id, workflow_id, hop, recipient,
  name, email, job_title, company_name, company_website, project_description, lead_source
FROM interests
WHERE refusal IS NULL;

CREATE VIEW answers AS
SELECT
  llm_complete(prompt, input, fallback, options) AS answer,
  value, topic, partition, offset_id, published_ms, answered_at, in_three_days, in_a_week, message_id, workflow_id, hop, recipient,
  name, email, job_title, company_name, company_website, project_description, lead_source
FROM questions;

CREATE VIEW letters AS
SELECT
  *,
  coalesce(json_get_str(answer, 'status'), 'failed') AS status,
  json_get_str(answer, 'error') AS error,
  btrim(regexp_replace(json_get_str(json_get_str(answer, 'text'), 'emails', 0, 'subject'), '[\s\p{Cc}]+', ' ', 'g')) AS subject_1,
  btrim(json_get_str(json_get_str(answer, 'text'), 'emails', 0, 'body')) AS body_1,
  btrim(regexp_replace(json_get_str(json_get_str(answer, 'text'), 'emails', 1, 'subject'), '[\s\p{Cc}]+', ' ', 'g')) AS subject_2,
  btrim(json_get_str(json_get_str(answer, 'text'), 'emails', 1, 'body')) AS body_2,
  btrim(regexp_replace(json_get_str(json_get_str(answer, 'text'), 'emails', 2, 'subject'), '[\s\p{Cc}]+', ' ', 'g')) AS subject_3,
  btrim(json_get_str(json_get_str(answer, 'text'), 'emails', 2, 'body')) AS body_3
FROM answers;

CREATE VIEW written AS
SELECT
  *,
  status = 'ok'
    AND coalesce(subject_1, '') <> '' AND coalesce(body_1, '') <> ''
    AND coalesce(subject_2, '') <> '' AND coalesce(body_2, '') <> ''
    AND coalesce(subject_3, '') <> '' AND coalesce(body_3, '') <> '' AS is_valid
FROM letters;

-- The first sentence says what the message is now: the next agent is chosen by it.
INSERT INTO agent_messages_with_emails_sink
SELECT
  left(encode(sha256(concat(message_id, '|Nurture Campaign Agent|1')), 'hex'), 32) AS message_id,
  workflow_id,
  message_id AS parent_id,
  hop + 1 AS hop,
  'Nurture Campaign Agent' AS sender,
  answered_at AS created_at,
  named_struct(
    'name', name, 'email', email, 'job_title', job_title, 'company_name', company_name,
    'company_website', company_website, 'project_description', project_description, 'lead_source', lead_source
  ) AS lead_data,
  concat('Three finished e-mails, ready to be sent. To: ', left(recipient, 320), '.') AS context,
  make_array(
    named_struct(
      'to', recipient, 'subject', left(subject_1, 500), 'body', body_1,
      'send_at', answered_at
    ),
    named_struct(
      'to', recipient, 'subject', left(subject_2, 500), 'body', body_2,
      'send_at', in_three_days
    ),
    named_struct(
      'to', recipient, 'subject', left(subject_3, 500), 'body', body_3,
      'send_at', in_a_week
    )
  ) AS emails
FROM written
WHERE is_valid;

INSERT INTO dead_letters_sink
SELECT
  workflow_id, message_id,
  'plan_nurture' AS pipeline,
  topic, partition, offset_id, published_ms,
  -- `encode` leaves the padding out, which other decoders want
  concat(encode(value, 'base64'), CASE octet_length(encode(value, 'base64')) % 4 WHEN 2 THEN '==' WHEN 3 THEN '=' ELSE '' END) AS payload,
  CASE WHEN status = 'ok' THEN 'invalid' ELSE status END AS status,
  CASE
    WHEN status = 'ok' THEN 'the model answered without three e-mails that have a subject and a body'
    ELSE coalesce(error, concat('no answer: ', status))
  END AS error,
  answered_at AS created_at
FROM written
WHERE NOT is_valid;

INSERT INTO dead_letters_sink
SELECT
  coalesce(left(workflow_id, 200), place) AS workflow_id,
  left(message_id, 200) AS message_id,
  'plan_nurture' AS pipeline,
  topic, partition, offset_id, published_ms,
  -- `encode` leaves the padding out, which other decoders want
  concat(encode(value, 'base64'), CASE octet_length(encode(value, 'base64')) % 4 WHEN 2 THEN '==' WHEN 3 THEN '=' ELSE '' END) AS payload,
  CASE WHEN message IS NULL THEN 'unreadable' ELSE 'contract' END AS status,
  refusal AS error,
  answered_at AS created_at
FROM checked
WHERE refusal IS NOT NULL;
