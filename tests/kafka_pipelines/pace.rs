//! How fast, and how idle.

use std::time::{Duration, Instant};

use crate::model;
use crate::system::{PIPELINES, System, message};

#[test]
#[ignore = "needs a Kafka broker (tests/broker/install)"]
fn an_idle_engine_rests_a_single_message_is_fast_and_a_stop_is_prompt() {
    let model = model::start();
    let system = System::fresh(2);
    let baton = system.run(&PIPELINES, &model, &[]);
    // The first message opens connections and is not counted.
    system.publish("agent_messages", [message(5).0]);
    system.wait_for("unrouted", 1);

    let mut times: Vec<Duration> = (1..=20)
        .map(|n| {
            let started = Instant::now();
            system.publish("agent_messages", [message(6 * n + 5).0]);
            system.wait_for("unrouted", n + 1);
            started.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[10] < Duration::from_millis(500), "from agent_messages to unrouted: {times:?}");

    let (started, used) = (Instant::now(), baton.processor_time());
    std::thread::sleep(Duration::from_secs(5));
    let share = baton.processor_time().saturating_sub(used).as_secs_f64() / started.elapsed().as_secs_f64();
    assert!(share < 0.03, "idle, it uses {:.1} % of a processor", share * 100.0);

    baton.stop(Duration::from_secs(2));
}
