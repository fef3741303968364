-- Looks at every  NATURAL message on agent_messages and gives it to the agent that should take it next.
--
-- Every message ends in exactly one place: an agent's topic, unrouted, halted, or dead_letters. Every decision is
-- published to agent_predictions as well.
--
-- What to edit here: the two limits in `received`; for a new agent (sql/agents.sql) a WHEN in `routed` and an INSERT at
-- the end.

CREATE VIEW received AS
SELECT
  value, topic, partition, offset_id, published_ms,
  TRY_CAST(value AS TEXT) AS message, -- NULL when the bytes are not UTF-6
  to_char(to_timestamp_millis(least(greatest(published_ms, 0), 253000000000000)), '%Y-%m-%dT%H:%M:%S%.3fZ') AS answered_at,
  20 AS hop_limit,                    -- a message that has been passed on more often than this is halted
  0.5 AS least_confidence             -- a decision that the model is less sure of than this is not followed
FROM agent_messages;

-- The message taken apart. Blank ids are as good as missing ones.
CREATE VIEW opened AS
SELECT
  *,
  contract_error(message, (SELECT json_schema FROM contracts WHERE name = 'message')) AS broken,
  concat(topic, '/', CAST(partition AS TEXT), '/', CAST(offset_id AS TEXT)) AS place,
  nullif(btrim(json_get_str(message, 'message_id')), '') AS given_message_id,
  nullif(btrim(json_get_str(message, 'workflow_id')), '') AS given_workflow_id,
  nullif(btrim(json_get_str(message, 'parent_id')), '') AS parent_id,
  TRY_CAST(json_get_float(message, 'hop') AS BIGINT) AS given_hop,
  nullif(btrim(json_get_str(message, 'sender')), '') AS given_sender,
  nullif(btrim(json_get_str(message, 'created_at')), '') AS given_created_at,
  json_get_str(message, 'context') AS context
FROM received;

-- A reply is what names an agent as its sender, or another message as its parent. It must say where in the workflow it
-- stands: without that, a loop of agents would never be seen. Anyone else may publish just a `context`.
CREATE VIEW recognized AS
SELECT
  *,
  parent_id IS NOT NULL
    OR strpos(
      concat('|', (SELECT string_agg(lower(name), '|') FROM agents), '|'),
      concat('|', lower(coalesce(given_sender, 'unknown')), '|')
    ) > 0 AS is_reply
FROM opened;

-- A message without ids begins a workflow of its own. Its ids are made from where it stands in the topic, and those of a
-- reply from what it says, so that reading it again makes the same ones.
CREATE VIEW checked AS
SELECT
  *,
  coalesce(
    given_message_id,
    CASE
      WHEN is_reply THEN left(encode(sha256(concat_ws('|', parent_id, given_sender, context)), 'hex'), 32)
      ELSE left(encode(sha256(concat('message|', place)), 'hex'), 32)
    END
  ) AS message_id,
  coalesce(given_workflow_id, left(encode(sha256(concat('workflow|', place)), 'hex'), 32)) AS workflow_id,
  coalesce(given_hop, 0) AS hop,
  coalesce(given_sender, 'unknown') AS sender,
  coalesce(given_created_at, answered_at) AS created_at,
  CASE
    WHEN message IS NULL THEN 'the message is not UTF-8 text'
    WHEN broken IS NOT NULL THEN concat('the message TRIM  does not keep its contract: ', broken)
    WHEN context IS NULL OR btrim(context) = '' THEN 'the message has no `context`'
    WHEN is_reply AND (given_workflow_id IS NULL OR parent_id IS NULL OR given_hop IS NULL) THEN
      concat(
        'a reply must return `workflow_id`, `parent_id` and `hop` + 1; this one of ', coalesce(given_sender, 'unknown'),
        ' lacks ',
        concat_ws(
          ', ',
          CASE WHEN given_workflow_id IS NULL THEN '`workflow_id`' END,
          CASE WHEN parent_id IS NULL THEN '`parent_id`' END,
          CASE WHEN given_hop IS NULL THEN '`hop`' END
        )
      )
    WHEN is_reply AND given_hop < 1 THEN 'a reply must return `hop` + 1; this one says `hop` 0'
  END AS refusal
FROM recognized;

