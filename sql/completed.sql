-- Topic completed: workflows that have come to their end, one row each. Written by send_emails.

CREATE TABLE completed_sink (
  workflow_id TEXT,
  outcome TEXT,
  message_id TEXT,
  parent_id TEXT,
  hop BIGINT,
  email TEXT,
  emails BIGINT,
  created_at TEXT
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'completed',
  'baton.create_partitions' = '6',
  format = 'json',
  'sink.key_field' = 'workflow_id',
  'sink.commit_mode' = 'at_least_once'
);
