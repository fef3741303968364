-- Topic incoming-leads.stratusdb.leads: what happens to the leads in MongoDB, one change event a message
-- (`operationType`, `fullDocument`, `ns`, `documentKey`, …). Written by the MongoDB source, read by copy_leads.
--
-- Every topic that anyone may write to is read raw and taken apart in SQL, so that what cannot be read becomes a row in
-- dead_letters instead of the end of the pipeline. A pipeline starts where its consumer group has stopped; a group that
-- has never been there starts at the beginning of the topic, so that nothing published earlier is missed.
--
-- A broker with TLS and a password: add to `client_configs` (pairs with = between, commas between them), here and in the
-- other files of sql/, for example
--   'auto.offset.reset=earliest,security.protocol=SASL_SSL,sasl.mechanism=PLAIN,sasl.username=${KAFKA_USERNAME},sasl.password=${KAFKA_PASSWORD}'

CREATE TABLE incoming_leads (
  value BYTEA,
  topic TEXT METADATA FROM 'topic',
  partition INT METADATA FROM 'partition',
  offset_id BIGINT METADATA FROM 'offset_id',
  published_ms BIGINT METADATA FROM 'timestamp'
) WITH (
  connector = 'kafka',
  type = 'source',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'incoming-leads.stratusdb.leads',
  'baton.create_partitions' = '6',
  format = 'raw_bytes',
  'source.group_id' = 'copy_leads',
  'source.offset' = 'group',
  client_configs = 'auto.offset.reset=earliest'
);
