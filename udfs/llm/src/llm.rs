//! One library's models: settings, connections, and what was found out about servers, shared by all its rows.
//!
//! The two questions that can be asked are in `classify` and `complete`.

use crate::agents::Catalogue;
use crate::cache::TextCache;
use crate::contract::Contract;
use crate::deadline::RowClock;
use crate::provider::{Dialects, Spent};
use crate::result::{CallFacts, Failure, Source};
use crate::transport::{Row, Transport};
use baton_llm_settings::endpoint::Endpoint;
use baton_llm_settings::options::{Function, Options};
use baton_llm_settings::settings::{Provider, Settings};
use std::sync::Arc;
use tokio::time::Instant;

/// How many different texts of an argument are kept parsed.
const MOST_PARSED: usize = 64;

/// What `llm_classify` and `llm_complete` ask with.
pub struct Llm {
    pub(crate) settings: Result<Settings, String>,
    pub(crate) transport: Transport,
    pub(crate) dialects: Dialects,
    pub(crate) catalogues: TextCache<Result<Catalogue, String>>,
    classify_options: TextCache<Result<Asking, String>>,
    complete_options: TextCache<Result<Asking, String>>,
}

/// The options of a call, ready to be used.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) options: Options,
    /// What the option `schema` holds the answer to.
    pub(crate) contract: Option<Contract>,
}

impl Asking {
    fn parse(text: &str, function: Function) -> Result<Self, String> {
        let mut options = Options::parse(Some(text), function).map_err(|errors| errors.join("; "))?;
        let contract = options.schema.take().map(Contract::new).transpose();
        let contract = contract.map_err(|why| format!("the option `schema` {why}"))?;
        Ok(Self { options, contract })
    }
}

impl Llm {
    /// Asks with these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::from_settings(Ok(settings))
    }

    /// Asks with the settings that `lookup` gives. Mistakes in them are every row's result.
    #[must_use]
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        Self::from_settings(Settings::from_lookup(lookup).map_err(|errors| errors.join("; ")))
    }

    fn from_settings(settings: Result<Settings, String>) -> Self {
        let effective = settings.clone().unwrap_or_default();
        Self {
            settings,
            transport: Transport::new(
                effective.concurrency,
                "BATON_LLM_CA_FILE",
                effective.ca_file,
                effective.backoff,
                effective.max_body,
            ),
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
}

/// One row on its way: who is asked for it, and what it has taken so far.
#[derive(Debug)]
pub(crate) struct Call {
    started: Instant,
    pub(crate) facts: CallFacts,
}

impl Call {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), facts: CallFacts::default() }
    }

    /// Where a model is asked; `None` for the offline provider.
    pub(crate) fn endpoint(&mut self, settings: &Settings, options: &Options) -> Result<Option<Endpoint>, Failure> {
        let provider = options.provider.unwrap_or(settings.provider);
        if provider == Provider::Offline {
            self.facts.source = Some(Source::Offline);
            self.facts.cost = Some(0.0);
            self.facts.prompt_tokens = Some(0);
            self.facts.completion_tokens = Some(0);
            return Ok(None);
        }
        self.facts.source = Some(Source::Model);
        self.facts.model = options.model.clone().or_else(|| settings.model.clone());
        let endpoint = settings.endpoint(provider, options.model.as_deref()).map_err(Failure::config)?;
        self.facts.model = Some(endpoint.model.clone());
        Ok(Some(endpoint))
    }

    pub(crate) fn row(settings: &Settings, options: &Options) -> Row {
        Row {
            clock: RowClock::start(options.deadline.unwrap_or(settings.deadline)),
            attempts: 0,
            retries_left: settings.retries,
            call_timeout: options.timeout.unwrap_or(settings.timeout),
        }
    }

    /// Adds what an answer took. Once a server has left a number out, the sum stays what it was: a lower bound.
    pub(crate) fn spent(&mut self, spent: &Spent) {
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
    }

    pub(crate) fn finish(mut self) -> CallFacts {
        self.facts.latency_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.facts
    }
}
