//! A limit that agents cannot bypass: a workflow ends when it has gone on for too long, whatever its messages claim.
//!
//! A message carries its own `hop`, which an agent may set wrong. So the hops of recent messages are remembered by
//! message id, and a reply counts at least one hop more than its parent. An agent may also name a wrong parent, so the
//! messages of each workflow are counted too.
//!
//! The memory is bounded and belongs to the process: after a restart, counting starts anew.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, OnceLock, PoisonError};

/// How many messages a generation remembers. There are two generations: when the younger is full, the older is dropped.
const GENERATION: usize = 250_000;

/// The limits of a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The highest hop that is passed on.
    pub(crate) hops: u32,
    /// The maximum number of messages in a workflow.
    pub(crate) messages: u32,
}

/// A message to be judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    pub(crate) message_id: &'a str,
    pub(crate) workflow_id: &'a str,
    pub(crate) parent_id: Option<&'a str>,
    /// The hop in the message.
    pub(crate) hop: u32,
    /// Its place in the topic. A redelivered message has the same place.
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// The verdict on a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It continues, with this hop.
    Pass(u32),
    /// It exceeds a limit: its hop, and the reason.
    Halt(u32, String),
    /// Its parent belongs to another workflow.
    Stray,
}

/// The recent messages of this process.
#[derive(Debug)]
pub(crate) struct Hops {
    hasher: RandomState,
    young: Generation,
    old: Generation,
    size: usize,
}

#[derive(Debug, Default)]
struct Generation {
    /// The hop of each message, by the hash of its workflow's id and its own.
    hops: HashMap<u64, u32>,
    /// The workflow of each message, by the hash of the message id. Ids need not differ between workflows: the last
    /// one counts.
    owners: HashMap<u64, u64>,
    /// By the hash of the workflow id.
    workflows: HashMap<u64, Workflow>,
}

#[derive(Debug, Clone, Copy)]
struct Workflow {
    messages: u32,
    /// The place of its last message.
    partition: i32,
    offset: i64,
    /// The place of the first message beyond the limit.
    full_at: Option<i64>,
}

/// The state of this process. Each UDF library has its own statics.
pub(crate) fn shared() -> &'static Mutex<Hops> {
    static SHARED: OnceLock<Mutex<Hops>> = OnceLock::new();
    SHARED.get_or_init(|| Mutex::new(Hops::new(GENERATION)))
}

/// Judges a message by the messages that this process has seen.
pub(crate) fn judge(arrival: Arrival<'_>, limits: Limits) -> Verdict {
    shared().lock().unwrap_or_else(PoisonError::into_inner).judge(arrival, limits)
}

impl Hops {
    fn new(size: usize) -> Self {
        Self { hasher: RandomState::new(), young: Generation::default(), old: Generation::default(), size }
    }

    fn judge(&mut self, arrival: Arrival<'_>, limits: Limits) -> Verdict {
        let workflow = self.hasher.hash_one(arrival.workflow_id);
        let parent = arrival.parent_id.and_then(|id| self.find(|of| &of.hops, self.key(&arrival, id)));
        let owner = arrival.parent_id.and_then(|id| self.find(|of| &of.owners, self.hasher.hash_one(id)));
        if parent.is_none() && owner.is_some() {
            return Verdict::Stray;
        }
        let hop = parent.map_or(arrival.hop, |parent| arrival.hop.max(parent.saturating_add(1)));
        let is_full = self.count(workflow, &arrival, limits.messages);
        self.young.hops.insert(self.key(&arrival, arrival.message_id), hop);
        self.young.owners.insert(self.hasher.hash_one(arrival.message_id), workflow);
        if self.young.hops.len().max(self.young.workflows.len()) >= self.size {
            self.old = std::mem::take(&mut self.young);
        }
        if hop > limits.hops {
            return Verdict::Halt(hop, format!("hop {hop} is past the limit of {}", limits.hops));
        }
        if is_full {
            let why = format!("the workflow has more than {} messages, which is the limit", limits.messages);
            return Verdict::Halt(hop, why);
        }
        Verdict::Pass(hop)
    }

    /// A message of the arrival's workflow.
    fn key(&self, arrival: &Arrival<'_>, message_id: &str) -> u64 {
        self.hasher.hash_one((arrival.workflow_id, message_id))
    }

    fn find<T: Copy>(&self, map: impl Fn(&Generation) -> &HashMap<u64, T>, key: u64) -> Option<T> {
        map(&self.young).get(&key).or_else(|| map(&self.old).get(&key)).copied()
    }

