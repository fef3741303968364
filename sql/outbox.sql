-- Topic outbox: one row for each e-mail. A row may be written twice, with the same `email_id`: send each id once, and
-- not before `send_at`. Written by send_emails.

CREATE TABLE outbox (
  email_id TEXT, workflow_id TEXT, message_id TEXT, to TEXT, subject TEXT, body TEXT, send_at TEXT, created_at TEXT
) WITH (
  connector = 'kafka',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'outbox',
  format = 'json',
  'sink.key_field' = 'workflow_id',
  'baton.create_partitions' = '${BATON_TOPIC_PARTITIONS:-6}',
  'baton.create_max_message_bytes' = '4194304'
);