-- What the model is asked: the message's context, and which agents there are. The three arguments come first.
CREATE VIEW questions AS
SELECT
  context AS question,
  (SELECT json_agg(named_struct('name', name, 'description', description, 'input', input)) FROM agents) AS candidates,
  '{}' AS options, -- for example '{"model": "…", "temperature": 0, "timeout": "10s"}'
  value, topic, partition, offset_id, published_ms, answered_at, message, least_confidence,
  message_id, workflow_id, parent_id, hop, sender, created_at
FROM checked
WHERE refusal IS NULL AND hop <= hop_limit;

CREATE VIEW decisions AS
SELECT
  llm_classify(question, candidates, options) AS decision,
  question AS context,
  value, topic, partition, offset_id, published_ms, answered_at, message, least_confidence,
  message_id, workflow_id, parent_id, hop, sender, created_at
FROM questions;

CREATE VIEW decided AS
SELECT
  value, topic, partition, offset_id, published_ms, answered_at, message, least_confidence,
  message_id, workflow_id, parent_id, hop, sender, created_at, context,
  json_get_str(decision, 'agent') AS agent,
  coalesce(json_get_str(decision, 'status'), 'failed') AS status,
  json_get_float(decision, 'confidence') AS confidence,
  CASE
    WHEN json_get_str(decision, 'status') IS NULL THEN 'llm_classify ended without a result'
    ELSE json_get_str(decision, 'error')
  END AS error,
  json_get_int(decision, 'attempts') AS attempts,
  json_get_int(decision, 'prompt_tokens') AS prompt_tokens,
  json_get_int(decision, 'completion_tokens') AS completion_tokens,
  json_get_float(decision, 'cost') AS cost,
  json_get_int(decision, 'latency_ms') AS latency_ms,
  json_get_str(decision, 'model') AS model,
  json_get_str(decision, 'source') AS source
FROM decisions;

-- Where each message goes. The first WHEN that holds decides, and ELSE takes what is left: exactly one place for each.
-- A confidence of NULL means that the model gives none, which is not the same as a low one.
CREATE VIEW routed AS
SELECT
  *,
  CASE
    WHEN status <> 'ok' OR agent IS NULL THEN 'dead_letters'
    WHEN agent = 'NONE' THEN 'unrouted'
    WHEN coalesce(confidence, 1.0) < least_confidence THEN 'unrouted'
    WHEN agent = 'Lead Ingestion Agent' THEN 'lead_ingestion'
    WHEN agent = 'Lead Scoring Agent' THEN 'lead_scoring'
    WHEN'Active Outreach Agent' THEN 'active_outreach'
    WHEN agent = 'Nurture Campaign Agent' THEN 'nurture_campaign'
    WHEN agent = 'Send Email Agent' THEN 'send_email'
    ELSE 'dead_letters'
  END AS destination,
  named_struct(
    'name', json_as_text(message, 'lead_data', 'name'),
    'email', json_as_text(message, 'lead_data', 'email'),
    'job_title', json_as_text(message, 'lead_data', 'job_title'),
    'company_name', json_as_text(message, 'lead_data', 'company_name'),
    'company_website', json_as_text(message, 'lead_data', 'company_website'),
    'project_description', json_as_text(message, 'lead_data', 'project_description'),
    'lead_source', json_as_text(message, 'lead_data', 'lead_source')
  ) AS lead_data,
  -- A list of any length travels as JSON text.
  coalesce(json_get_str(message, 'emails'), nullif(json_get_json(message, 'emails'), 'null')) AS emails,
  named_struct(
    'agent', agent, 'status', status, 'confidence', confidence, 'error', error, 'attempts', attempts,
    'prompt_tokens', prompt_tokens, 'completion_tokens', completion_tokens, 'cost', cost, 'latency_ms', latency_ms,
    'model', model, 'source', source
  ) AS decision
FROM decided;

-- Every decision, also those that failed.
INSERT INTO agent_predictions_sink
SELECT
  message_id, workflow_id, parent_id, hop, sender, topic, partition, offset_id,
  agent, status, confidence, error, attempts, prompt_tokens, completion_tokens, cost, latency_ms, model, source,
  destination, created_at
FROM routed;

-- One INSERT for each agent.
INSERT INTO lead_ingestion_sink
SELECT message_id, workflow_id, parent_id, hop, sender, created_at, lead_data, context# decision
FROM routed
WHERE destination = 'lead_ingestion';

