//! A real Apache Kafka for tests: one process in KRaft mode on free ports of 127.0.0.1, without Docker.
//!
//! Needs Java 17 and the jars that `tests/broker/install` brings; without them a test that asks for a broker fails. A
//! broker ends with its [`Broker`], and with the test process whatever ends that: a shell in between kills it when the
//! pipe to the tests is closed, and removes its files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

/// The user that may log in with SASL.
pub const USER: &str = "alice";
/// That user's password.
pub const PASSWORD: &str = "alice-secret";

const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Kills the broker when the tests close the pipe: gently put away (`keep`) its files stay, else they go too.
/// Ctrl-C reaches the shell too, which must outlive the tests to end the broker.
const GUARDIAN: &str = r#"trap '' INT
dir=$1; shift
java "$@" >>"$dir/log" 2>&1 </dev/null &
pid=$!
echo $pid
read -r how
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
[ "$how" = keep ] || rm -rf "$dir""#;

/// A running broker.
pub struct Broker {
    dir: PathBuf,
    ports: Ports,
    guardian: Option<Child>,
    pid: u32,
}

#[derive(Clone, Copy)]
struct Ports {
    plain: u16,
    sasl: u16,
    tls: u16,
    controller: u16,
}

/// A message as a test looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    pub value: String,
    pub timestamp: Option<i64>,
}

impl Broker {
    /// The broker that the tests of this binary share. Do not kill it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A broker of one's own, ready for requests.
    pub fn start() -> Self {
        let libs = libs();
        let dir = std::env::temp_dir().join(format!("baton-kafka-{}-{}", std::process::id(), free_port()));
        fs::create_dir_all(&dir).expect("a folder for the broker");
        make_certificates(&dir);
        let ports = Ports { plain: free_port(), sasl: free_port(), tls: free_port(), controller: free_port() };
        let properties = dir.join("server.properties");
        fs::write(&properties, server_properties(&dir, ports)).expect("server.properties");
        let format = Command::new("java")
            .args(["-cp", &libs, "kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"])
            .arg(&properties)
            .args(["--add-scram", &format!("SCRAM-SHA-256=[name={USER},password={PASSWORD}]")])
            .output()
            .expect("java");
        assert!(
            format.status.success(),
            "the broker's storage cannot be made: {}",
            String::from_utf8_lossy(&format.stderr)
        );
        let mut broker = Self { dir, ports, guardian: None, pid: 0 };
        broker.restart();
        broker
    }

