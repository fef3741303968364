-- Topic unrouted: messages that no agent takes, or that the model was not sure enough about, with the decision and the
-- reason. Written by route_messages, for people to look at.

CREATE TABLE unrouted_sink (
  message_id TEXT,
  workflow_id TEXT,
  parent_id TEXT,
  hop BIGINT,
  sender TEXT,
  created_at TEXT,
  lead_data STRUCT<
    name TEXT, email TEXT, job_title TEXT, company_name TEXT, company_website TEXT, project_description TEXT,
    lead_source TEXT
  >,
  context TEXT,
  emails TEXT,
  reason TEXT,
  decision STRUCT<
    agent TEXT, status TEXT, confidence DOUBLE, error TEXT, attempts BIGINT, prompt_tokens BIGINT,
    completion_tokens BIGINT, cost DOUBLE, latency_ms BIGINT, model TEXT, source TEXT
  >
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'unrouted',
  'baton.create_partitions' = '6',
  format = 'json',
  'sink.key_field' = 'workflow_id',
  'baton.create_max_message_bytes' = '4194304',
  'sink.commit_mode' = 'at_least_once'
);
