-- Puts dead letters back where they came from, byte by byte: `baton run redrive`.
--
-- It takes what is in dead_letters when it starts and has not been taken by an earlier redrive (its consumer group keeps
-- the place), then ends. What fails again becomes a new dead letter, for the next redrive. The dead letters themselves
-- stay on their topic.
--
-- What to edit here: which ones are worth another try, in `chosen`.

CREATE VIEW received AS
SELECT TRY_CAST(value AS TEXT) AS letter
FROM dead_letters;

CREATE VIEW letters AS
SELECT
  json_get_str(letter, 'workflow_id') AS workflow_id,
  json_get_str(letter, 'topic') AS origin,
  json_get_str(letter, 'pipeline') AS pipeline,
  json_get_str(letter, 'status') AS status,
  rtrim(json_get_str(letter, 'payload'), '=') AS payload
FROM received;

-- Only what is base64 through and through can be decoded; anything else stays where it is.
CREATE VIEW chosen AS
SELECT
  workflow_id,
  origin,
  CASE
    WHEN regexp_like(payload, '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048])?$')
      THEN decode(payload, 'base64')
  END AS original
FROM letters
WHERE payload <> ''
-- Only those that may go well the next time:
--   AND status IN ('timeout', 'unavailable', 'rate_limited', 'failed')
-- Only those of one agent:
--   AND pipeline = 'score_leads'
;

-- Raw bytes out, one table a topic; the key is the workflow, so that it stays in order.
CREATE TABLE redriven_incoming_leads (value BYTEA, workflow_id TEXT) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'incoming-leads.stratusdb.leads',
  'baton.create_partitions' = '6',
  format = 'raw_bytes',
  'sink.key_field' = 'workflow_id',
  'sink.commit_mode' = 'at_least_once'
);

CREATE TABLE redriven_agent_messages (value BYTEA, workflow_id TEXT) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'agent_messages',
  'baton.create_partitions' = '6',
  format = 'raw_bytes',
  'sink.key_field' = 'workflow_id',
  'sink.commit_mode' = 'at_least_once'
);

CREATE TABLE redriven_lead_ingestion (value BYTEA, workflow_id TEXT) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'lead_ingestion',
  'baton.create_partitions' = '6',
  format = 'raw_bytes',
  'sink.key_field' = 'workflow_id',
  'sink.commit_mode' = 'at_least_once'
);

CREATE TABLE redriven_lead_scoring (value BYTEA, workflow_id TEXT) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'lead_scoring',
  'baton.create_partitions' = '6',
  format = 'raw_bytes',
  'sink.key_field' = 'workflow_id',
  'sink.commit_mode' = 'at_least_once'
);

CREATE TABLE redriven_active_outreach (value BYTEA, workflow_id TEXT) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'active_outreach',
  'baton.create_partitions' = '6',
  format = 'raw_bytes',
  'sink.key_field' = 'workflow_id',
  'sink.commit_mode' = 'at_least_once'
);

CREATE TABLE redriven_nurture_campaign (value BYTEA, workflow_id TEXT) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'nurture_campaign',
  'baton.create_partitions' = '6',
  format = 'raw_bytes',
  'sink.key_field' = 'workflow_id',
  'sink.commit_mode' = 'at_least_once'
);

CREATE TABLE redriven_send_email (value BYTEA, workflow_id TEXT) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'send_email',
  'baton.create_partitions' = '6',
  format = 'raw_bytes',
  'sink.key_field' = 'workflow_id',
  'sink.commit_mode' = 'at_least_once'
);

INSERT INTO redriven_incoming_leads
SELECT original, workflow_id FROM chosen WHERE origin = 'incoming-leads.stratusdb.leads' AND original IS NOT NULL;

INSERT INTO redriven_agent_messages
SELECT original, workflow_id FROM chosen WHERE origin = 'agent_messages' AND original IS NOT NULL;

INSERT INTO redriven_lead_ingestion
SELECT original, workflow_id FROM chosen WHERE origin = 'lead_ingestion' AND original IS NOT NULL;

INSERT INTO redriven_lead_scoring
SELECT original, workflow_id FROM chosen WHERE origin = 'lead_scoring' AND original IS NOT NULL;

INSERT INTO redriven_active_outreach
SELECT original, workflow_id FROM chosen WHERE origin = 'active_outreach' AND original IS NOT NULL;

INSERT INTO redriven_nurture_campaign
SELECT original, workflow_id FROM chosen WHERE origin = 'nurture_campaign' AND original IS NOT NULL;

INSERT INTO redriven_send_email
SELECT original, workflow_id FROM chosen WHERE origin = 'send_email' AND original IS NOT NULL;
