//! Runs pipelines: opens what they read and write, starts their threads and tasks, and stops all of them cleanly when
//! one fails or a stop is requested.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::calls::{self, CallTask};
use super::flow::{Failure, Flow, FlowKind, FlowNode, SinkColumns, SourceOutput};
use super::graph::{NodeId, NodeKind};
use super::pipeline::Pipeline;
use crate::connectors::{ConnectorError, OpenContext, Sink, Source, StopFlag};
use crate::delivery::Ledger;
use crate::diag::{Code, Diagnostic};
use crate::udf::{AsyncUdf, LoadedSlot, LoadedUdf, UdfStates};

/// How pipelines run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Create Kafka topics that are missing.
    pub create_topics: bool,
    /// How long to drain at a stop.
    pub drain_timeout: Duration,
    /// The states that UDFs report. One that cannot answer any row stops the pipelines that call it.
    pub udf_states: Arc<UdfStates>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self { create_topics: false, drain_timeout: Duration::from_secs(30), udf_states: Arc::default() }
    }
}

/// A pipeline that failed, and why.
#[derive(Debug)]
pub struct PipelineFailure {
    /// Its name.
    pub pipeline: String,
    /// The reasons: several when several tables could not be opened.
    pub reasons: Vec<Diagnostic>,
}

/// Runs pipelines until all have ended, `stop` is set, or one fails, which stops the others cleanly. `started` is
/// called when all of them have everything open. Returns whether everything that was read is delivered; it is not when
/// the drain timed out.
///
/// # Errors
/// The pipelines that failed.
pub async fn run(
    pipelines: Vec<Pipeline>,
    options: &RunOptions,
    stop: &StopFlag,
    started: impl FnOnce(),
) -> Result<bool, Vec<PipelineFailure>> {
    let opened = join_all(pipelines.into_iter().map(|p| open(p, options, stop))).await;
    let mut running = Vec::new();
    let mut failures = Vec::new();
    for result in opened {
        match result {
            Ok(pipeline) => running.push(pipeline),
            Err(failure) => failures.push(failure),
        }
    }
    if !failures.is_empty() {
        // An unreachable broker is reported once, however many pipelines use it.
        let mut told = false;
        failures.retain_mut(|failure| {
            tell_broker_once(&mut failure.reasons, &mut told);
            !failure.reasons.is_empty()
        });
        return Err(failures);
    }
    started();
    let mut tasks = JoinSet::new();
    for pipeline in running {
        let name = pipeline.name.clone();
        let stop = stop.clone();
        tasks.spawn(async move {
            pipeline.run(&stop).await.map_err(|reason| PipelineFailure { pipeline: name, reasons: vec![reason] })
        });
    }
    let mut all_delivered = true;
    while let Some(ended) = tasks.join_next().await {
        let failure = match ended {
            Ok(Ok(delivered)) => {
                all_delivered &= delivered;
                continue;
            }
            Ok(Err(failure)) => failure,
            Err(error) => PipelineFailure {
                pipeline: "baton".into(),
                reasons: vec![Diagnostic::new(Code::SOURCE_FAILED, format!("a task of the engine died: {error}"))],
            },
        };
        stop.set();
        failures.push(failure);
    }
    tell_rejection_once(&mut failures);
    if failures.is_empty() { Ok(all_delivered) } else { Err(failures) }
}

/// A pipeline with everything open.
struct Opened {
    name: String,
    flow: Arc<Flow>,
    sources: Vec<(NodeId, Box<dyn Source>)>,
    sinks: Vec<Arc<dyn Sink>>,
    calls: Vec<CallTask>,
    ledgers: Vec<Arc<Ledger>>,
    drain_timeout: Duration,
    stop: StopFlag,
    udfs: HashSet<String>,
    udf_states: Arc<UdfStates>,
}

