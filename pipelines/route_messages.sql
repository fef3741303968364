-- The router: gives every message on agent_messages to the agent that takes it next. Each message goes to exactly one
-- place: an agent's topic, unrouted, halted or dead_letters. Every decision also goes to agent_predictions.
--
-- A new agent needs no change here: its CREATE AGENT is enough. The limits are in sql/agent_messages.sql.

CREATE VIEW decided AS
SELECT
  llm_classify(context, (SELECT json_agg(named_struct('name', name, 'topic', topic, 'description', description,
    'input', input, 'output', output, 'examples', examples)) FROM agents), '{}') AS decision,
  *
FROM messages
WHERE refusal IS NULL AND halted IS NULL;

-- A confidence of NULL is not low: the model gave none.
CREATE VIEW routed AS
SELECT
  *, coalesce(decision->>'status', 'failed') AS status, decision->>'agent' AS agent,
  json_get_float(decision, 'confidence') AS confidence,
  CASE
    WHEN coalesce(decision->>'status', 'failed') <> 'ok' THEN 'dead_letters'
    WHEN decision->>'agent' = 'NONE' OR json_get_float(decision, 'confidence') < least_confidence THEN 'unrouted'
    ELSE coalesce(decision->>'topic', 'dead_letters')
  END AS destination
FROM decided;

INSERT INTO agent_predictions
SELECT message_id, workflow_id, parent_id, hop, sender, topic, partition, offset_id, agent, status, confidence,
  decision->>'error', json_get_int(decision, 'attempts'), json_get_int(decision, 'prompt_tokens'),
  json_get_int(decision, 'completion_tokens'), json_get_float(decision, 'cost'), json_get_int(decision, 'latency_ms'),
  decision->>'model', decision->>'source', destination, created_at
FROM routed;

INSERT INTO agent_topics (topic, workflow_id, value)
SELECT destination, workflow_id, forward(opened, decision, NULL)
FROM routed WHERE destination NOT IN ('unrouted', 'dead_letters');

INSERT INTO unrouted (workflow_id, value)
SELECT workflow_id, forward(opened, decision, CASE WHEN agent = 'NONE' THEN 'no agent accepts this message'
  ELSE concat('the confidence in ', agent, ' is ', confidence, ', below ', least_confidence) END)
FROM routed WHERE destination = 'unrouted';

INSERT INTO halted (workflow_id, value)
SELECT workflow_id, forward(opened, NULL, halted) FROM messages WHERE halted IS NOT NULL;

INSERT INTO dead_letters
SELECT workflow_id, message_id, 'route_messages', topic, partition, offset_id, published_ms, value,
  refusal_status, refusal, received_at
FROM messages WHERE refusal IS NOT NULL
UNION ALL
SELECT workflow_id, message_id, 'route_messages', topic, partition, offset_id, published_ms, value,
  CASE WHEN status = 'ok' THEN 'invalid' ELSE status END, coalesce(decision->>'error', 'no decision'), received_at
FROM routed WHERE destination = 'dead_letters';
