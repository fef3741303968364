//! `baton demo`: runs a project in one process, on an in-memory Kafka broker (librdkafka's mock cluster) that keeps
//! nothing.
//!
//! It runs the same pipelines as `baton run`; only the broker's address differs. `watch` reads the results back from
//! the topics, and `story` follows each workflow. A workflow whose next agent is a program elsewhere ends with the
//! outcome `waiting`.

mod input;
mod story;
mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use tokio::sync::mpsc::UnboundedReceiver;

use super::output::{Failed, count, data, note};
use super::{plan, prepare};
use crate::config::Environment;
use crate::connectors::StopFlag;
use crate::engine::{self, RunOptions};
use crate::sql::catalogue::{self, Project};
use crate::udf::UdfStates;
use story::{Event, Story};

/// Give up on a workflow that shows nothing new for this long. It is longer than a model's slowest call.
const PATIENCE: Duration = Duration::from_mins(3);

/// Runs the demo to its end.
///
/// # Errors
/// Wrong SQL or UDFs, input that cannot be read, and workflows that did not end.
pub async fn run(
    leads: Option<PathBuf>,
    json: bool,
    udf_states: Arc<UdfStates>,
    environment: &Environment,
) -> Result<(), Failed> {
    let project = Project::find(&std::env::current_dir()?).ok_or_else(|| {
        Failed::Other("the demo runs in a project: no folder `pipelines/` here or above; `baton new` makes one".into())
    })?;
    let inputs = input::read(&leads.map_or_else(|| input::files(&project), |path| vec![path]))?;
    let Topics { topics, agents } = topics(&project)?;
    input::check(&inputs, &topics)?;
    let broker = start_broker(&topics)?;
    let environment = environment.clone().with("KAFKA_BOOTSTRAP_SERVERS", &broker.bootstrap_servers());
    let compiled = prepare::compile(&[], None, &environment).await?;
    compiled.load_udfs()?;
    let elsewhere = plan::system(&compiled).agents.into_iter().filter(|agent| agent.pipeline.is_none());
    let elsewhere = elsewhere.map(|agent| agent.topic).collect();
    note(&format!(
        "{}, {}, {}; the broker is in this process and nothing is kept.\n",
        count(inputs.len(), "message"),
        count(compiled.pipelines.len(), "pipeline"),
        count(agents, "agent")
    ));
    let stop = StopFlag::default();
    super::signals::stop_on_signal(stop.clone())?;
    let running = tokio::spawn({
        let stop = stop.clone();
        let options = RunOptions { udf_states, ..RunOptions::default() };
        async move { engine::run(compiled.pipelines, &options, &stop, || {}).await }
    });
    let servers = broker.bootstrap_servers();
    // The broker lives as long as the process, because a client that outlives its broker logs errors.
    std::mem::forget(broker);
    let published = input::publish(&servers, inputs).await.map_err(Failed::Other)?;
    let mut story = Story::new(published, elsewhere);
    let mut events = watch::start(&servers, &topics, &stop).map_err(Failed::Other)?;
    let mut last_news = Instant::now();
    while !story.is_over() && !running.is_finished() && last_news.elapsed() < PATIENCE && !stop.is_set() {
        let news = next(&mut events, Duration::from_millis(200)).await;
        if !news.is_empty() {
            last_news = Instant::now();
            tell(&mut story, &news, json)?;
        }
    }
    let interrupted = stop.is_set();
    // Rows that led to the last outcome may still arrive.
    loop {
        let news = next(&mut events, Duration::from_millis(300)).await;
        if news.is_empty() {
            break;
        }
        tell(&mut story, &news, json)?;
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
        let unfinished = count(story.unfinished(), "workflow");
        return Err(Failed::Other(format!("{unfinished} did not reach an end: {why}")));
    }
    Ok(())
}

/// How long to wait for rows that were published together.
const TOGETHER: Duration = Duration::from_millis(50);

/// The next rows, in the order of their publication, because topics are read in parallel. Empty when none comes in
/// time.
async fn next(events: &mut UnboundedReceiver<Event>, patience: Duration) -> Vec<Event> {
    let mut news = Vec::new();
    let mut patience = patience;
    while let Ok(Some(event)) = tokio::time::timeout(patience, events.recv()).await {
        news.push(event);
        patience = TOGETHER;
    }
    news.sort_by_key(|event| (event.timestamp, event.topic != "agent_predictions"));
    news
}

fn tell(story: &mut Story, news: &[Event], json: bool) -> Result<(), Failed> {
    for line in news.iter().flat_map(|event| story.tell(event)).collect::<Vec<_>>() {
        if !json {
            data(&format!("{line}\n"))?;
        }
    }
    Ok(())
}

/// What a project's pipelines read and write.
struct Topics {
    topics: BTreeSet<String>,
    /// How many agents there are.
    agents: usize,
}

fn topics(project: &Project) -> Result<Topics, Failed> {
    let mut found = Topics { topics: BTreeSet::new(), agents: 0 };
    for name in project.pipelines() {
        let (text, _) = catalogue::load(&name, &project.root)?;
        found.topics.extend(text.tables().filter_map(|t| Some(t.option("topic")?.value.clone())));
        found.topics.extend(text.agents.iter().map(|agent| agent.topic.clone()));
        found.agents = text.agents.len();
    }
    Ok(found)
}

fn start_broker(topics: &BTreeSet<String>) -> Result<MockCluster<'static, DefaultProducerContext>, Failed> {
    let failed = |e: rdkafka::error::KafkaError| Failed::Other(format!("the in-memory broker cannot start: {e}"));
    let cluster = MockCluster::new(1).map_err(failed)?;
    for topic in topics {
        cluster.create_topic(topic, 1, 1).map_err(failed)?;
    }
    Ok(cluster)
}
