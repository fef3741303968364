-- What is measured without a UDF: JSON is read into columns, each message goes to one of five topics, and is written as
-- JSON again.

CREATE TABLE bench_events (
  id BIGINT,
  kind TEXT,
  customer TEXT,
  amount DOUBLE,
  quantity BIGINT,
  express BOOLEAN,
  created_at TEXT,
  address TEXT,
  note TEXT
) WITH (
  connector = 'kafka',
  type = 'source',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'bench_events',
  format = 'json',
  'source.group_id' = 'bench_split',
  'source.offset' = 'earliest'
);

CREATE TABLE bench_orders (
  id BIGINT,
  kind TEXT,
  customer TEXT,
  amount DOUBLE,
  quantity BIGINT,
  express BOOLEAN,
  created_at TEXT,
  address TEXT,
  note TEXT
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'bench_orders',
  format = 'json'
);

CREATE TABLE bench_refunds (
  id BIGINT,
  kind TEXT,
  customer TEXT,
  amount DOUBLE,
  quantity BIGINT,
  express BOOLEAN,
  created_at TEXT,
  address TEXT,
  note TEXT
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'bench_refunds',
  format = 'json'
);

CREATE TABLE bench_shipments (
  id BIGINT,
  kind TEXT,
  customer TEXT,
  amount DOUBLE,
  quantity BIGINT,
  express BOOLEAN,
  created_at TEXT,
  address TEXT,
  note TEXT
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'bench_shipments',
  format = 'json'
);

CREATE TABLE bench_reviews (
  id BIGINT,
  kind TEXT,
  customer TEXT,
  amount DOUBLE,
  quantity BIGINT,
  express BOOLEAN,
  created_at TEXT,
  address TEXT,
  note TEXT
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'bench_reviews',
  format = 'json'
);

CREATE TABLE bench_visits (
  id BIGINT,
  kind TEXT,
  customer TEXT,
  amount DOUBLE,
  quantity BIGINT,
  express BOOLEAN,
  created_at TEXT,
  address TEXT,
  note TEXT
) WITH (
  connector = 'kafka',
  type = 'sink',
  bootstrap_servers = '${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}',
  topic = 'bench_visits',
  format = 'json'
);

INSERT INTO bench_orders SELECT * FROM bench_events WHERE kind = 'order';
INSERT INTO bench_refunds SELECT * FROM bench_events WHERE kind = 'refund';
INSERT INTO bench_shipments SELECT * FROM bench_events WHERE kind = 'shipment';
INSERT INTO bench_reviews SELECT * FROM bench_events WHERE kind = 'review';
INSERT INTO bench_visits SELECT * FROM bench_events WHERE kind = 'visit';
