-- What pipelines/route_messages.sql does, as far as ML_PREDICT goes, for Flink. `run` fills in ${…}.
--
-- Left out, which makes it easier for Flink: the contract of a message, ids for messages without them, halted and
-- dead_letters. A row that is no JSON is skipped.

CREATE TABLE agent_messages (
  message_id STRING, workflow_id STRING, parent_id STRING, hop BIGINT, sender STRING, created_at STRING,
  lead_data ROW<
    name STRING, email STRING, job_title STRING, company_name STRING, company_website STRING,
    project_description STRING, lead_source STRING
  >,
  context STRING,
  emails STRING,
  topic STRING METADATA VIRTUAL,
  `partition` INT METADATA VIRTUAL,
  offset_id BIGINT METADATA FROM 'offset' VIRTUAL
) WITH (
  'connector' = 'kafka', 'properties.bootstrap.servers' = '${servers}', 'topic' = '${topics}agent_messages',
  'properties.group.id' = '${topics}route_messages', 'scan.startup.mode' = 'earliest-offset',
  'format' = 'json', 'json.ignore-parse-errors' = 'true'
);

-- One for each client of the model; all are the same server (README.md, "What was tried").
${each model:
CREATE MODEL router_${n} INPUT (context STRING) OUTPUT (answer STRING) WITH (
  'provider' = 'openai', 'endpoint' = '${endpoint}', 'api-key' = '${key}', 'model' = '${model}',
  'response-format' = 'json_object',
  'system-prompt' = 'You route messages between agents. Say which agent takes the message next, or NONE when no agent accepts it. Answer with JSON: {"agent": "<name>"}. The agents:
[{"name": "Lead Ingestion Agent", "description": "Looks into a raw lead: finds out who the person and the company are.", "input": "A new, raw lead, just as it came from the web form. It has not been researched yet."},
{"name": "Lead Scoring Agent", "description": "Judges how well a researched lead fits: gives it a score from 0 to 100, talking points and a next step.", "input": "A research report on a lead, with findings on the person and the company. The lead has no score yet."},
{"name": "Active Outreach Agent", "description": "Writes one personal e-mail to book a meeting with one of the best leads.", "input": "A scored lead whose next step is Actively Engage."},
{"name": "Nurture Campaign Agent", "description": "Plans a nurture campaign: a sequence of three e-mails for a lead that needs more time.", "input": "A scored lead whose next step is Nurture."},
{"name": "Send Email Agent", "description": "Sends e-mails. This ends the workflow.", "input": "Finished e-mails, ready to be sent."}]'
);

CREATE VIEW questions_${n} AS SELECT * FROM agent_messages WHERE ${slice};
}
CREATE VIEW decisions AS
${each model, with UNION ALL:
SELECT * FROM ML_PREDICT(TABLE questions_${n}, MODEL router_${n}, DESCRIPTOR(context))
};

CREATE VIEW decided AS
SELECT
  *,
  JSON_VALUE(answer, '$.agent') AS agent,
  JSON_VALUE(answer, '$.confidence' RETURNING DOUBLE) AS confidence
FROM decisions;

CREATE VIEW routed AS
SELECT
  *,
  CASE
    WHEN COALESCE(confidence, 1.0) < 0.5 THEN 'unrouted'
    WHEN agent = 'Lead Ingestion Agent' THEN 'lead_ingestion'
    WHEN agent = 'Lead Scoring Agent' THEN 'lead_scoring'
    WHEN agent = 'Active Outreach Agent' THEN 'active_outreach'
    WHEN agent = 'Nurture Campaign Agent' THEN 'nurture_campaign'
    WHEN agent = 'Send Email Agent' THEN 'send_email'
    ELSE 'unrouted'
  END AS destination,
  CAST(ROW(agent, confidence, '${model}') AS ROW<agent STRING, confidence DOUBLE, model STRING>) AS decision
FROM decided;

${each agent:
CREATE TABLE ${topic}_sink (
  message_id STRING, workflow_id STRING, parent_id STRING, hop BIGINT, sender STRING, created_at STRING,
  lead_data ROW<
    name STRING, email STRING, job_title STRING, company_name STRING, company_website STRING,
    project_description STRING, lead_source STRING
  >,
  context STRING,
  emails STRING,
  decision ROW<agent STRING, confidence DOUBLE, model STRING>
) WITH (
  'connector' = 'kafka', 'properties.bootstrap.servers' = '${servers}', 'topic' = '${topics}${topic}',
  'key.format' = 'raw', 'key.fields' = 'workflow_id', 'value.format' = 'json', 'properties.linger.ms' = '${linger}'
);

INSERT INTO ${topic}_sink
SELECT message_id, workflow_id, parent_id, hop, sender, created_at, lead_data, context, emails, decision
FROM routed
WHERE destination = '${topic}';
}
CREATE TABLE agent_predictions_sink (
  message_id STRING, workflow_id STRING, parent_id STRING, hop BIGINT, sender STRING,
  topic STRING, `partition` INT, offset_id BIGINT,
  agent STRING, confidence DOUBLE, model STRING, destination STRING, created_at STRING
) WITH (
  'connector' = 'kafka', 'properties.bootstrap.servers' = '${servers}', 'topic' = '${topics}agent_predictions',
  'key.format' = 'raw', 'key.fields' = 'workflow_id', 'value.format' = 'json', 'properties.linger.ms' = '${linger}'
);

INSERT INTO agent_predictions_sink
SELECT
  message_id, workflow_id, parent_id, hop, sender, topic, `partition`, offset_id,
  agent, confidence, '${model}', destination, created_at
FROM routed;