    /// Counts a message, and returns whether it exceeds the limit. A redelivered message was counted before.
    fn count(&mut self, id: u64, arrival: &Arrival<'_>, most: u32) -> bool {
        let before = self.find(|of| &of.workflows, id);
        let (partition, offset) = (arrival.partition, arrival.offset);
        let mut workflow = before.unwrap_or(Workflow { messages: 0, partition, offset: -1, full_at: None });
        let redelivered = workflow.partition == partition && offset <= workflow.offset;
        if !redelivered {
            workflow = Workflow { messages: workflow.messages.saturating_add(1), partition, offset, ..workflow };
            if workflow.messages > most && workflow.full_at.is_none() {
                workflow.full_at = Some(offset);
            }
        }
        self.young.workflows.insert(id, workflow);
        workflow.full_at.is_some_and(|full_at| !redelivered || offset >= full_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { hops: 20, messages: 100 };

    fn arrival<'a>(id: &'a str, parent: Option<&'a str>, hop: u32, offset: i64) -> Arrival<'a> {
        Arrival { message_id: id, workflow_id: "w", parent_id: parent, hop, partition: 0, offset }
    }

    /// How many of an agent's replies pass before one is halted.
    fn passed(mut reply: impl FnMut(u32, &str) -> (String, String, u32)) -> u32 {
        let mut hops = Hops::new(1000);
        assert_eq!(hops.judge(arrival("0", None, 0, 0), LIMITS), Verdict::Pass(0));
        let mut last = "0".to_owned();
        for n in 1..1000 {
            let (id, parent, hop) = reply(n, &last);
            match hops.judge(arrival(&id, Some(&parent), hop, n.into()), LIMITS) {
                Verdict::Pass(_) => last = id,
                _ => return n - 1,
            }
        }
        panic!("it goes on for ever");
    }

    #[test]
    fn whatever_an_agent_states_it_is_halted() {
        assert_eq!(passed(|n, last| (n.to_string(), last.into(), n)), 20, "an honest one");
        assert_eq!(passed(|n, last| (n.to_string(), last.into(), 1)), 20, "always the same hop");
        assert_eq!(passed(|_, last| ("same".into(), last.into(), 1)), 20, "always the same id");
        assert_eq!(passed(|n, _| (n.to_string(), "0".into(), 1)), 99, "always the first as its parent");
        assert_eq!(passed(|n, _| (n.to_string(), format!("p{n}"), 1)), 99, "parents that nobody knows");
    }

    #[test]
    fn a_reply_stays_in_the_workflow_of_its_parent() {
        let mut hops = Hops::new(1000);
        hops.judge(arrival("0", None, 0, 0), LIMITS);
        let stray = Arrival { workflow_id: "other", ..arrival("1", Some("0"), 1, 1) };
        assert_eq!(hops.judge(stray, LIMITS), Verdict::Stray);
    }

    #[test]
    fn workflows_may_use_the_same_message_ids() {
        let mut hops = Hops::new(1000);
        let of = |workflow_id| move |arrival| Arrival { workflow_id, ..arrival };
        for workflow in ["a", "b"].map(of) {
            assert_eq!(hops.judge(workflow(arrival("1", None, 0, 0)), LIMITS), Verdict::Pass(0));
        }
        for workflow in ["a", "b"].map(of) {
            assert_eq!(hops.judge(workflow(arrival("2", Some("1"), 1, 2)), LIMITS), Verdict::Pass(1));
            assert_eq!(hops.judge(workflow(arrival("3", Some("2"), 1, 3)), LIMITS), Verdict::Pass(2));
        }
    }

    #[test]
    fn one_message_id_in_many_workflows_is_bounded_too() {
        let mut hops = Hops::new(100);
        for n in 0..1000 {
            let workflow = n.to_string();
            hops.judge(Arrival { workflow_id: &workflow, ..arrival("1", None, 0, n) }, LIMITS);
        }
        assert!(hops.young.workflows.len() + hops.old.workflows.len() <= 201);
    }

    #[test]
    fn what_is_redelivered_gets_the_same_verdict() {
        let limits = Limits { hops: 20, messages: 2 };
        let mut hops = Hops::new(1000);
        let ids = ["0", "1", "2", "3"];
        let all = [0, 1, 2, 3].map(|n: u32| {
            let parent = n.checked_sub(1).map(|parent| ids[parent as usize]);
            arrival(ids[n as usize], parent, n, 5 + i64::from(n))
        });
        let first: Vec<Verdict> = all.iter().map(|a| hops.judge(*a, limits)).collect();
        assert!(
            matches!(first[..], [Verdict::Pass(0), Verdict::Pass(1), Verdict::Halt(2, _), Verdict::Halt(3, _)]),
            "{first:?}"
        );
        let again: Vec<Verdict> = all.iter().map(|a| hops.judge(*a, limits)).collect();
        assert_eq!(first, again);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_keeps_what_is_in_use() {
        let mut hops = Hops::new(100);
        for n in 0..10_000 {
            let id = n.to_string();
            hops.judge(Arrival { workflow_id: &id, ..arrival(&id, None, 0, n) }, LIMITS);
            if n % 50 == 0 {
                let parent = (n > 0).then(|| format!("loop{}", n - 50));
                let id = format!("loop{n}");
                let hop = u32::try_from(n / 50).unwrap();
                let verdict = hops.judge(Arrival { parent_id: parent.as_deref(), ..arrival(&id, None, 1, n) }, LIMITS);
                let expected = hop + 1;
                assert!(
                    matches!(verdict, Verdict::Pass(h) if h == expected && h <= 20)
                        || matches!(verdict, Verdict::Halt(h, _) if h == expected && h > 20),
                    "{n}: {verdict:?}"
                );
            }
            assert!(hops.young.hops.len() + hops.old.hops.len() <= 201);
            assert!(hops.young.workflows.len() + hops.old.workflows.len() <= 201);
        }
    }
}
