//! The guards between a row and a server: the breaker, the limit of calls, the gate, the jury, and an engine that may
//! wait for the row.

use crate::breaker::Breaker;
use crate::gate::Gate;
use crate::host::Host;
use crate::jury::Jury;
use crate::limit::Limit;
use baton_llm_settings::limits::Price;
use std::sync::Arc;

/// The guards of one row's calls.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    /// The function's name in SQL.
    pub(crate) function: &'static str,
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) limit: Arc<Limit>,
    /// The jury of a model's server; `None` for a service, whose refusals belong to their rows.
    pub(crate) jury: Option<Arc<Jury>>,
    /// Rate limits and budgets, if there may be any.
    pub(crate) gate: Option<Arc<Gate>>,
    /// The engine, if it waits for its rows.
    pub(crate) host: Option<Arc<Host>>,
    pub(crate) price: Option<Price>,
    /// The limit of tokens in an answer.
    pub(crate) most_answered: u64,
}

impl Guard {
    /// Whether the row waits without limit for a server that does not answer.
    pub(crate) fn is_patient(&self) -> bool {
        self.host.is_some()
    }

    /// Reports to the engine that rows wait.
    pub(crate) fn waiting(&self, why: &str) {
        if let Some(host) = &self.host {
            host.waiting(self.function, why);
        }
    }

    /// Reports a warning to the engine. No row waits for it.
    pub(crate) fn warning(&self, why: &str) {
        if let Some(host) = &self.host {
            host.warning(self.function, why);
        }
    }

    /// Reports something to the engine that happens seldom.
    pub(crate) fn notice(&self, what: &str) {
        if let Some(host) = &self.host {
            host.notice(self.function, what);
        }
    }

    /// Reports to the engine that the server has answered.
    pub(crate) fn working(&self) {
        if let Some(host) = &self.host {
            host.working(self.function);
        }
    }

    /// Stops an engine that waits for its rows, because no row can be answered until somebody changes something. It
    /// then never returns, and the row is redelivered after the next start.
    pub(crate) async fn stop(&self, why: &str) {
        if let Some(host) = &self.host {
            host.rejected(self.function, why);
            self.pause_if_stopped().await;
        }
    }

    /// Never returns once the engine has been told to stop: the question is asked after the next start.
    pub(crate) async fn pause_if_stopped(&self) {
        if self.host.as_ref().is_some_and(|host| host.is_rejected()) {
            std::future::pending::<()>().await;
        }
    }
}
