//! Processes that die, leave and come while calls are in flight: nothing may be lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::producer::Producer;

use crate::model;
use crate::played::Model;
use crate::system::{PATIENCE, System, message, messages};

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_kill_with_200_calls_in_flight_loses_nothing() {
    let model = model::start();
    // The limit of calls has grown by then. Some are through and committed, some through and not committed, 200 are
    // being asked about, the rest waits.
    model.holds_after(1500);
    // Slow enough that this machine is not what limits the calls in flight.
    model.takes(Duration::from_millis(200));
    let system = System::fresh(4);
    system.publish("agent_messages", messages(0..2500));
    let settings = [("BATON_LLM_CONCURRENCY", "200")];
    let mut baton = system.run(&["route_messages"], &model, &settings);
    model.wait("200 calls are in flight", |seen| seen.calls >= 1700 && seen.in_flight >= 200);
    baton.kill();
    assert!(model.seen().peak >= 200);
    model.lets_go();

    let baton = system.run(&["route_messages"], &model, &settings);
    system.wait_until_routed(0..2500);
    system.wait_until_committed("route_messages", "agent_messages");
    baton.stop(Duration::from_secs(10));
    system.assert_routed(0..2500, 2);
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn processes_that_join_leave_and_die_under_load_lose_nothing() {
    let model = model::start();
    model.takes(Duration::from_millis(100));
    let system = System::fresh(4);
    let (enough, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let run = |key| system_run(&system, &model, key);
    std::thread::scope(|scope| {
        // About a hundred a second, on all partitions, for as long as processes come and go.
        let producer = system.producer();
        let (enough, sent) = (&enough, &sent);
        scope.spawn(move || {
            while !enough.load(Ordering::Relaxed) {
                let message = message(sent.fetch_add(1, Ordering::Relaxed)).0;
                let key = message["workflow_id"].as_str();
                crate::system::send(&producer, "agent_messages", None, key, Some(message.to_string().as_bytes()));
                std::thread::sleep(Duration::from_millis(10));
            }
            producer.flush(PATIENCE).unwrap();
        });
        // However this ends, the load must.
        let _end = Enough(enough);
        let has_worked = |key: &'static str, more: usize| {
            let before = model.seen().by_key.get(key).copied().unwrap_or(0);
            model.wait(&format!("process {key} gets work"), |seen| {
                seen.by_key.get(key).copied().unwrap_or(0) >= before + more
            });
        };
        let a = run("key-a");
        has_worked("key-a", 50);
        let mut b = run("key-b");
        has_worked("key-b", 50);
        has_worked("key-a", 50);
        a.stop(Duration::from_secs(20));
        let c = run("key-c");
        has_worked("key-c", 50);
        has_worked("key-b", 50);
        b.kill();
        let on_the_way = sent.load(Ordering::Relaxed);
        // What the dead one had is read by the one that is left.
        system.wait_until_routed(0..on_the_way);
        enough.store(true, Ordering::Relaxed);
        drop(c);
    });
    let last = run("key-d");
    let all = 0..sent.load(Ordering::Relaxed);
    system.wait_until_routed(all.clone());
    system.wait_until_committed("route_messages", "agent_messages");
    last.stop(Duration::from_secs(20));
    // Twice for each of the two that were killed, at most.
    system.assert_routed(all, 3);
}

fn system_run(system: &System, model: &Model, key: &str) -> crate::process::Baton {
    system.run(&["route_messages"], model, &[("BATON_LLM_API_KEY", key)])
}

struct Enough<'a>(&'a AtomicBool);

impl Drop for Enough<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn a_stop_with_100_calls_in_flight_finishes_them_and_none_is_decided_twice() {
    let model = model::start();
    // The limit of calls grows with the first answers.
    model.holds_after(1500);
    // Slow enough that this machine is not what limits the calls in flight.
    model.takes(Duration::from_millis(200));
    let system = System::fresh(2);
    system.publish("agent_messages", messages(0..1700));
    let settings = [("BATON_LLM_CONCURRENCY", "100")];
    let mut baton = system.run(&["route_messages"], &model, &settings);
    model.wait("100 calls are in flight", |seen| seen.calls >= 1600 && seen.in_flight >= 100);
    baton.terminate();
    model.takes(Duration::from_millis(300));
    // These come too late for it.
    system.publish("agent_messages", messages(1700..1750));
    model.lets_go();
    baton.end_well(Duration::from_secs(20));
    let done = system.rows("agent_predictions").len();
    assert!((1600..=1750).contains(&done), "{done} decisions");
    assert_eq!(done, model.seen().calls, "every call that was made is in its place");

    model.takes(Duration::ZERO);
    let baton = system.run(&["route_messages"], &model, &settings);
    system.wait_until_routed(0..1750);
    baton.stop(Duration::from_secs(10));
    system.assert_routed(0..1750, 1);
    let seen = model.seen();
    assert_eq!((seen.calls, seen.by_mark.len()), (1750, 1750), "the model was asked once about each");
    let keys: BTreeSet<&usize> = seen.by_mark.values().collect();
    assert_eq!(keys, BTreeSet::from([&1]));
}
