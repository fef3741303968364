-- Twenty messages at once, each to the agent that a real model chooses: for tests/model_server/run.
CREATE TABLE messages (id TEXT, text TEXT)
WITH (connector = 'single_file', path = 'messages.jsonl', format = 'json', type = 'source');

CREATE TABLE answered (
  id TEXT, agent TEXT, status TEXT, error TEXT, attempts BIGINT, confidence DOUBLE, prompt_tokens BIGINT,
  completion_tokens BIGINT, latency_ms BIGINT, model TEXT
) WITH (connector = 'single_file', path = 'answered.jsonl', format = 'json', type = 'sink');

CREATE VIEW decisions AS
SELECT
  llm_classify(
    text,
    '[{"name": "Billing Agent", "description": "Answers questions about invoices and payments.",
       "input": "A question about an invoice or a payment.", "examples": ["My invoice is wrong.", "When was I charged?"]},
      {"name": "Support Agent", "description": "Helps when something does not work.",
       "input": "A report of a fault.", "examples": ["It does not start any more."]},
      {"name": "Sales Agent", "description": "Makes offers.",
       "input": "A question of somebody who wants to buy.", "examples": ["What does it cost for 50 people?"]}]',
    '{}'
  ) AS decision,
  id
FROM messages;

INSERT INTO answered
SELECT
  id, json_get_str(decision, 'agent'), json_get_str(decision, 'status'), json_get_str(decision, 'error'),
  json_get_int(decision, 'attempts'), json_get_float(decision, 'confidence'), json_get_int(decision, 'prompt_tokens'),
  json_get_int(decision, 'completion_tokens'), json_get_int(decision, 'latency_ms'), json_get_str(decision, 'model')
FROM decisions;