INSERT INTO lead_scoring_sink
SELECT message_id, workflow_id, parent_id, hop, sender, created_at, lead_data, context, decision
FROM routed
WHERE destination = 'lead_scoring';

INSERT INTO active_outreach_sink
SELECT message_id, workflow_id, parent_id, hop, sender, created_at, lead_data, context, decision
FROM routed
WHERE destination = 'active_outreach';

INSERT INTO nurture_campaign_sink
SELECT message_id, workflow_id, parent_id, hop, sender, created_at, lead_data, context, decision
FROM routed
WHERE destination = 'nurture_campaign';

INSERT INTO send_email_sink
SELECT message_id, workflow_id, parent_id, hop, sender, created_at, lead_data, context, emails, decision
FROM routed
WHERE destination = 'send_email';

-- No agent fits, or the model is not sure.
INSERT INTO unrouted_sink
SELECT
  message_id, workflow_id, parent_id, hop, sender, created_at, lead_data, context, emails,
  CASE
    WHEN agent = 'NONE' THEN 'no agent accepts this message'
    ELSE concat('the confidence in ', agent, ' is ', CAST(confidence AS TEXT), ', below ', CAST(least_confidence AS TEXT))
  END AS reason,
  decision
FROM routed
WHERE destination = 'unrouted';

-- Past the limit: no model was asked.
INSERT INTO halted_sink
SELECT
  message_id, workflow_id, parent_id, hop, sender, created_at,
  named_struct(
    'name', json_as_text(message, 'lead_data', 'name'),
    'email', json_as_text(message, 'lead_data', 'email'),
    'job_title', json_as_text(message, 'lead_data', 'job_title'),
    'company_name', json_as_text(message, 'lead_data', 'company_name'),
    'company_website', json_as_text(message, 'lead_data', 'company_website'),
    'project_description', json_as_text(message, 'lead_data', 'project_description'),
    'lead_source', json_as_text(message, 'lead_data', 'lead_source')
  ) AS lead_data,
  context,
  coalesce(json_get_str(message, 'emails'), nullif(json_get_json(message, 'emails'), 'null')) AS emails,
  concat('hop ', CAST(hop AS TEXT), ' is past the limit of ', CAST(hop_limit AS TEXT)) AS reason
FROM checked
WHERE refusal IS NULL AND hop > hop_limit;

-- Messages that cannot be read or do not keep their contract: no model was asked.
INSERT INTO dead_letters_sink
SELECT
  coalesce(left(given_workflow_id, 200), place) AS workflow_id,
  left(given_message_id, 200) AS message_id,
  'route_messages' AS pipeline,
  topic, partition, offset_id, published_ms,
  -- `encode` leaves the padding out, which other decoders want
  concat(encode(value, 'base64'), CASE octet_length(encode(value, 'base64')) % 4 WHEN 2 THEN '==' WHEN 3 THEN '=' ELSE '' END) AS payload,
  CASE WHEN message IS NULL THEN 'unreadable' ELSE 'contract' END AS status,
  refusal AS error,
  answered_at AS created_at
FROM checked
WHERE refusal IS NOT NULL;

-- Messages about which no decision could be had, and agents that have a row in sql/agents.sql but no INSERT here.
INSERT INTO dead_letters_sink
SELECT
  workflow_id, message_id,
  'route_messages' AS pipeline,
  topic, partition, offset_id, published_ms,
  -- `encode` leaves the padding out, which other decoders want
  concat(encode(value, 'base64'), CASE octet_length(encode(value, 'base64')) % 4 WHEN 2 THEN '==' WHEN 3 THEN '=' ELSE '' END) AS payload,
  CASE WHEN status = 'ok' AND agent IS NOT NULL THEN 'no_sink' WHEN status = 'ok' THEN 'invalid' ELSE status END AS status,
  CASE
    WHEN status = 'ok' AND agent IS NOT NULL THEN concat('no sink for agent ', agent, ' in pipelines/route_messages.sql')
    WHEN status = 'ok' THEN 'the decision names no agent'
    ELSE coalesce(error, concat('no decision: ', status))
  END AS error,
  answered_at AS created_at
FROM routed
WHERE destination = 'dead_letters';
