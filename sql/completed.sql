-- Topic completed: one row for each finished workflow. Written by send_emails.

CREATE TABLE completed (
  workflow_id TEXT, outcome TEXT, message_id TEXT, parent_id TEXT, hop BIGINT, email TEXT, emails BIGINT,
  created_at TEXT
) WITH (
  connector = 'kafka',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'completed',
  format = 'json',
  'sink.key_field' = 'workflow_id',
  'baton.create_partitions' = '${BATON_TOPIC_PARTITIONS:-6}',
  'baton.create_max_message_bytes' = '4194304'
);
