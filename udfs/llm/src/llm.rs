//! The models of one library: settings, connections, knowledge about servers and earlier decisions, shared by all its
//! rows.
//!
//! `classify` and `complete` ask the two kinds of questions. A question is first looked up in the decision log, then
//! among the questions in flight. Only then is a model called.

use crate::breaker::Breaker;
use crate::cache::TextCache;
use crate::catalogue::Catalogue;
use crate::contract::Contract;
use crate::deadline::RowClock;
use crate::decisions::{Answer, DecisionLog, Key, digest};
use crate::flights::{Boarding, Flights, Pilot};
use crate::gate::{Gate, MOST_ANSWERED};
use crate::guard::Guard;
use crate::host::Host;
use crate::jury::Jury;
use crate::limit::Limit;
use crate::prompt;
use crate::provider::{Dialects, Spent};
use crate::registry::Registry;
use crate::result::{CallFacts, Failure, Source, Status};
use crate::transport::{Row, Transport};
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::limits::NANO;
use baton_llm_settings::options::{Effort, Function, Options};
use baton_llm_settings::settings::{Provider, Settings};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout};

/// How many different texts of an argument are kept in parsed form.
const MOST_PARSED: usize = 64;

/// The shared state of `llm_classify` and `llm_complete`.
pub struct Llm {
    settings: Result<Settings, String>,
    pub(crate) transport: Transport,
    pub(crate) dialects: Dialects,
    pub(crate) catalogues: TextCache<Result<Catalogue, String>>,
    classify_options: TextCache<Result<Asking, String>>,
    complete_options: TextCache<Result<Asking, String>>,
    servers: Registry<Server>,
    gate: Arc<Gate>,
    log: Option<DecisionLog>,
    flights: Arc<Flights<Result<Answer, Failure>>>,
    host: Option<Arc<Host>>,
}

/// One model on one server, as all rows know it.
struct Server {
    breaker: Arc<Breaker>,
    limit: Arc<Limit>,
    jury: Arc<Jury>,
}

/// The parsed options of a call.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) options: Options,
    /// The contract in the option `schema`.
    pub(crate) contract: Option<Contract>,
    digest: [u8; 32],
}

impl Asking {
    fn parse(text: &str, function: Function) -> Result<Self, String> {
        let mut options = Options::parse(Some(text), function).map_err(|errors| errors.join("; "))?;
        let contract = options.schema.take().map(Contract::new).transpose();
        let contract = contract.map_err(|why| format!("the option `schema` {why}"))?;
        Ok(Self { options, contract, digest: digest(&[text.as_bytes()]) })
    }
}

/// The next step for a row.
pub(crate) enum Known {
    /// Nothing is left to do: this is the outcome of the same question, asked before or at the same time.
    Outcome(Result<Answer, Failure>),
    /// Ask, and pass the outcome to [`Llm::decided`].
    NotYet(Pilot<Result<Answer, Failure>>),
}

