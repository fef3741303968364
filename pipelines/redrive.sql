-- Puts dead letters back on the topics they came from, byte by byte: `baton run redrive`.
--
-- It takes what is in dead_letters at the start and what no earlier redrive has taken (its consumer group keeps the
-- offsets), then exits. What fails again becomes a new dead letter. The dead letters stay on their topic.
--
-- To change: which ones to retry, in `chosen`. Add an INSERT at the end for a topic of your own.

-- Read as bytes, so that one malformed dead letter does not stop the others.
CREATE TABLE letters (value BYTEA) WITH (
  connector = 'kafka',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'dead_letters',
  format = 'raw_bytes',
  'source.group_id' = 'redrive',
  'source.offset' = 'group',
  client_configs = 'auto.offset.reset=earliest',
  'baton.scan.bounded.mode' = 'latest-offset', -- Arroyo lacks it: there, a redrive runs until it is stopped
  'baton.create_partitions' = '${BATON_TOPIC_PARTITIONS:-6}',
  'baton.create_max_message_bytes' = '16777216'
);

CREATE VIEW opened_letters AS
SELECT letter->>'workflow_id' AS workflow_id, letter->>'topic' AS origin, letter->>'pipeline' AS pipeline,
  letter->>'status' AS status, rtrim(letter->>'payload', '=') AS payload
FROM (SELECT TRY_CAST(value AS TEXT) AS letter FROM letters) AS texts;

-- Only valid base64 can be decoded; anything else stays where it is.
CREATE VIEW chosen AS
SELECT workflow_id, origin, decode(payload, 'base64') AS original
FROM opened_letters
WHERE payload ~ '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048])?$' AND payload <> ''
-- Only those that may succeed the next time:
--   AND status IN ('timeout', 'unavailable', 'rate_limited', 'failed')
-- Only those of one agent:
--   AND pipeline = 'score_leads'
;

INSERT INTO agent_topics (topic, workflow_id, value)
SELECT origin, workflow_id, original FROM chosen WHERE origin IN (SELECT topic FROM agents);

INSERT INTO agent_messages (workflow_id, value)
SELECT workflow_id, original FROM chosen WHERE origin = 'agent_messages';

INSERT INTO incoming_leads (workflow_id, value)
SELECT workflow_id, original FROM chosen WHERE origin = 'incoming-leads.stratusdb.leads';