async fn open(pipeline: Pipeline, options: &RunOptions, stop: &StopFlag) -> Result<Opened, PipelineFailure> {
    let failure = Arc::new(Failure::default());
    let context = OpenContext {
        pipeline: pipeline.name.clone(),
        stop: stop.clone(),
        ledger: Ledger::new(),
        limits: pipeline.limits(),
        create_topics: options.create_topics,
        drain_timeout: options.drain_timeout,
        failure: {
            let failure = Arc::clone(&failure);
            Arc::new(move |error: ConnectorError| failure.set(error.into()))
        },
    };
    let mut reasons = Vec::new();
    let mut sinks: HashMap<String, Arc<dyn Sink>> = HashMap::new();
    let mut ledgers = Vec::new();
    // In parallel, because each may wait for a broker that does not answer. Sources first, because opening a sink may
    // empty a source's file.
    let opening = pipeline.sources.iter().map(|(node, spec)| {
        let own = OpenContext { ledger: Ledger::new(), ..context.clone() };
        ledgers.push(Arc::clone(&own.ledger));
        async move { (*node, spec.open(&own).await) }
    });
    let mut sources = Vec::new();
    for (node, opened) in join_all(opening).await {
        match opened {
            Ok(source) => sources.push((node, source)),
            Err(error) => reasons.push(Diagnostic::from(error).at(pipeline.graph.nodes[node].span.clone())),
        }
    }
    if reasons.is_empty() {
        let opening = pipeline.sinks.iter().map(|(table, spec)| {
            let context = context.clone();
            async move { (table, spec.open(&context).await) }
        });
        for (table, opened) in join_all(opening).await {
            match opened {
                Ok(sink) => drop(sinks.insert(table.clone(), sink)),
                Err(error) => {
                    let node =
                        pipeline.graph.nodes.iter().find(|n| matches!(n.kind, NodeKind::Sink) && &n.label == table);
                    reasons.push(Diagnostic::from(error).at(node.map(|n| n.span.clone())));
                }
            }
        }
    }
    tell_broker_once(&mut reasons, &mut false);
    if !reasons.is_empty() {
        return Err(PipelineFailure { pipeline: pipeline.name, reasons });
    }
    let mut calls = Vec::new();
    let mut nodes = Vec::new();
    for (id, node) in pipeline.graph.nodes.into_iter().enumerate() {
        let kind = match node.kind {
            NodeKind::Source => FlowKind::Source,
            NodeKind::DeadLetters(letters) => FlowKind::DeadLetters(letters),
            NodeKind::Stage(steps) => FlowKind::Stage(steps),
            NodeKind::Call(call) => {
                let Some((udf, driver)) = start_udf(&pipeline.udfs, &call.udf) else {
                    let reason = Diagnostic::new(Code::UDF_LOAD, format!("`{}` is not loaded", call.udf)).at(node.span);
                    return Err(PipelineFailure { pipeline: pipeline.name, reasons: vec![reason] });
                };
                let (queue, rows) = mpsc::unbounded_channel();
                calls.push(CallTask { node: id, args: call.args, schema: call.schema, queue: rows, udf, driver });
                FlowKind::Call(queue)
            }
            NodeKind::Sink => {
                if let (Some(sink), Some(spec)) = (sinks.get(&node.label), pipeline.sinks.get(&node.label)) {
                    FlowKind::Sink(Arc::clone(sink), SinkColumns::new(spec.schema()))
                } else {
                    let reason =
                        Diagnostic::new(Code::SINK_FAILED, format!("table `{}` is not open", node.label)).at(node.span);
                    return Err(PipelineFailure { pipeline: pipeline.name, reasons: vec![reason] });
                }
            }
        };
        nodes.push(FlowNode { kind, outputs: node.outputs, rejects: node.rejects, label: node.label, span: node.span });
    }
    let flow = Arc::new(Flow { nodes, failure });
    Ok(Opened {
        name: pipeline.name,
        flow,
        sources,
        sinks: sinks.into_values().collect(),
        calls,
        ledgers,
        drain_timeout: options.drain_timeout,
        stop: stop.clone(),
        udfs: pipeline.udfs.iter().map(|(source, _)| source.name.clone()).collect(),
        udf_states: Arc::clone(&options.udf_states),
    })
}

/// When several tables cannot reach their broker, only one reports it.
fn tell_broker_once(reasons: &mut Vec<Diagnostic>, told: &mut bool) {
    reasons.retain(|reason| reason.code != Code::BROKER || !std::mem::replace(told, true));
}

/// When several pipelines call a UDF that cannot answer any row, only one reports it.
fn tell_rejection_once(failures: &mut Vec<PipelineFailure>) {
    let mut told: Vec<Diagnostic> = Vec::new();
    failures.retain_mut(|failure| {
        failure.reasons.retain(|reason| reason.code != Code::UDF_REJECTED || !told.contains(reason));
        told.extend(failure.reasons.iter().filter(|r| r.code == Code::UDF_REJECTED).cloned());
        !failure.reasons.is_empty()
    });
}

