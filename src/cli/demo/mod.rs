//! `baton demo`: the reference system in one process, on a Kafka broker that lives in memory (librdkafka's mock
//! cluster) and keeps nothing.
//!
//! The pipelines are the ones that a real broker runs; only the broker's address is laid over the environment. What is
//! shown is read back from the topics (`watch`) and followed lead by lead (`story`).

mod leads;
mod story;
mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::output::{Failed, data, note};
use super::prepare;
use crate::config::Environment;
use crate::connectors::StopFlag;
use crate::engine::{self, RunOptions};
use crate::sql::catalogue::{self, Project};
use crate::udf::UdfStates;
use story::{Event, Story};

const PIPELINES: [&str; 7] =
    ["copy_leads", "route_messages", "ingest_leads", "score_leads", "write_outreach", "plan_nurture", "send_emails"];
/// A workflow that shows nothing new for so long is given up: longer than the slowest call of a model.
const PATIENCE: Duration = Duration::from_mins(3);

/// Runs the demo to its end.
///
/// # Errors
/// Wrong SQL or UDFs, leads that cannot be read, and workflows that did not end.
pub async fn run(
    leads: Option<PathBuf>,
    json: bool,
    udf_states: Arc<UdfStates>,
    environment: &Environment,
) -> Result<(), Failed> {
    let names: Vec<String> = PIPELINES.iter().map(ToString::to_string).collect();
    let project = Project::find(&std::env::current_dir()?).ok_or_else(|| {
        Failed::Other("the demo runs in a clone of Baton: no folder `pipelines/` here or above".into())
    })?;
    let path = leads.unwrap_or_else(|| project.root.join("demo").join("leads.jsonl"));
    let leads = leads::read(&path)?;
    let broker = start_broker(&project)?;
    let environment = environment.clone().with("KAFKA_BOOTSTRAP_SERVERS", &broker.bootstrap_servers());
    let compiled = prepare::compile(&names, None, &environment).await?;
    compiled.load_udfs()?;
    note(&format!(
        "{} leads, 7 pipelines, 5 agents; the broker is in this process and nothing is kept.\n",
        leads.len()
    ));
    let stop = StopFlag::default();
    super::signals::stop_on_signal(stop.clone())?;
    let running = tokio::spawn({
        let stop = stop.clone();
        let options = RunOptions { udf_states, ..RunOptions::default() };
        async move { engine::run(compiled.pipelines, &options, &stop, || {}).await }
    });
    let servers = broker.bootstrap_servers();
    // It ends with the process, after all clients: one that outlives its broker complains.
    std::mem::forget(broker);
    let published = leads::publish(&servers, leads).await.map_err(Failed::Other)?;
    let mut story = Story::new(published);
    let mut events = watch::start(&servers, &stop).map_err(Failed::Other)?;
    let mut last_news = Instant::now();
    while !story.is_over() && !running.is_finished() && last_news.elapsed() < PATIENCE && !stop.is_set() {
        let event: Option<Event> = tokio::time::timeout(Duration::from_millis(200), events.recv()).await.ok().flatten();
        if let Some(event) = event {
            last_news = Instant::now();
            for line in story.tell(&event) {
                if !json {
                    data(&format!("{line}\n"))?;
                }
            }
        }
    }
    let interrupted = stop.is_set();
    // Topics are read side by side: an end may be seen before the decision that led there.
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(300), events.recv()).await {
        for line in story.tell(&event) {
            if !json {
                data(&format!("{line}\n"))?;
            }
        }
    }
    stop.set();
    match running.await {
        Ok(Ok(_)) => {}
        Ok(Err(failures)) => return Err(Failed::Run(failures)),
        Err(error) => return Err(Failed::Other(format!("the engine died: {error}"))),
    }
    if json {
        for workflow in story.workflows() {
            data(&format!("{workflow}\n"))?;
        }
    } else {
        data(&story.summary())?;
    }
    if !story.is_over() {
        let why = if interrupted {
            "the demo was interrupted".into()
        } else {
            format!("nothing new for {} s", PATIENCE.as_secs())
        };
        return Err(Failed::Other(format!("{} of the leads did not reach an end: {why}", story.unfinished())));
    }
    Ok(())
}

/// A broker with every topic that a table of the project names.
fn start_broker(project: &Project) -> Result<MockCluster<'static, DefaultProducerContext>, Failed> {
    let failed = |e: rdkafka::error::KafkaError| Failed::Other(format!("the broker in memory cannot start: {e}"));
    let cluster = MockCluster::new(1).map_err(failed)?;
    let mut topics: BTreeSet<String> = BTreeSet::new();
    for name in PIPELINES {
        let (text, _) = catalogue::load(name, &project.root)?;
        topics.extend(text.tables().filter_map(|t| Some(t.option("topic")?.value.clone())));
    }
    for topic in &topics {
        cluster.create_topic(topic, 1, 1).map_err(failed)?;
    }
    Ok(cluster)
}