    /// `host:port` without login or encryption.
    pub fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.ports.plain)
    }

    /// `host:port` that wants SASL (PLAIN or SCRAM-SHA-256) as [`USER`], without encryption.
    pub fn sasl_servers(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl)
    }

    /// `host:port` with TLS; its certificate is signed by [`Broker::ca_file`].
    pub fn tls_servers(&self) -> String {
        format!("127.0.0.1:{}", self.ports.tls)
    }

    /// The certificate of the authority that signed the broker's.
    pub fn ca_file(&self) -> String {
        self.dir.join("ca.pem").display().to_string()
    }

    /// SIGKILL. What the broker has written stays, for [`Broker::restart`].
    pub fn kill(&mut self) {
        let Some(mut guardian) = self.guardian.take() else { return };
        signal(self.pid, "KILL");
        if let Some(mut pipe) = guardian.stdin.take() {
            let _ = std::io::Write::write_all(&mut pipe, b"keep\n");
        }
        guardian.wait().expect("the broker's guardian");
    }

    /// Starts on the same files and ports, and waits until it answers.
    pub fn restart(&mut self) {
        self.kill();
        let mut guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "guardian"])
            .arg(&self.dir)
            .args(["-Xmx512m", "-cp", &libs(), "kafka.Kafka"])
            .arg(self.dir.join("server.properties"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mut line = String::new();
        BufReader::new(guardian.stdout.take().expect("a pipe")).read_line(&mut line).expect("the broker's pid");
        self.pid = line.trim().parse().expect("the broker's pid");
        self.guardian = Some(guardian);
        self.wait_until_ready();
    }

    /// The broker stands still (its connections stay open) until [`Broker::thaw`].
    pub fn freeze(&self) {
        signal(self.pid, "STOP");
    }

    /// The end of [`Broker::freeze`].
    pub fn thaw(&self) {
        signal(self.pid, "CONT");
    }

    fn wait_until_ready(&self) {
        let client: BaseConsumer = self.config().create().expect("a client");
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if client.fetch_metadata(None, Duration::from_millis(500)).is_ok_and(|m| !m.brokers().is_empty()) {
                return;
            }
            assert!(Path::new(&format!("/proc/{}", self.pid)).exists(), "the broker has ended:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the broker did not answer within {START_TIMEOUT:?}:\n{}", self.log());
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.servers()).set("reconnect.backoff.max.ms", "500");
        config.set_log_level(rdkafka::config::RDKafkaLogLevel::Emerg);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().expect("an admin client")
    }

    /// Creates a topic and waits until it can be written.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[]);
    }

    /// The same with settings of the topic, such as `max.message.bytes`.
    pub fn create_topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let results = futures::executor::block_on(self.admin().create_topics([&topic], &AdminOptions::new()));
        for result in results.expect("an answer to the creation of a topic") {
            result.unwrap_or_else(|(name, code)| panic!("topic {name} cannot be created: {code}"));
        }
        eventually(&format!("topic {name} has its partitions"), || {
            self.partitions(name) == usize::try_from(partitions).expect("a count")
        });
    }

    /// Deletes a topic and waits until it is gone.
    pub fn delete_topic(&self, name: &str) {
        let results = futures::executor::block_on(self.admin().delete_topics(&[name], &AdminOptions::new()));
        for result in results.expect("an answer to the deletion of a topic") {
            result.unwrap_or_else(|(name, code)| panic!("topic {name} cannot be deleted: {code}"));
        }
        eventually(&format!("topic {name} is gone"), || self.partitions(name) == 0);
    }

    /// How many partitions a topic has whose leader is known; 0 when it does not exist.
    pub fn partitions(&self, topic: &str) -> usize {
        let client: BaseConsumer = self.config().create().expect("a client");
        let Ok(metadata) = client.fetch_metadata(Some(topic), Duration::from_secs(5)) else { return 0 };
        metadata
            .topics()
            .iter()
            .flat_map(rdkafka::metadata::MetadataTopic::partitions)
            .filter(|p| p.leader() >= 0)
            .count()
    }

    /// Publishes values without keys and waits until all are acknowledged.
    pub fn produce(&self, topic: &str, values: impl IntoIterator<Item = impl AsRef<[u8]>>) {
        self.produce_to(topic, None, values.into_iter().map(|value| (None::<String>, value)));
    }

    /// Publishes keys and values, to one partition or wherever the key leads.
    pub fn produce_to(
        &self,
        topic: &str,
        partition: Option<i32>,
        rows: impl IntoIterator<Item = (Option<impl AsRef<str>>, impl AsRef<[u8]>)>,
    ) {
        let producer: BaseProducer =
            self.config().set("linger.ms", "5").set("message.max.bytes", "67108864").create().expect("a producer");
        for (key, value) in rows {
            let mut record = BaseRecord::to(topic).payload(value.as_ref());
            record.key = key.as_ref().map(AsRef::as_ref);
            record.partition = partition;
            while let Err((error, back)) = producer.send(record) {
                let full = error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull);
                assert!(full, "cannot produce to {topic}: {error}");
                record = back;
                producer.poll(Duration::from_millis(10));
            }
        }
        producer.flush(Duration::from_mins(1)).expect("acknowledgements");
    }

    /// Publishes tombstones.
    pub fn produce_tombstones(&self, topic: &str, count: usize) {
        let producer: BaseProducer = self.config().create().expect("a producer");
        for _ in 0..count {
            producer
                .send(BaseRecord::<str, [u8]>::to(topic).key("k"))
                .map_err(|(error, _)| error)
                .expect("a tombstone");
        }
        producer.flush(Duration::from_mins(1)).expect("acknowledgements");
    }

    /// Everything in a topic, by partition and offset, once there are `count` messages; fails after a minute.
    pub fn consume(&self, topic: &str, count: usize) -> Vec<Received> {
        let mut all = self.consume_until(topic, Duration::from_mins(1), |received| received.len() >= count);
        all.sort_by_key(|m| (m.partition, m.offset));
        all
    }

    /// Reads a topic from its beginning, without a group, until `done`; fails when the time is over.
    pub fn consume_until(&self, topic: &str, timeout: Duration, done: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let consumer: BaseConsumer = self
            .config()
            .set("group.id", "baton-test-reader")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "50")
            .create()
            .expect("a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions(topic) {
            let partition = i32::try_from(partition).expect("a partition");
            list.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&list).expect("an assignment");
        let deadline = Instant::now() + timeout;
        let mut received = Vec::new();
        while !done(&received) {
            assert!(Instant::now() < deadline, "{topic} has only {} messages after {timeout:?}", received.len());
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                received.push(Received::from(message.detach()));
            }
        }
        received
    }

    /// The offsets that a group has committed of a topic, by partition; partitions without one are left out.
    pub fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        for partition in 0..self.partitions(topic) {
            list.add_partition(topic, i32::try_from(partition).expect("a partition"));
        }
        let committed = consumer.committed_offsets(list, Duration::from_secs(20)).expect("committed offsets");
        let known = committed.elements().into_iter().filter_map(|e| match e.offset() {
            Offset::Offset(offset) => Some((e.partition(), offset)),
            _ => None,
        });
        known.collect()
    }

    /// Commits for a group that nobody is in.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        consumer.commit(&list, CommitMode::Sync).expect("a commit");
    }

    /// One past the last offset of each partition.
    pub fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        let client: BaseConsumer = self.config().create().expect("a client");
        let partitions = 0..i32::try_from(self.partitions(topic)).expect("a count");
        let end = |p| client.fetch_watermarks(topic, p, Duration::from_secs(10)).expect("watermarks").1;
        partitions.map(|p| (p, end(p))).collect()
    }

    /// How many members a consumer group has.
    pub fn members(&self, group: &str) -> usize {
        let client: BaseConsumer = self.config().create().expect("a client");
        let groups = client.fetch_group_list(Some(group), Duration::from_secs(10)).expect("groups");
        groups.groups().iter().filter(|g| g.name() == group).map(|g| g.members().len()).sum()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        match self.guardian.take() {
            Some(mut guardian) => {
                drop(guardian.stdin.take());
                let _ = guardian.wait();
            }
            None => drop(fs::remove_dir_all(&self.dir)),
        }
    }
}

