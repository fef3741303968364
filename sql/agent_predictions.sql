-- Topic agent_predictions: every decision of route_messages, also those that failed: what was asked about, what the model
-- said, what it took, and where the message went. Nothing reads it here; it is for dashboards, costs and tests.

CREATE TABLE agent_predictions_sink (
  message_id TEXT,
  workflow_id TEXT,
  parent_id TEXT,
  hop BIGINT,
  sender TEXT,
  topic TEXT,
  partition INT,
  offset_id BIGINT,
  agent TEXT,
  status TEXT,
  confidence DOUBLE,
  error TEXT,
  attempts BIGINT,
  prompt_tokens BIGINT,
  completion_tokens BIGINT,
  cost DOUBLE,
  latency_ms BIGINT,
  model TEXT,
  source TEXT,
  destination TEXT,
  created_at TEXT
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'agent_predictions',
  'baton.create_partitions' = '6',
  format = 'json',
  'sink.key_field' = 'workflow_id',
  'sink.commit_mode' = 'at_least_once'
);
