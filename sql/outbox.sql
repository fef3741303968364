-- Topic outbox: e-mails to be sent, one row an e-mail. Written by send_emails. `email_id` is the same however often a row
-- is written: whoever really sends the e-mail does so once for each id, not before `send_at`.

CREATE TABLE outbox_sink (
  email_id TEXT,
  workflow_id TEXT,
  message_id TEXT,
  to TEXT,
  subject TEXT,
  body TEXT,
  send_at TEXT,
  created_at TEXT
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'outbox',
  'baton.create_partitions' = '6',
  format = 'json',
  'sink.key_field' = 'workflow_id',
  'baton.create_max_message_bytes' = '4194304',
  'sink.commit_mode' = 'at_least_once'
);
