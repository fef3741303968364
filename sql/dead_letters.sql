-- Topic dead_letters: messages that could not be read or broke their contract, and those whose call failed. All
-- pipelines write here. `baton run redrive` puts the messages back on the topics they came from.
--
--   workflow_id, message_id      if known; an unknown workflow_id is topic/partition/offset
--   pipeline                     the pipeline that could not take the message
--   topic, partition, offset_id  where the message was read
--   timestamp                    when it was published, in milliseconds since 1970
--   payload                      its bytes, in base64
--   status, error                why: `unreadable`, `contract` or the status of the call, and a sentence

CREATE TABLE dead_letters (
  workflow_id TEXT, message_id TEXT, pipeline TEXT, topic TEXT, partition INT, offset_id BIGINT, timestamp BIGINT,
  payload BYTEA, status TEXT, error TEXT, created_at TEXT
) WITH (
  connector = 'kafka',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'dead_letters',
  format = 'json',
  'sink.key_field' = 'workflow_id',
  'baton.create_partitions' = '${BATON_TOPIC_PARTITIONS:-6}',
  -- A message of 4 MB in base64.
  'baton.create_max_message_bytes' = '16777216'
);
