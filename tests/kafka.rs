//! The Kafka connector against a real Apache Kafka: `tests/broker/install`, then
//! `cargo test --release --test kafka -- --ignored`.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use baton::connectors::{ConnectorError, InFlightLimits};
use baton::delivery::Lineage;
use baton::diag::Code;
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use support::broker::{Broker, PASSWORD, Received, USER, eventually, free_port};
use support::running::{Row, Running, context, counts, open_sink, sink_table, source_table, wait};

const SECOND: Duration = Duration::from_secs(1);

/// A topic of its own for each test.
fn topic(broker: &Broker, partitions: i32) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("topic-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    broker.create_topic(&name, partitions);
    name
}

fn numbers(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|n| format!("{n:06}"))
}

fn values(rows: &[Row]) -> Vec<String> {
    let mut values: Vec<String> = rows.iter().map(Row::text).collect();
    values.sort();
    values
}

fn group(pipeline: &str) -> String {
    format!("baton-{pipeline}-t")
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn an_empty_group_gets_all_that_was_published_before_and_a_committed_one_goes_on() {
    let broker = Broker::shared();
    let topic = topic(broker, 3);
    let table = source_table(&broker.servers(), &topic, "");
    broker.produce(&topic, numbers(0..500));

    let running = Running::start(&table, context("from_empty")).unwrap();
    let rows = running.deliver(500);
    assert_eq!(values(&rows), numbers(0..500).collect::<Vec<_>>());
    assert_eq!(running.stop().unwrap(), []);
    assert_eq!(broker.committed(&group("from_empty"), &topic), broker.ends(&topic));
    assert_eq!(broker.members(&group("from_empty")), 0, "it has left the group");

    broker.produce(&topic, numbers(500..700));
    let running = Running::start(&table, context("from_empty")).unwrap();
    assert_eq!(values(&running.deliver(200)), numbers(500..700).collect::<Vec<_>>());
    running.stop().unwrap();
    assert_eq!(broker.committed(&group("from_empty"), &topic), broker.ends(&topic));
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn the_committed_offset_comes_before_the_tables_option() {
    let broker = Broker::shared();
    let topic = topic(broker, 1);
    broker.produce(&topic, numbers(0..100));
    for (pipeline, offset) in [("c1", "earliest"), ("c2", "latest"), ("c3", "group")] {
        broker.commit(&group(pipeline), &topic, 0, 40);
        let table = source_table(&broker.servers(), &topic, &format!("'source.offset' = '{offset}'"));
        let running = Running::start(&table, context(pipeline)).unwrap();
        assert_eq!(running.deliver(60)[0].offset, 40, "{offset}");
        running.stop().unwrap();
    }
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn latest_begins_at_the_first_start_and_not_at_a_later_one() {
    let broker = Broker::shared();
    let topic = topic(broker, 2);
    broker.produce(&topic, numbers(0..10));
    let table = source_table(&broker.servers(), &topic, "'source.offset' = 'latest'");
    let running = Running::start(&table, context("latest")).unwrap();
    assert!(running.is_quiet(SECOND), "what was published before is not read");
    running.stop().unwrap();
    // Nothing was read, so nothing was committed because of it. What comes now must not be skipped.
    broker.produce(&topic, numbers(10..30));
    let running = Running::start(&table, context("latest")).unwrap();
    assert_eq!(values(&running.deliver(20)), numbers(10..30).collect::<Vec<_>>());
    running.stop().unwrap();
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn a_group_that_must_not_begin_by_itself_is_refused() {
    let broker = Broker::shared();
    let topic = topic(broker, 1);
    let options = "'source.offset' = 'group', client_configs = 'auto.offset.reset=error'";
    let error = Running::start(&source_table(&broker.servers(), &topic, options), context("refuse")).err().unwrap();
    assert_eq!(
        (error.code, error.message),
        (
            Code::SOURCE_FAILED,
            format!("consumer group `baton-refuse-t` has no committed offset for topic `{topic}` (table `t`)")
        )
    );
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn rows_carry_what_is_known_of_their_message_and_empty_ones_never_arrive() {
    let broker = Broker::shared();
    let topic = topic(broker, 3);
    broker.produce_to(&topic, Some(2), [(Some("k1"), "first"), (Some("k2"), ""), (Some("k3"), "third")]);
    broker.produce_tombstones(&topic, 5);
    let running = Running::start(&source_table(&broker.servers(), &topic, ""), context("metadata")).unwrap();
    let rows = running.deliver(2);
    let seen: Vec<_> = rows.iter().map(|r| (r.partition, r.offset, r.key.as_deref().unwrap(), r.text())).collect();
    assert_eq!(seen, [(2, 0, "k1", "first".to_string()), (2, 2, "k3", "third".to_string())]);
    let now =
        i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis()).unwrap();
    assert!(rows.iter().all(|r| r.topic == topic && (now - 60_000..=now).contains(&r.timestamp.unwrap())));
    assert!(running.is_quiet(SECOND));
    running.stop().unwrap();
    let ends: BTreeMap<i32, i64> = broker.ends(&topic).into_iter().filter(|(_, end)| *end > 0).collect();
    assert_eq!(broker.committed(&group("metadata"), &topic), ends, "tombstones are passed by commits");
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn a_row_that_is_alone_arrives_at_once() {
    let broker = Broker::shared();
    let topic = topic(broker, 1);
    let sink = open_sink(&sink_table(&broker.servers(), &topic, JSON), &context("alone")).unwrap();
    let running = Running::start(&source_table(&broker.servers(), &topic, ""), context("alone")).unwrap();
    let mut took = Vec::new();
    for n in 0..30 {
        let begin = Instant::now();
        sink.write(batch([(format!("{n}"), "x".into())]), Lineage::none()).unwrap();
        running.deliver(1);
        took.push(begin.elapsed());
    }
    running.stop().unwrap();
    took.sort();
    assert!(took[15] < Duration::from_millis(50), "half of them took longer than {:?}", took[15]);
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn large_messages_are_written_and_read() {
    let broker = Broker::shared();
    let topic = format!("{}-large", topic(broker, 1));
    broker.create_topic_with(&topic, 1, &[("max.message.bytes", "20000000")]);
    let sink = open_sink(&sink_table(&broker.servers(), &topic, JSON), &context("large")).unwrap();
    let body: String = "lead ".repeat(2_000_000);
    for n in 0..5 {
        sink.write(batch([(format!("{n}"), body.clone())]), Lineage::none()).unwrap();
    }
    wait(sink.flush()).unwrap();
    let running = Running::start(&source_table(&broker.servers(), &topic, ""), context("large")).unwrap();
    let rows = running.deliver(5);
    assert!(rows.iter().all(|r| r.value.len() > body.len() && r.text().contains(&body)));
    running.stop().unwrap();
    assert_eq!(broker.committed(&group("large"), &topic), broker.ends(&topic));
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn a_source_that_is_held_back_longer_than_the_poll_interval_stays_in_its_group() {
    let broker = Broker::shared();
    let topic = topic(broker, 2);
    broker.produce(&topic, numbers(0..2000));
    let options = "client_configs = 'max.poll.interval.ms=6000,session.timeout.ms=6000,heartbeat.interval.ms=1000'";
    let mut context = context("held");
    context.limits = InFlightLimits { rows: 50, resume_rows: 25, bytes: 1 << 30 };
    let running = Running::start(&source_table(&broker.servers(), &topic, options), context).unwrap();
    let (mut rows, held) = running.take(50);
    assert!(running.is_quiet(10 * SECOND), "no more than 50 rows are in flight");
    assert_eq!(broker.members(&group("held")), 1);
    held.into_iter().for_each(Lineage::deliver);
    rows.extend(running.deliver(1950));
    assert_eq!(values(&rows), numbers(0..2000).collect::<Vec<_>>(), "each row once: the partitions never left");
    assert!(running.is_quiet(SECOND));
    running.stop().unwrap();
    assert_eq!(broker.committed(&group("held"), &topic), broker.ends(&topic));
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn bytes_in_flight_are_limited_too() {
    let broker = Broker::shared();
    let topic = topic(broker, 1);
    broker.produce(&topic, (0..100).map(|n| format!("{n:06}{}", "x".repeat(10_000))));
    let mut context = context("bytes");
    context.limits = InFlightLimits { rows: 100_000, resume_rows: 50_000, bytes: 100_000 };
    let running = Running::start(
        &source_table(
            &broker.servers(),
            &topic,
            "client_configs = 'fetch.max.bytes=30000,message.max.bytes=30000,fetch.message.max.bytes=30000'",
        ),
        context,
    )
    .unwrap();
    let (mut rows, held) = running.take(10);
    while let Some((more, lineage)) = running.batch(SECOND) {
        rows.extend(more);
        lineage.deliver();
        if rows.len() >= 100 {
            break;
        }
        assert!(running.context.ledger.tracker().bytes_in_flight() < 5_000_000);
    }
    held.into_iter().for_each(Lineage::deliver);
    rows.extend(running.deliver(100 - rows.len()));
    assert_eq!(rows.len(), 100);
    running.stop().unwrap();
}

/// Takes rows from several sources and delivers each at once, until every value has come; says how many rows each gave.
fn gather<const N: usize>(sources: [&Running; N], all: &mut Vec<Row>, until: usize) -> [usize; N] {
    let deadline = Instant::now() + 60 * SECOND;
    let mut gave = [0; N];
    while counts(all).len() < until {
        assert!(Instant::now() < deadline, "{} of {until} values came", counts(all).len());
        for (source, gave) in sources.iter().zip(&mut gave) {
            while let Some((rows, lineage)) = source.batch(Duration::from_millis(10)) {
                *gave += rows.len();
                all.extend(rows);
                lineage.deliver();
            }
        }
    }
    gave
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn processes_that_join_and_leave_share_the_partitions_and_lose_nothing() {
    let broker = Broker::shared();
    let topic = topic(broker, 6);
    let table = source_table(&broker.servers(), &topic, "");
    let start = || Running::start(&table, context("share")).unwrap();
    let (mut all, mut published) = (Vec::new(), 0);
    let mut publish = |count: usize| {
        broker.produce(&topic, numbers(published..published + count));
        published += count;
        published
    };

    let until = publish(3000);
    let first = start();
    gather([&first], &mut all, until / 2);
    let second = start();
    let deadline = Instant::now() + 30 * SECOND;
    loop {
        let until = publish(300);
        let [_, of_second] = gather([&first, &second], &mut all, until);
        if of_second > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "the second never got a row");
    }
    assert_eq!(broker.members(&group("share")), 2);
    all.extend(first.stop().unwrap());
    let until = publish(3000);
    gather([&second], &mut all, until);
    all.extend(second.stop().unwrap());

    let counts = counts(&all);
    assert_eq!(counts.len(), until);
    let twice = counts.values().filter(|n| **n > 1).count();
    assert_eq!(twice, 0, "rows that were delivered before partitions changed hands are not read again");
    assert_eq!(broker.committed(&group("share"), &topic), broker.ends(&topic));
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn rows_in_flight_of_a_partition_that_goes_are_read_again_and_never_committed_by_the_old_owner() {
    let broker = Broker::shared();
    let topic = topic(broker, 2);
    broker.produce_to(&topic, Some(0), numbers(0..100).map(|v| (None::<String>, v)));
    broker.produce_to(&topic, Some(1), numbers(100..200).map(|v| (None::<String>, v)));
    // A short poll interval, so that the old owner waits for its rows for three seconds only.
    let table = source_table(&broker.servers(), &topic, "client_configs = 'max.poll.interval.ms=6000'");
    let first = Running::start(&table, context("taken")).unwrap();
    let (_, held) = first.take(200);
    let second = Running::start(&table, context("taken")).unwrap();
    let (again, given) = second.take(100);
    assert_eq!(again.len(), 100, "one of two partitions, from its beginning");
    let moved = again[0].partition;
    // The old owner finishes late. That is not its partition any more.
    held.into_iter().for_each(Lineage::deliver);
    eventually("the partition that stayed is committed", || {
        broker.committed(&group("taken"), &topic).get(&(1 - moved)) == Some(&100)
    });
    assert_eq!(broker.committed(&group("taken"), &topic).get(&moved), None, "its new owner has delivered nothing");
    first.stop().unwrap();
    given.into_iter().for_each(Lineage::deliver);
    second.stop().unwrap();
    assert_eq!(broker.committed(&group("taken"), &topic), broker.ends(&topic));
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn a_stop_waits_for_rows_in_flight_and_gives_up_after_its_time() {
    let broker = Broker::shared();
    let topic = topic(broker, 1);
    broker.produce(&topic, numbers(0..20));
    let table = source_table(&broker.servers(), &topic, "");

    let mut context_ = context("drain");
    context_.drain_timeout = SECOND;
    let running = Running::start(&table, context_).unwrap();
    let (_, held) = running.take(20);
    running.context.stop.set();
    let begin = Instant::now();
    running.end().unwrap();
    assert!(begin.elapsed() >= SECOND && begin.elapsed() < 8 * SECOND, "{:?}", begin.elapsed());
    assert_eq!(broker.committed(&group("drain"), &topic), BTreeMap::new());
    drop(held);

    let running = Running::start(&table, context("drain")).unwrap();
    let (_, held) = running.take(20);
    running.context.stop.set();
    let late = std::thread::spawn(move || {
        std::thread::sleep(2 * SECOND);
        held.into_iter().for_each(Lineage::deliver);
    });
    running.end().unwrap();
    late.join().unwrap();
    assert_eq!(broker.committed(&group("drain"), &topic), broker.ends(&topic));
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn a_broker_that_is_killed_and_comes_back_loses_nothing() {
    let mut broker = Broker::start();
    let (from, to) = ("input", "output");
    broker.create_topic(from, 2);
    broker.create_topic(to, 2);
    broker.produce(from, numbers(0..1000));
    let sink = open_sink(&sink_table(&broker.servers(), to, JSON), &context("restart")).unwrap();
    let running = Running::start(&source_table(&broker.servers(), from, ""), context("restart")).unwrap();
    let pump = |until: usize, seen: &mut Vec<Row>| {
        let deadline = Instant::now() + 60 * SECOND;
        while counts(seen).len() < until {
            assert!(Instant::now() < deadline, "{} of {until} values came", counts(seen).len());
            if let Some((rows, lineage)) = running.batch(Duration::from_millis(100)) {
                let copy = rows.iter().map(|r| (r.text(), "copied".to_string()));
                sink.write(batch(copy), lineage).unwrap();
                seen.extend(rows);
            }
        }
    };
    let mut seen = Vec::new();
    pump(400, &mut seen);
    broker.kill();
    // Written while there is no broker: it waits in the producer.
    while let Some((rows, lineage)) = running.batch(SECOND) {
        sink.write(batch(rows.iter().map(|r| (r.text(), "copied".to_string()))), lineage).unwrap();
        seen.extend(rows);
    }
    broker.restart();
    broker.produce(from, numbers(1000..1500));
    pump(1500, &mut seen);
    wait(sink.flush()).unwrap();
    running.stop().unwrap();
    // Rows whose commit was not answered before the kill may be there twice.
    let distinct = |copies: &[Received]| copies.iter().map(|m| &m.value).collect::<BTreeSet<_>>().len();
    broker.consume_until(to, 60 * SECOND, |copies| distinct(copies) == 1500);
    assert_eq!(broker.committed(&group("restart"), from), broker.ends(from));
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn a_stop_ends_in_time_when_the_broker_stands_still() {
    let broker = Broker::start();
    broker.create_topic("still", 1);
    broker.produce("still", numbers(0..10));
    let mut context = context("still");
    context.drain_timeout = SECOND;
    let running = Running::start(&source_table(&broker.servers(), "still", ""), context).unwrap();
    let (_, held) = running.take(10);
    broker.freeze();
    held.into_iter().for_each(Lineage::deliver);
    let begin = Instant::now();
    running.stop().unwrap();
    assert!(begin.elapsed() < 15 * SECOND, "{:?}", begin.elapsed());
    broker.thaw();
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn a_topic_that_is_made_anew_is_read_from_its_beginning() {
    let broker = Broker::shared();
    let topic = topic(broker, 1);
    broker.produce(&topic, numbers(0..100));
    let options = "client_configs = 'topic.metadata.refresh.interval.ms=500'";
    let running = Running::start(&source_table(&broker.servers(), &topic, options), context("anew")).unwrap();
    running.deliver(100);
    broker.delete_topic(&topic);
    broker.create_topic(&topic, 1);
    broker.produce(&topic, numbers(100..110));
    assert_eq!(values(&running.deliver(10)), numbers(100..110).collect::<Vec<_>>());
    running.stop().unwrap();
    assert_eq!(broker.committed(&group("anew"), &topic), broker.ends(&topic));
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn a_missing_topic_is_an_error_or_is_created() {
    let broker = Broker::shared();
    let missing = |topic: &str| {
        (
            Code::TOPIC_MISSING,
            format!("topic `{topic}` (table `t`) does not exist"),
            Some("create it, or run with `--create-topics`".to_string()),
        )
    };
    let all = |error: ConnectorError| (error.code, error.message, error.help);
    let source = source_table(&broker.servers(), "no-such-source", "");
    assert_eq!(all(Running::start(&source, context("missing")).err().unwrap()), missing("no-such-source"));
    let sink = sink_table(&broker.servers(), "no-such-sink", JSON);
    assert_eq!(all(open_sink(&sink, &context("missing")).err().unwrap()), missing("no-such-sink"));
    assert_eq!(
        (broker.partitions("no-such-source"), broker.partitions("no-such-sink")),
        (0, 0),
        "asking creates nothing"
    );

    let mut create = context("missing");
    create.create_topics = true;
    let sink = sink_table(&broker.servers(), "created", &format!("{JSON}, 'baton.create_partitions' = '3'"));
    std::thread::scope(|scope| {
        let opens: Vec<_> = (0..4).map(|_| scope.spawn(|| open_sink(&sink, &create).map(drop))).collect();
        for open in opens {
            open.join().unwrap().unwrap();
        }
    });
    assert_eq!(broker.partitions("created"), 3);
    let source = source_table(&broker.servers(), "created-too", "");
    Running::start(&source, create).unwrap().stop().unwrap();
    assert_eq!(broker.partitions("created-too"), 1, "the broker's default");
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn a_broker_that_is_not_there() {
    let servers = format!("127.0.0.1:{}", free_port());
    let options = "client_configs = 'socket.connection.setup.timeout.ms=2000'";
    let error = Running::start(&source_table(&servers, "x", options), context("nobody")).err().unwrap();
    assert_eq!(
        (error.code, error.message),
        (
            Code::BROKER,
            format!(
                "cannot reach the Kafka broker at `{servers}` (table `t`): Connect to ipv4#{servers} failed: Connection refused"
            )
        )
    );
    let error =
        open_sink(&sink_table("no.such.host.invalid:9092", "x", &format!("{JSON}, {options}")), &context("nobody"))
            .err()
            .unwrap();
    assert!(
        error
            .message
            .starts_with("cannot reach the Kafka broker at `no.such.host.invalid:9092` (table `t`): Failed to resolve"),
        "{error}"
    );
}

fn login(mechanism: &str, password: &str) -> String {
    format!(
        "'auth.type' = 'sasl', 'auth.protocol' = 'SASL_PLAINTEXT', 'auth.mechanism' = '{mechanism}', \
         'auth.username' = '{USER}', 'auth.password' = '{password}'"
    )
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn logins_that_are_right_and_wrong() {
    let broker = Broker::shared();
    let topic = topic(broker, 1);
    broker.produce(&topic, ["hello"]);
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        let table = source_table(&broker.sasl_servers(), &topic, &login(mechanism, PASSWORD));
        let running = Running::start(&table, context(mechanism)).unwrap();
        assert_eq!(running.deliver(1)[0].text(), "hello");
        running.stop().unwrap();

        let begin = Instant::now();
        let table = source_table(&broker.sasl_servers(), &topic, &login(mechanism, "not-the-password"));
        let error = Running::start(&table, context("wrong")).err().unwrap();
        assert!(begin.elapsed() < 5 * SECOND, "waiting does not help: {:?}", begin.elapsed());
        let begins = format!("the Kafka broker at `{}` refuses the login (table `t`): ", broker.sasl_servers());
        assert!(error.code == Code::BROKER && error.message.starts_with(&begins), "{error}");
        assert!(!format!("{error:?}").contains("not-the-password"), "{error:?}");
        let table =
            sink_table(&broker.sasl_servers(), &topic, &format!("{JSON}, {}", login(mechanism, "not-the-password")));
        let error = open_sink(&table, &context("wrong")).err().unwrap();
        assert!(error.message.starts_with(&begins), "{error}");
    }
    let error = Running::start(
        &source_table(&broker.sasl_servers(), &topic, "client_configs = 'socket.connection.setup.timeout.ms=3000'"),
        context("none"),
    )
    .err()
    .unwrap();
    assert_eq!(error.code, Code::BROKER, "no login at all: {error}");
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn encrypted_connections() {
    let broker = Broker::shared();
    let topic = topic(broker, 1);
    broker.produce(&topic, ["hello"]);
    let trusted = format!("client_configs = 'security.protocol=ssl,ssl.ca.location={}'", broker.ca_file());
    let running = Running::start(&source_table(&broker.tls_servers(), &topic, &trusted), context("tls")).unwrap();
    assert_eq!(running.deliver(1)[0].text(), "hello");
    running.stop().unwrap();
    let untrusted = source_table(&broker.tls_servers(), &topic, "client_configs = 'security.protocol=ssl'");
    let error = Running::start(&untrusted, context("tls")).err().unwrap();
    let begins = format!("no encrypted connection to the Kafka broker at `{}` (table `t`): ", broker.tls_servers());
    assert!(error.code == Code::BROKER && error.message.starts_with(&begins), "{error}");
}

const JSON: &str = "format = 'json', 'sink.key_field' = 'id'";

/// Rows `(id, body)` for a sink.
fn batch(rows: impl IntoIterator<Item = (String, String)>) -> RecordBatch {
    let (ids, bodies): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(ids)), Arc::new(StringArray::from(bodies))];
    let fields = ["id", "body"].map(|name| Field::new(name, DataType::Utf8, true));
    RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns).unwrap()
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn a_sink_keeps_order_and_keys_and_delivers_when_acknowledged() {
    let broker = Broker::shared();
    let topic = topic(broker, 4);
    let context = context("ordered");
    context.ledger.tracker().assign(0);
    let sink = open_sink(&sink_table(&broker.servers(), &topic, JSON), &context).unwrap();
    for n in 0..100_i64 {
        let range = baton::delivery::OffsetRange { partition: 0, first: n, last: n };
        let lineage = context.ledger.begin(vec![range], 1, 1);
        sink.write(batch((0..20).map(|k| (format!("key-{k}"), format!("{n}")))), lineage).unwrap();
    }
    wait(sink.flush()).unwrap();
    assert_eq!(context.ledger.tracker().rows_in_flight(), 0);
    assert_eq!(context.ledger.tracker().committable(), [(0, 100)]);
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in broker.consume(&topic, 2000) {
        by_key.entry(message.key.unwrap()).or_default().push(message.value);
    }
    assert_eq!(by_key.len(), 20);
    for (key, rows) in by_key {
        let wanted: Vec<String> = (0..100).map(|n| format!(r#"{{"id":"{key}","body":"{n}"}}"#)).collect();
        assert_eq!(rows, wanted, "{key}: in order, and the key stays in the message");
    }
}

#[test]
#[ignore = "needs Apache Kafka (tests/broker/install)"]
fn a_row_that_the_topic_does_not_take_fails_the_pipeline_and_is_not_delivered() {
    let broker = Broker::shared();
    let topic = topic(broker, 1);
    let failures = Arc::new(Mutex::new(Vec::new()));
    let mut context = context("too_large");
    let heard = Arc::clone(&failures);
    context.failure = Arc::new(move |error| heard.lock().unwrap().push(error));
    context.ledger.tracker().assign(0);
    let sink = open_sink(&sink_table(&broker.servers(), &topic, JSON), &context).unwrap();
    let lineage = context.ledger.begin(vec![baton::delivery::OffsetRange { partition: 0, first: 0, last: 1 }], 2, 2);
    sink.write(batch([("small".into(), "x".into()), ("large".into(), "x".repeat(3_000_000))]), lineage).unwrap();
    let error = wait(sink.flush()).unwrap_err();
    assert_eq!(
        (error.code, error.message, error.help),
        (
            Code::SINK_FAILED,
            format!(
                "cannot write to topic `{topic}` (table `t`): a row of 3000029 bytes is larger than the topic takes"
            ),
            Some(format!("raise `max.message.bytes` of topic `{topic}`, or make the row smaller"))
        )
    );
    eventually("the batch is closed", || context.ledger.tracker().rows_in_flight() == 0);
    assert_eq!(context.ledger.tracker().committable(), []);
    assert_eq!(failures.lock().unwrap().len(), 1);
    assert!(sink.write(batch([("more".into(), "x".into())]), Lineage::none()).is_err(), "it stays failed");
}
