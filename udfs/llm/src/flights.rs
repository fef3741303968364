//! Identical questions asked at the same time share one call: the first row calls the model, and the others get its
//! outcome.

use crate::decisions::Key;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The questions in flight.
#[derive(Debug)]
pub(crate) struct Flights<T> {
    asked: Mutex<HashMap<Key, watch::Receiver<Option<T>>>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { asked: Mutex::default() }
    }
}

/// A row's role for its question.
pub(crate) enum Boarding<T> {
    /// It asks, and publishes the outcome with [`Pilot::land`].
    Pilot(Pilot<T>),
    /// It waits for the pilot.
    Passenger(Passenger<T>),
}

/// The row that asks. If it is dropped without an outcome, one of the waiting rows asks instead.
pub(crate) struct Pilot<T> {
    flights: Arc<Flights<T>>,
    key: Key,
    outcome: watch::Sender<Option<T>>,
}

/// A row that waits.
pub(crate) struct Passenger<T>(watch::Receiver<Option<T>>);

impl<T: Clone> Flights<T> {
    /// Waits for the row that asks `key`, or becomes that row.
    pub(crate) fn board(self: &Arc<Self>, key: Key) -> Boarding<T> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(under_way) = asked.get(&key) {
            return Boarding::Passenger(Passenger(under_way.clone()));
        }
        let (outcome, watched) = watch::channel(None);
        asked.insert(key, watched);
        Boarding::Pilot(Pilot { flights: Arc::clone(self), key, outcome })
    }
}

impl<T> Pilot<T> {
    /// The key of its question.
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Passes the outcome to all waiting rows.
    pub(crate) fn land(self, outcome: T) {
        // There may be no waiting rows.
        self.outcome.send_replace(Some(outcome));
    }
}

impl<T> Drop for Pilot<T> {
    fn drop(&mut self) {
        self.flights.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl<T: Clone> Passenger<T> {
    /// The outcome; `None` if the row that asked was dropped.
    pub(crate) async fn outcome(mut self) -> Option<T> {
        let landed = self.0.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says where")]

    use super::*;

    fn key(name: &str) -> Key {
        Key::of(&[name.as_bytes()])
    }

    #[tokio::test]
    async fn one_asks_and_the_others_wait() {
        let flights: Arc<Flights<u32>> = Arc::default();
        let Boarding::Pilot(pilot) = flights.board(key("a")) else { panic!("the first asks") };
        let Boarding::Passenger(passenger) = flights.board(key("a")) else { panic!("the second waits") };
        assert!(matches!(flights.board(key("b")), Boarding::Pilot(_)));
        let waiting = tokio::spawn(passenger.outcome());
        pilot.land(7);
        assert_eq!(waiting.await.unwrap(), Some(7));
        assert!(matches!(flights.board(key("a")), Boarding::Pilot(_)));
        assert!(flights.asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_row_that_is_given_up_is_followed_by_another() {
        let flights: Arc<Flights<u32>> = Arc::default();
        let Boarding::Pilot(pilot) = flights.board(key("a")) else { panic!("the first asks") };
        let Boarding::Passenger(passenger) = flights.board(key("a")) else { panic!("the second waits") };
        drop(pilot);
        assert_eq!(passenger.outcome().await, None);
        assert!(matches!(flights.board(key("a")), Boarding::Pilot(_)));
    }
}
