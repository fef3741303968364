-- Topic halted: messages past a limit, so that no workflow goes round for ever; no model was asked about them. Written by
-- route_messages.

CREATE TABLE halted_sink (
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
  emails TEXT,
  reason TEXT
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'halted',
  'baton.create_partitions' = '6',
  format = 'json',
  'sink.key_field' = 'workflow_id',
  'baton.create_max_message_bytes' = '4194304',
  'sink.commit_mode' = 'at_least_once'
);
