-- Topic incoming-leads.stratusdb.leads: one message for each change of a lead in MongoDB (`operationType`,
-- `fullDocument`, `ns`, `documentKey`, …). Written by MongoDB's Kafka connector, read by copy_leads.

CREATE TABLE incoming_leads (
  value BYTEA,
  workflow_id TEXT,
  topic TEXT METADATA FROM 'topic',
  partition INT METADATA FROM 'partition',
  offset_id BIGINT METADATA FROM 'offset_id',
  published_ms BIGINT METADATA FROM 'timestamp'
) WITH (
  connector = 'kafka',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'incoming-leads.stratusdb.leads',
  format = 'raw_bytes',
  'source.group_id' = 'copy_leads',
  'source.offset' = 'group',
  client_configs = 'auto.offset.reset=earliest',
  'sink.key_field' = 'workflow_id',
  'baton.create_partitions' = '${BATON_TOPIC_PARTITIONS:-6}'
);
