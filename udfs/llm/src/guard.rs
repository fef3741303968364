//! What stands between a row and a model's server: the breaker, the gate, and whether the engine waits for the row.

use crate::breaker::Breaker;
use crate::gate::Gate;
use crate::host::Host;
use baton_llm_settings::limits::Price;
use reqwest::StatusCode;
use std::sync::Arc;

/// What guards the calls of one row.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    /// The function's name in SQL.
    pub(crate) function: &'static str,
    pub(crate) breaker: Arc<Breaker>,
    /// Where rates and budgets are kept, when there are any.
    pub(crate) gate: Option<Arc<Gate>>,
    /// An engine that waits for its rows.
    pub(crate) host: Option<Arc<Host>>,
    pub(crate) price: Option<Price>,
    /// The longest answer that is asked for, in tokens.
    pub(crate) most_answered: u64,
}

impl Guard {
    /// Whether the row waits for a server that does not answer, as long as it takes.
    pub(crate) fn is_patient(&self) -> bool {
        self.host.is_some()
    }

    /// Tells the engine that rows wait.
    pub(crate) fn waiting(&self, why: &str) {
        if let Some(host) = &self.host {
            host.waiting(self.function, why);
        }
    }

    /// Tells the engine what somebody should know, and nobody waits for.
    pub(crate) fn warning(&self, why: &str) {
        if let Some(host) = &self.host {
            host.warning(self.function, why);
        }
    }

    /// Tells the engine that the server has answered.
    pub(crate) fn working(&self) {
        if let Some(host) = &self.host {
            host.working(self.function);
        }
    }

    /// Ends the engine when a refusal is no matter of this row: the key is refused, the account has no credit, or the server
    /// has never accepted anything.
    pub(crate) async fn refused(&self, status: StatusCode, why: &str) {
        let of_all = match status.as_u16() {
            401 | 402 => true,
            // So Anthropic says it, as the first words of its message: what follows may quote anybody.
            400 => why.contains(" answers 400 Bad Request: Your credit balance is too low"),
            300..=399 | 403 | 404 | 405 => !self.breaker.has_accepted(),
            _ => false,
        };
        if of_all {
            self.stop(why).await;
        }
    }

    /// Ends an engine that waits for its rows, because none can be answered before somebody has done something. Then it
    /// never returns, and the row is read again after the next start.
    pub(crate) async fn stop(&self, why: &str) {
        if let Some(host) = &self.host {
            host.rejected(self.function, why);
            self.pause_if_stopped().await;
        }
    }

    /// Never returns once the engine was told to end: what would be asked is asked after the next start.
    pub(crate) async fn pause_if_stopped(&self) {
        if self.host.as_ref().is_some_and(|host| host.is_rejected()) {
            std::future::pending::<()>().await;
        }
    }
}
