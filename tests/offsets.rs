//! Any interleaving of reads, completions, losses, failed commits, assignments, revocations and restarts, over several
//! partitions: no commit passes a row that is not delivered, and everything delivered without a gap is committable.
//!
//! The model beside the tracker is the definition in its slowest form: it keeps every range for ever.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;

use baton::delivery::{BatchId, OffsetRange, OffsetTracker};
use proptest::prelude::*;

const PARTITIONS: i32 = 3;

#[derive(Debug, Clone)]
enum Step {
    /// A batch: how many rows of each partition, and how large the gap before them is.
    Read(Vec<(i32, i64, i64)>),
    /// One of the open batches (by its place among them) is delivered.
    Deliver(prop::sample::Index),
    /// One of the open batches is lost.
    Lose(prop::sample::Index),
    /// What is committable is committed; for the partitions in the list that fails.
    Commit(Vec<i32>),
    Assign(i32),
    Revoke(i32),
    /// The partition's offsets begin anew.
    Restart(i32),
}

fn step() -> impl Strategy<Value = Step> {
    let partition = 0..PARTITIONS;
    let rows = prop::collection::btree_map(partition.clone(), (1..5_i64, 0..3_i64), 1..=PARTITIONS as usize);
    prop_oneof![
        8 => rows.prop_map(|rows| Step::Read(rows.into_iter().map(|(p, (n, gap))| (p, n, gap)).collect())),
        8 => any::<prop::sample::Index>().prop_map(Step::Deliver),
        1 => any::<prop::sample::Index>().prop_map(Step::Lose),
        4 => prop::collection::vec(partition.clone(), 0..2).prop_map(Step::Commit),
        1 => partition.clone().prop_map(Step::Assign),
        1 => partition.clone().prop_map(Step::Revoke),
        1 => partition.prop_map(Step::Restart),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Delivered,
    Lost,
}

#[derive(Debug)]
struct Batch {
    id: BatchId,
    state: State,
    rows: usize,
    bytes: usize,
}

/// What is assigned of a partition.
#[derive(Debug, Default)]
struct Assigned {
    /// Ranges since the last restart, with their batches.
    ranges: Vec<(OffsetRange, usize)>,
    /// Batches of ranges from before a restart.
    earlier: Vec<usize>,
    next: i64,
    committed: Option<i64>,
}

#[derive(Debug, Default)]
struct Model {
    tracker: OffsetTracker,
    batches: Vec<Batch>,
    assigned: BTreeMap<i32, Assigned>,
}

impl Model {
    fn delivered(&self, batch: usize) -> bool {
        self.batches[batch].state == State::Delivered
    }

    fn open(&self) -> Vec<usize> {
        (0..self.batches.len()).filter(|b| self.batches[*b].state == State::Open).collect()
    }

    /// The definition: one past the last range before the first that is not delivered.
    fn position(&self, assigned: &Assigned) -> Option<i64> {
        if assigned.earlier.iter().any(|batch| !self.delivered(*batch)) {
            return None;
        }
        let done = assigned.ranges.iter().take_while(|(_, batch)| self.delivered(*batch));
        done.last().map(|(range, _)| range.last + 1)
    }

    fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Read(parts) => {
                let mut ranges = Vec::new();
                for (partition, rows, gap) in parts {
                    let Some(assigned) = self.assigned.get_mut(partition) else { continue };
                    let first = assigned.next + gap;
                    assigned.next = first + rows;
                    let range = OffsetRange { partition: *partition, first, last: first + rows - 1 };
                    assigned.ranges.push((range, self.batches.len()));
                    ranges.push(range);
                }
                let rows = ranges.iter().map(|r| usize::try_from(r.last - r.first + 1).unwrap()).sum();
                let id = self.tracker.begin(ranges, rows, rows * 10);
                self.batches.push(Batch { id, state: State::Open, rows, bytes: rows * 10 });
            }
            Step::Deliver(which) | Step::Lose(which) => {
                let open = self.open();
                if open.is_empty() {
                    return Ok(());
                }
                let batch = &mut self.batches[*which.get(&open)];
                if matches!(step, Step::Deliver(_)) {
                    self.tracker.delivered(batch.id);
                    batch.state = State::Delivered;
                } else {
                    self.tracker.lost(batch.id);
                    batch.state = State::Lost;
                }
            }
            Step::Commit(failing) => {
                let committable = self.tracker.committable();
                for (partition, offset) in &committable {
                    let assigned = self.assigned.get(partition);
                    prop_assert!(assigned.is_some(), "partition {partition} is not ours, and was committed");
                    for (range, batch) in &assigned.unwrap().ranges {
                        prop_assert!(
                            range.first >= *offset || self.delivered(*batch),
                            "{offset} of {partition} passes {range:?}"
                        );
                    }
                }
                let expected: Vec<(i32, i64)> = self
                    .assigned
                    .iter()
                    .filter_map(|(partition, assigned)| {
                        Some((*partition, self.position(assigned)?, assigned.committed))
                    })
                    .filter(|(_, position, committed)| *committed != Some(*position))
                    .map(|(partition, position, _)| (partition, position))
                    .collect();
                prop_assert_eq!(&committable, &expected);
                for (partition, offset) in committable {
                    let failed = failing.contains(&partition);
                    if failed {
                        self.tracker.not_committed([partition]);
                    }
                    if let Some(assigned) = self.assigned.get_mut(&partition) {
                        assigned.committed = if failed { None } else { Some(offset) };
                    }
                }
            }
            Step::Assign(partition) => {
                self.tracker.assign(*partition);
                self.assigned.insert(*partition, Assigned::default());
            }
            Step::Revoke(partition) => {
                self.tracker.revoke(*partition);
                self.assigned.remove(partition);
            }
            Step::Restart(partition) => {
                self.tracker.restart(*partition);
                if let Some(old) = self.assigned.remove(partition) {
                    let earlier = old.earlier.into_iter().chain(old.ranges.iter().map(|(_, batch)| *batch)).collect();
                    self.assigned.insert(*partition, Assigned { earlier, ..Assigned::default() });
                }
            }
        }
        self.check_counters()
    }

    fn check_counters(&self) -> Result<(), TestCaseError> {
        let open = self.open();
        prop_assert_eq!(self.tracker.rows_in_flight(), open.iter().map(|b| self.batches[*b].rows).sum::<usize>());
        prop_assert_eq!(self.tracker.bytes_in_flight(), open.iter().map(|b| self.batches[*b].bytes).sum::<usize>());
        for (partition, assigned) in &self.assigned {
            let mine = assigned.ranges.iter().map(|(_, batch)| batch).chain(&assigned.earlier);
            let has_open = mine.into_iter().any(|batch| self.batches[*batch].state == State::Open);
            prop_assert!(!has_open || self.tracker.has_open(&[*partition]), "partition {partition} has open batches");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn no_commit_passes_an_undelivered_row(steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model::default();
        for partition in 0..PARTITIONS {
            model.apply(&Step::Assign(partition))?;
        }
        for step in &steps {
            model.apply(step)?;
        }
        // In the end all that is not lost is delivered, and what that makes committable is handed out.
        for batch in model.open() {
            let id = model.batches[batch].id;
            model.tracker.delivered(id);
            model.batches[batch].state = State::Delivered;
        }
        model.apply(&Step::Commit(Vec::new()))?;
        prop_assert_eq!(model.tracker.committable(), Vec::new());
        prop_assert_eq!((model.tracker.rows_in_flight(), model.tracker.bytes_in_flight()), (0, 0));
        for (partition, assigned) in &model.assigned {
            let lost = |batch: &usize| model.batches[*batch].state == State::Lost;
            if !assigned.ranges.is_empty() && !assigned.ranges.iter().any(|(_, b)| lost(b)) && !assigned.earlier.iter().any(lost) {
                prop_assert_eq!(assigned.committed, assigned.ranges.last().map(|(r, _)| r.last + 1), "partition {}", partition);
            }
        }
    }
}
