-- Topic unrouted: messages that no agent takes, or that the model is not sure about, with the decision and the
-- reason. People look at them. Written by route_messages.

CREATE TABLE unrouted (value BYTEA, workflow_id TEXT) WITH (
  connector = 'kafka',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'unrouted',
  format = 'raw_bytes',
  'sink.key_field' = 'workflow_id',
  'baton.create_partitions' = '${BATON_TOPIC_PARTITIONS:-6}',
  'baton.create_max_message_bytes' = '4194304'
);
