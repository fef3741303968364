-- Topic dead_letters: what could not be read, could not be asked about, or did not keep its contract. Written by all
-- pipelines, read by redrive, which puts rows back where they came from.
--
--   workflow_id, message_id          as far as they are known; an unknown workflow_id is topic/partition/offset
--   pipeline                         who gave up
--   topic, partition, offset_id      where the message was read
--   timestamp                        when it was published, in milliseconds
--   payload                          its bytes as they were, in base64
--   status, error                    why, as a word and as a sentence: `unreadable`, `contract`, `no_sink`, or what the
--                                    model's call ended with: `timeout`, `unavailable`, `rate_limited`, `rejected`,
--                                    `config`, `invalid`, `bad_input`, or `failed` when it ended with nothing at all
--
-- The source ends after what is there when it starts ('baton.scan.bounded.mode', which only Baton has: on Arroyo a
-- redrive goes on until it is stopped).

CREATE TABLE dead_letters (
  value BYTEA,
  topic TEXT METADATA FROM 'topic',
  partition INT METADATA FROM 'partition',
  offset_id BIGINT METADATA FROM 'offset_id',
  published_ms BIGINT METADATA FROM 'timestamp'
) WITH (
  connector = 'kafka',
  type = 'source',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'dead_letters',
  'baton.create_partitions' = '6',
  format = 'raw_bytes',
  'source.group_id' = 'redrive',
  'source.offset' = 'group',
  'baton.scan.bounded.mode' = 'latest-offset',
  client_configs = 'auto.offset.reset=earliest'
);

CREATE TABLE dead_letters_sink (
  workflow_id TEXT,
  message_id TEXT,
  pipeline TEXT,
  topic TEXT,
  partition INT,
  offset_id BIGINT,
  timestamp BIGINT,
  payload TEXT,
  status TEXT,
  error TEXT,
  created_at TEXT
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'dead_letters',
  'baton.create_partitions' = '6',
  format = 'json',
  'sink.key_field' = 'workflow_id',
  'baton.create_max_message_bytes' = '16777216',
  'sink.commit_mode' = 'at_least_once'
);
