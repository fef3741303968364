-- Twenty messages at once, each taken apart by a real model that is held to a schema: for tests/model_server/run.
CREATE TABLE messages (id TEXT, text TEXT)
WITH (connector = 'single_file', path = 'messages.jsonl', format = 'json', type = 'source');

CREATE TABLE answered (
  id TEXT, text TEXT, status TEXT, error TEXT, attempts BIGINT, latency_ms BIGINT
) WITH (connector = 'single_file', path = 'answered.jsonl', format = 'json', type = 'sink');

CREATE VIEW answers AS
SELECT
  llm_complete(
    'Say what the message is about, and whether its author is in a hurry.', text, NULL,
    '{"temperature": 0, "max_tokens": 100, "schema": {"type": "object", "additionalProperties": false,
      "properties": {"topic": {"type": "string", "enum": ["invoice", "fault", "order", "other"]},
                     "urgent": {"type": "boolean"}},
      "required": ["topic", "urgent"]}}'
  ) AS answer,
  id
FROM messages;

INSERT INTO answered
SELECT
  id, json_get_str(answer, 'text'), json_get_str(answer, 'status'), json_get_str(answer, 'error'),
  json_get_int(answer, 'attempts'), json_get_int(answer, 'latency_ms')
FROM answers;