fn start_udf(
    udfs: &[(crate::udf::UdfSource, Arc<LoadedSlot>)],
    name: &str,
) -> Option<(AsyncUdf, BoxFuture<'static, ()>)> {
    let (source, slot) = udfs.iter().find(|(u, _)| u.name == name)?;
    match slot.get()? {
        LoadedUdf::Async(library) => {
            let (udf, driver) = library.driven(source.async_options()?);
            Some((udf, Box::pin(driver)))
        }
        LoadedUdf::Sync(_) => None,
    }
}

impl Opened {
    /// Returns whether everything that was read is delivered.
    async fn run(self, stop: &StopFlag) -> Result<bool, Diagnostic> {
        let mut threads = Vec::new();
        let mut thread_ends = FuturesUnordered::new();
        for task in self.calls {
            let label = self.flow.nodes[task.node].label.clone();
            match calls::start(&label, task, Arc::clone(&self.flow)) {
                Ok((thread, ended)) => {
                    threads.push(thread);
                    thread_ends.push(ended);
                }
                Err(error) => self.flow.failure.set(Diagnostic::new(
                    Code::SOURCE_FAILED,
                    format!("no thread can be started to call the UDF of `{label}`: {error}"),
                )),
            }
        }
        let mut ends = Vec::new();
        for (node, source) in self.sources {
            ends.push(start_source(&self.name, node, source, Arc::clone(&self.flow)));
        }
        let mut all_ended = std::pin::pin!(join_all(ends));
        let mut failed = false;
        let mut rejected = false;
        loop {
            tokio::select! {
                _ended = &mut all_ended => break,
                found = self.udf_states.rejected(|udf| self.udfs.contains(udf)), if !rejected => {
                    rejected = true;
                    self.flow.failure.set(found.into());
                    // Calls in flight are not awaited. Without these threads their rows are lost, which the sources
                    // notice.
                    threads.clear();
                }
                Some(_ended) = thread_ends.next(), if !failed && !thread_ends.is_empty() => {
                    // It exits by itself only after a failure or a panic.
                    let message = format!("a thread that calls a UDF of `{}` died", self.name);
                    self.flow.failure.set(Diagnostic::new(Code::SOURCE_FAILED, message));
                }
                _reason = self.flow.failure.wait(), if !failed => {
                    failed = true;
                    // The sources notice that nobody takes their rows, or the stop. Each returns by itself.
                    self.stop.set();
                }
            }
        }
        if self.flow.failure.get().is_some() {
            stop.set();
        }
        // All rows of the sources are delivered, or abandoned because the drain timed out.
        drop(threads);
        while thread_ends.next().await.is_some() {}
        for sink in &self.sinks {
            match tokio::time::timeout(self.drain_timeout, sink.flush()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.flow.failure.set(error.into()),
                Err(_) => tracing::warn!(pipeline = self.name, "a sink did not deliver everything in time"),
            }
        }
        match self.flow.failure.get() {
            Some(reason) => Err(reason),
            None => Ok(self.ledgers.iter().all(|ledger| ledger.tracker().all_delivered())),
        }
    }
}

/// Runs a source on a thread of its own. An error that stops it early fails the pipeline at once.
async fn start_source(pipeline: &str, node: NodeId, source: Box<dyn Source>, flow: Arc<Flow>) {
    let (done, ended) = oneshot::channel();
    let label = flow.nodes[node].label.clone();
    let span = flow.nodes[node].span.clone();
    let failure = Arc::clone(&flow.failure);
    let handle = tokio::runtime::Handle::current();
    let started = std::thread::Builder::new().name(format!("source {pipeline}.{label}")).spawn({
        let mut output = SourceOutput { flow, node };
        move || {
            let _tokio = handle.enter();
            // When the engine has stopped, nobody waits for this.
            let _gone = done.send(source.run(&mut output));
        }
    });
    let reason = match started {
        Err(error) => {
            Diagnostic::new(Code::SOURCE_FAILED, format!("no thread can be started to read `{label}`: {error}"))
        }
        Ok(_thread) => match ended.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => Diagnostic::from(error),
            Err(_) => Diagnostic::new(Code::SOURCE_FAILED, format!("the thread that reads `{label}` died")),
        },
    };
    failure.set(reason.at(span));
}
