//! What all our Kafka clients share: their log goes to `tracing`, the last reason for a failed connection is kept for
//! error messages, and no secret gets into either.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Values that must never be shown.
#[derive(Clone, Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    /// Collects secrets; empty values are ignored.
    pub fn new(values: impl IntoIterator<Item = String>) -> Self {
        Self(values.into_iter().filter(|v| !v.is_empty()).collect())
    }

    /// The text with every secret replaced.
    pub fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_string(), |text, secret| text.replace(secret, "…"))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}

/// Why a broker cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The error code.
    pub code: RDKafkaErrorCode,
    /// librdkafka's message, without its counters.
    pub text: String,
}

impl Reason {
    /// Whether a retry cannot help.
    pub fn is_final(&self) -> bool {
        self.is_login() || self.is_tls()
    }

    /// Whether the broker refuses the login.
    pub fn is_login(&self) -> bool {
        self.code == RDKafkaErrorCode::Authentication
    }

    /// Whether client and broker disagree on TLS.
    pub fn is_tls(&self) -> bool {
        self.code == RDKafkaErrorCode::SSL
    }
}

/// Receives the events of a client.
#[derive(Debug)]
pub struct Events {
    /// The client's name in the log: `route_messages`, or `route_messages.agent_messages`.
    name: String,
    secrets: Secrets,
    last: Mutex<Option<Reason>>,
    down: AtomicBool,
}

impl Events {
    /// The events of a client of that name.
    pub fn new(name: String, secrets: Secrets) -> Self {
        Self { name, secrets, last: Mutex::new(None), down: AtomicBool::new(false) }
    }

    /// Why the last connection failed.
    pub fn last(&self) -> Option<Reason> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A log line of librdkafka. Connection errors also come as error events, so here they are detail.
    pub fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        let text = self.secrets.redact(text);
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "kafka", client = %self.name, facility, "{text}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning if !CONNECTION.contains(&facility) => {
                tracing::warn!(target: "kafka", client = %self.name, facility, "{text}");
            }
            RDKafkaLogLevel::Debug => tracing::trace!(target: "kafka", client = %self.name, facility, "{text}"),
            _ => tracing::debug!(target: "kafka", client = %self.name, facility, "{text}"),
        }
    }

    /// An error of the client as a whole. Unreachable brokers are logged once, until one can be reached again.
    pub fn error(&self, error: &KafkaError, reason: &str) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let text = plain(&self.secrets.redact(reason));
        if code == RDKafkaErrorCode::AllBrokersDown {
            if !self.down.swap(true, Ordering::Relaxed) {
                let last = self.last().map_or(text, |reason| reason.text);
                tracing::warn!(target: "kafka", client = %self.name, "no broker can be reached, retrying: {last}");
            }
            return;
        }
        tracing::debug!(target: "kafka", client = %self.name, "{text}");
        // The user must learn that the login was refused, not that the connection then broke.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = Reason { code, text };
        if reason.is_final() || !last.as_ref().is_some_and(Reason::is_final) {
            *last = Some(reason);
        }
    }

    /// A broker has answered.
    pub fn up(&self) {
        if self.down.load(Ordering::Relaxed) && self.down.swap(false, Ordering::Relaxed) {
            tracing::info!(target: "kafka", client = %self.name, "a broker can be reached again");
        }
    }
}

/// Facilities of librdkafka's log that repeat error events.
const CONNECTION: &[&str] = &["FAIL", "ERROR", "SSL", "SASL", "BROKERFAIL", "CONNECT", "GETPID"];

/// librdkafka's reason without its changing parts, and without the broker's name, which the surrounding message has.
fn plain(reason: &str) -> String {
    let text = reason.split(" (after ").next().unwrap_or(reason).trim();
    // `sasl_plaintext://127.0.0.1:9092/bootstrap: Connect to … failed: …`
    let text = match text.split_once(": ") {
        Some((head, rest))
            if !head.contains(' ') && head.contains(':') && (head.contains('/') || head.contains("://")) =>
        {
            rest
        }
        _ => text,
    };
    text.trim_end_matches(':').trim().to_string()
}

/// Answers librdkafka's callbacks with an [`Events`].
macro_rules! client_context {
    ($context:ty) => {
        impl rdkafka::ClientContext for $context {
            fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, text: &str) {
                self.events.log(level, facility, text);
            }
            fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
                self.events.error(&error, reason);
            }
            fn stats_raw(&self, _: &[u8]) {}
        }
    };
}
pub(super) use client_context;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_lose_counters_and_the_brokers_name() {
        assert_eq!(
            plain(
                "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT, 1 identical error(s) suppressed)"
            ),
            "Connect to ipv4#127.0.0.1:1 failed: Connection refused"
        );
        assert_eq!(
            plain("sasl_ssl://b:9/bootstrap: SASL PLAIN mechanism handshake failed"),
            "SASL PLAIN mechanism handshake failed"
        );
        assert_eq!(
            plain("Failed to resolve 'nowhere:9092': Name or service not known"),
            "Failed to resolve 'nowhere:9092': Name or service not known"
        );
    }

    #[test]
    fn a_refused_login_is_not_hidden_by_the_broken_connection_that_follows() {
        let events = Events::new("p.t".into(), Secrets::new(["hunter2".to_string()]));
        events.error(
            &KafkaError::Global(RDKafkaErrorCode::Authentication),
            "b:9/1: refused hunter2 (after 5ms in state AUTH)",
        );
        events.error(&KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), "b:9/1: Disconnected");
        let last = events.last().unwrap();
        assert_eq!((last.is_login(), last.text.as_str()), (true, "refused …"));
        assert!(!format!("{events:?}").contains("hunter2"));
    }
}