impl Llm {
    /// Uses these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::from_settings(Ok(settings), None)
    }

    /// Uses these settings for an engine that waits for its rows and reads their states from `pipe`.
    #[must_use]
    pub fn hosted(settings: Settings, pipe: &Path) -> Self {
        Self::from_settings(Ok(settings), Host::find(|_| Some(pipe.to_string_lossy().into_owned())))
    }

    /// Uses the settings that `lookup` returns. If they are wrong, every row gets the errors.
    #[must_use]
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let settings = Settings::from_lookup(&lookup).map_err(|errors| errors.join("; "));
        Self::from_settings(settings, Host::find(&lookup))
    }

    /// Calls no server: `answer` turns a request's body into a response's. For benchmarks and tests.
    #[must_use]
    pub fn rehearsed(settings: Settings, answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let mut llm = Self::new(settings);
        llm.transport.rehearse(Box::new(answer));
        llm
    }

    fn from_settings(settings: Result<Settings, String>, host: Option<Host>) -> Self {
        let effective = settings.clone().unwrap_or_default();
        Self {
            settings,
            servers: Registry::default(),
            gate: Gate::new(&effective.limits),
            log: DecisionLog::new(&effective.limits),
            flights: Arc::default(),
            host: host.map(Arc::new),
            transport: Transport::new("BATON_LLM_CA_FILE", effective.ca_file, effective.backoff, effective.max_body),
            dialects: Dialects::default(),
            catalogues: TextCache::new(MOST_PARSED),
            classify_options: TextCache::new(MOST_PARSED),
            complete_options: TextCache::new(MOST_PARSED),
        }
    }

    pub(crate) fn options(
        &self,
        text: Option<&str>,
        function: Function,
    ) -> Result<Arc<Result<Asking, String>>, Failure> {
        let cache = match function {
            Function::Classify => &self.classify_options,
            Function::Complete => &self.complete_options,
        };
        let options = cache.get_or_make(text.unwrap_or_default(), |text| Asking::parse(text, function));
        match &*options {
            Ok(_) => Ok(options),
            Err(error) => Err(Failure::config(error.clone())),
        }
    }

    pub(crate) fn settings(&self) -> Result<&Settings, Failure> {
        self.settings.as_ref().map_err(|error| Failure::config(error.clone()))
    }

    /// The limit of tokens that a call sends for its answer; `None` leaves it to the server.
    pub(crate) fn most_answered(&self, settings: &Settings, options: &Options) -> Option<u32> {
        let bounded = options.budget.is_some() || self.gate.needs_token_bound();
        options.max_tokens.or(settings.max_tokens).or(bounded.then_some(MOST_ANSWERED))
    }

    /// The key of a question: the hash of the function, the provider and model, everything constant, and the input.
    pub(crate) fn key(
        &self,
        function: Function,
        endpoint: &Endpoint,
        asking: &Asking,
        constant: &[u8],
        input: &str,
    ) -> Result<Key, Failure> {
        let settings = self.settings()?;
        let number = |number: Option<f64>| number.map_or(u64::MAX, f64::to_bits).to_le_bytes();
        Ok(Key::of(&[
            wording(),
            function.name().as_bytes(),
            endpoint.provider.to_string().as_bytes(),
            endpoint.base.as_str().as_bytes(),
            endpoint.model.as_bytes(),
            &asking.digest,
            &number(settings.temperature),
            settings.effort.map_or("", Effort::as_str).as_bytes(),
            &self.most_answered(settings, &asking.options).unwrap_or(0).to_le_bytes(),
            constant,
            input.as_bytes(),
        ]))
    }

    /// The answer to a question that was asked before or is in flight. Otherwise this row asks it.
    pub(crate) async fn known(&self, key: Key, function: Function, call: &mut Call) -> Known {
        loop {
            match self.flights.board(key) {
                Boarding::Passenger(passenger) => {
                    let started = Instant::now();
                    let landed = timeout(call.clock.queue_left(), passenger.outcome()).await;
                    call.clock.waited(started.elapsed());
                    let outcome = match landed {
                        Ok(None) => continue,
                        Ok(Some(outcome)) => outcome,
                        Err(_) => {
                            let message = "the row that asks the same question has no answer yet";
                            Err(Failure::new(Status::Timeout, message))
                        }
                    };
                    call.for_nothing(Source::Shared, outcome.as_ref().ok());
                    return Known::Outcome(outcome);
                }
                Boarding::Pilot(pilot) => {
                    let Some(log) = &self.log else { return Known::NotYet(pilot) };
                    return match log.find(key, SystemTime::now()) {
                        Ok(None) => Known::NotYet(pilot),
                        Ok(Some(answer)) => {
                            call.for_nothing(Source::Log, Some(&answer));
                            pilot.land(Ok(answer.clone()));
                            Known::Outcome(Ok(answer))
                        }
                        Err(why) => {
                            // The row is not the cause: an engine that waits stops, and the row is redelivered.
                            if let Some(host) = &self.host {
                                host.rejected(function.name(), &why);
                                std::future::pending::<()>().await;
                            }
                            Known::Outcome(Err(Failure::config(why)))
                        }
                    };
                }
            }
        }
    }

    /// Stores a good answer, and passes the outcome to all rows with the same question.
    pub(crate) async fn decided(
        &self,
        pilot: Pilot<Result<Answer, Failure>>,
        function: Function,
        outcome: Result<Answer, Failure>,
    ) -> Result<Answer, Failure> {
        if let (Some(log), Ok(answer)) = (&self.log, &outcome)
            && let Err(why) = log.keep(pilot.key(), function.name(), answer, SystemTime::now()).await
            && let Some(host) = &self.host
        {
            // The answer is paid for. Returning it is better than losing it, even if it may be paid for again.
            host.warning(function.name(), &why);
        }
        pilot.land(outcome.clone());
        outcome
    }

    /// A row that is about to call `endpoint`.
    pub(crate) fn row(
        &self,
        function: Function,
        endpoint: &Endpoint,
        options: &Options,
        call: &Call,
    ) -> Result<Row, Failure> {
        let settings = self.settings()?;
        let call_timeout = options.timeout.or(settings.timeout_is_set.then_some(settings.timeout));
        let server = self.servers.of([endpoint.base.as_str(), &endpoint.model], || Server {
            breaker: Arc::new(Breaker::new(settings.limits.breaker, settings.backoff)),
            limit: Arc::new(Limit::new(settings.concurrency, settings.timeout_is_set.then_some(settings.timeout))),
            jury: Arc::default(),
        });
        let guard = Guard {
            function: function.name(),
            breaker: Arc::clone(&server.breaker),
            limit: Arc::clone(&server.limit),
            jury: Some(Arc::clone(&server.jury)),
            gate: Some(self.gate.of(options.budget.as_ref())),
            host: self.host.clone(),
            price: settings.limits.prices.of(&endpoint.model),
            most_answered: self.most_answered(settings, options).unwrap_or(0).into(),
        };
        Ok(Row::new(call.clock.clone(), guard, settings.retries, call_timeout))
    }

    /// The endpoint of a call; `None` for the offline provider. Starts the row's clock.
    pub(crate) fn endpoint(&self, options: &Options, call: &mut Call) -> Result<Option<Endpoint>, Failure> {
        let settings = self.settings()?;
        let provider = options.provider.unwrap_or(settings.provider);
        if provider == Provider::Offline {
            call.for_nothing(Source::Offline, None);
            return Ok(None);
        }
        let deadline = options.deadline.unwrap_or(settings.deadline);
        call.clock = match self.host {
            Some(_) if options.deadline.is_none() && !settings.deadline_is_set => {
                RowClock::patient(deadline).extendable()
            }
            Some(_) => RowClock::patient(deadline),
            None => RowClock::start(deadline),
        };
        call.facts.source = Some(Source::Model);
        call.facts.model = options.model.clone().or_else(|| settings.model.clone());
        let endpoint = settings.endpoint(provider, options.model.as_deref()).map_err(Failure::config)?;
        call.facts.model = Some(endpoint.model.clone());
        Ok(Some(endpoint))
    }
}