impl From<OwnedMessage> for Received {
    fn from(message: OwnedMessage) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(text),
            value: message.payload().map(text).unwrap_or_default(),
            timestamp: message.timestamp().to_millis(),
        }
    }
}

/// Polls until it holds; fails after a minute.
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A port of 127.0.0.1 that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn libs() -> String {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
    let libs = target.join("kafka/libs");
    assert!(
        target.join("kafka/pom.xml").exists(),
        "there is no Apache Kafka in {}: run tests/broker/install",
        libs.display()
    );
    format!("{}/*", libs.display())
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().expect("kill");
    assert!(status.success(), "signal {name} to the broker");
}

fn server_properties(dir: &Path, ports: Ports) -> String {
    let Ports { plain, sasl, tls, controller } = ports;
    let dir = dir.display();
    let login = "org.apache.kafka.common.security";
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.sasl.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";
listener.name.sasl.scram-sha-256.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.tls.ssl.keystore.type=PEM
listener.name.tls.ssl.keystore.location={dir}/server.pem
log.dirs={dir}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
"
    )
}

/// An authority, and the broker's certificate for 127.0.0.1.
fn make_certificates(dir: &Path) {
    let script = "set -e
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj '/CN=baton test authority'
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj '/CN=127.0.0.1'
printf 'subjectAltName=IP:127.0.0.1' > san
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile san -out server.crt
cat server.key server.crt ca.pem > server.pem";
    let made = Command::new("sh").args(["-c", script]).current_dir(dir).output().expect("sh");
    assert!(made.status.success(), "certificates for the broker: {}", String::from_utf8_lossy(&made.stderr));
}
