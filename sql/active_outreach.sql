-- Topic active_outreach: the messages for the Active Outreach Agent, each with the decision that sent it there. Written by
-- route_messages, read by write_outreach.

CREATE TABLE active_outreach (
  value BYTEA,
  topic TEXT METADATA FROM 'topic',
  partition INT METADATA FROM 'partition',
  offset_id BIGINT METADATA FROM 'offset_id',
  published_ms BIGINT METADATA FROM 'timestamp'
) WITH (
  connector = 'kafka',
  type = 'source',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'active_outreach',
  'baton.create_partitions' = '6',
  format = 'raw_bytes',
  'source.group_id' = 'write_outreach',
  'source.offset' = 'group',
  client_configs = 'auto.offset.reset=earliest'
);

CREATE TABLE active_outreach_sink (
  message_id TEXT,
  workflow_id TEXT,
  parent_id TEXT,
  hop BIGINT,
  sender TEXT,
  created_at TEXT,
  lead_data STRUCT<
    name TEXT, email TEXT, job_title TEXT, company_name TEXT, company_website TEXT, project_description TEXT,
    lead_source TEXT
  >,
  context TEXT,
  decision STRUCT<
    agent TEXT, status TEXT, confidence DOUBLE, error TEXT, attempts BIGINT, prompt_tokens BIGINT,
    completion_tokens BIGINT, cost DOUBLE, latency_ms BIGINT, model TEXT, source TEXT
  >
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'active_outreach',
  'baton.create_partitions' = '6',
  format = 'json',
  'sink.key_field' = 'workflow_id',
  'baton.create_max_message_bytes' = '4194304',
  'sink.commit_mode' = 'at_least_once'
);