/// The fixed texts that this version sends to models. Other texts make another question.
fn wording() -> &'static [u8] {
    static WORDING: OnceLock<[u8; 32]> = OnceLock::new();
    WORDING.get_or_init(|| {
        let classify = prompt::classify_system(prompt::CLASSIFY, "");
        let complete = prompt::complete_system("");
        digest(&[classify.as_bytes(), complete.as_bytes(), prompt::enclosed("m", "", 1).as_bytes()])
    })
}

/// The usage of one row so far.
#[derive(Debug)]
pub(crate) struct Call {
    started: Instant,
    clock: RowClock,
    pub(crate) facts: CallFacts,
}

impl Call {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), clock: RowClock::start(Duration::ZERO), facts: CallFacts::default() }
    }

    /// The answer costs nothing, because no model was called for it.
    fn for_nothing(&mut self, source: Source, answer: Option<&Answer>) {
        self.facts.source = Some(source);
        self.facts.cost = Some(0.0);
        self.facts.prompt_tokens = Some(0);
        self.facts.completion_tokens = Some(0);
        if let Some(model) = answer.and_then(|answer| answer.model.clone()) {
            self.facts.model = Some(model);
        }
    }

    /// Adds the usage of an answer. If a server omits a number, the sum is no longer increased: it is a lower bound.
    pub(crate) fn spent(&mut self, spent: &Spent, row: &Row) {
        if spent.model.is_some() {
            self.facts.model.clone_from(&spent.model);
        }
        for (sum, tokens) in [
            (&mut self.facts.prompt_tokens, spent.prompt_tokens),
            (&mut self.facts.completion_tokens, spent.completion_tokens),
        ] {
            if let Some(tokens) = tokens {
                *sum = Some(sum.unwrap_or(0).saturating_add(tokens));
            }
        }
        if let Some((tokens, price)) = spent.tokens().zip(row.guard.price) {
            self.facts.cost = Some(self.facts.cost.unwrap_or(0.0) + tokens.cost(price) as f64 / NANO);
        }
    }

    pub(crate) fn finish(mut self) -> CallFacts {
        self.facts.latency_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.facts
    }
}
