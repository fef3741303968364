-- Topic agent_predictions: every decision of route_messages, failed ones too: the message, the model's answer, its
-- cost, and where the message went. It is for dashboards and tests; no pipeline reads it.

CREATE TABLE agent_predictions (
  message_id TEXT, workflow_id TEXT, parent_id TEXT, hop BIGINT, sender TEXT,
  topic TEXT, partition INT, offset_id BIGINT,
  agent TEXT, status TEXT, confidence DOUBLE, error TEXT, attempts BIGINT,
  prompt_tokens BIGINT, completion_tokens BIGINT, cost DOUBLE, latency_ms BIGINT, model TEXT, source TEXT,
  destination TEXT, created_at TEXT
) WITH (
  connector = 'kafka',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'agent_predictions',
  format = 'json',
  'sink.key_field' = 'workflow_id',
  'baton.create_partitions' = '${BATON_TOPIC_PARTITIONS:-6}',
  'baton.create_max_message_bytes' = '4194304'
);
