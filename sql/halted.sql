-- Topic halted: messages past a limit, with the reason. No model was asked about them. Written by route_messages.

CREATE TABLE halted (value BYTEA, workflow_id TEXT) WITH (
  connector = 'kafka',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'halted',
  format = 'raw_bytes',
  'sink.key_field' = 'workflow_id',
  'baton.create_partitions' = '${BATON_TOPIC_PARTITIONS:-6}',
  'baton.create_max_message_bytes' = '4194304'
);
