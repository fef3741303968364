//! Which offsets may be committed, as pure code: no clock, no lock, no Kafka.
//!
//! **Invariant**: the committable offset of a partition never passes a row that is not delivered.

use std::collections::{BTreeMap, HashMap};

/// A micro-batch in a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(u64);

/// Offsets `first..=last` of a partition, all in one micro-batch. Gaps (compaction, transaction markers) may be inside;
/// they hold no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub first: i64,
    /// The last offset, inclusive.
    pub last: i64,
}

/// What was read, what of it is delivered, and so what may be committed.
#[derive(Debug, Default)]
pub struct OffsetTracker {
    next_batch: u64,
    next_assignment: u64,
    partitions: HashMap<i32, Partition>,
    open: HashMap<BatchId, Open>,
    rows: usize,
    bytes: usize,
    any_lost: bool,
}

#[derive(Debug)]
struct Partition {
    /// Distinguishes this assignment from an earlier one of the same partition, whose batches no longer count.
    assignment: u64,
    /// Earlier assignments that ended in a restart; `held_by` counts their undelivered ranges. While there are any,
    /// nothing is committable.
    restarted: Vec<u64>,
    held_by: usize,
    /// Ranges that were read and that the position has not passed, by first offset.
    pending: BTreeMap<i64, Pending>,
    /// The offset to commit: one past the last offset that is delivered without a gap.
    position: Option<i64>,
    /// The offset that was last handed out for a commit.
    handed_out: Option<i64>,
}

#[derive(Debug)]
struct Pending {
    last: i64,
    delivered: bool,
}

#[derive(Debug)]
struct Open {
    ranges: Vec<(u64, OffsetRange)>,
    rows: usize,
    bytes: usize,
}

impl OffsetTracker {
    /// Assigns the partition: nothing of it has been read yet.
    pub fn assign(&mut self, partition: i32) {
        self.next_assignment += 1;
        let fresh = Partition {
            assignment: self.next_assignment,
            restarted: Vec::new(),
            held_by: 0,
            pending: BTreeMap::new(),
            position: None,
            handed_out: None,
        };
        self.partitions.insert(partition, fresh);
    }

    /// The partition's offsets went back while it was assigned (its topic was recreated), so older and newer offsets
    /// cannot be compared. Nothing is committable until what was read before is delivered; after that, only newer
    /// offsets count.
    pub fn restart(&mut self, partition: i32) {
        let Some(old) = self.partitions.remove(&partition) else { return };
        self.assign(partition);
        if let Some(new) = self.partitions.get_mut(&partition) {
            new.held_by = old.held_by + old.pending.values().filter(|p| !p.delivered).count();
            new.restarted = old.restarted;
            new.restarted.push(old.assignment);
        }
    }

    /// Revokes the partition: nothing of it may be committed, even if it is still delivered.
    pub fn revoke(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// Opens a micro-batch. Ranges of unassigned partitions are not tracked, because they cannot be committed.
    pub fn begin(&mut self, ranges: Vec<OffsetRange>, rows: usize, bytes: usize) -> BatchId {
        let id = BatchId(self.next_batch);
        self.next_batch += 1;
        let mut tracked = Vec::with_capacity(ranges.len());
        for range in ranges {
            if let Some(partition) = self.partitions.get_mut(&range.partition) {
                partition.pending.insert(range.first, Pending { last: range.last, delivered: false });
                tracked.push((partition.assignment, range));
            }
        }
        self.rows += rows;
        self.bytes += bytes;
        self.open.insert(id, Open { ranges: tracked, rows, bytes });
        id
    }

    /// All rows from the batch are delivered.
    pub fn delivered(&mut self, batch: BatchId) {
        for (assignment, range) in self.close(batch) {
            let Some(partition) = self.partitions.get_mut(&range.partition) else { continue };
            if partition.assignment != assignment {
                if partition.restarted.contains(&assignment) {
                    partition.held_by -= 1;
                }
                continue;
            }
            if let Some(pending) = partition.pending.get_mut(&range.first) {
                pending.delivered = true;
            }
            while let Some(first) = partition.pending.first_entry() {
                if !first.get().delivered {
                    break;
                }
                partition.position = Some(first.remove().last + 1);
            }
        }
    }

    /// This process will not deliver the batch: its offsets block the commit of every later one of their partitions.
    pub fn lost(&mut self, batch: BatchId) {
        self.any_lost |= self.open.contains_key(&batch);
        self.close(batch);
    }

    /// `rows` rows of an open batch stop counting against the in-flight limit. What may be committed does not change.
    pub fn release(&mut self, batch: BatchId, rows: usize) {
        if let Some(open) = self.open.get_mut(&batch) {
            let released = rows.min(open.rows);
            open.rows -= released;
            self.rows -= released;
        }
    }

    /// Whether every batch is delivered or lost.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether every batch was delivered, and none was lost on the way.
    #[must_use]
    pub fn all_delivered(&self) -> bool {
        self.open.is_empty() && !self.any_lost
    }

    fn close(&mut self, batch: BatchId) -> Vec<(u64, OffsetRange)> {
        let Some(open) = self.open.remove(&batch) else { return Vec::new() };
        self.rows -= open.rows;
        self.bytes -= open.bytes;
        open.ranges
    }

    /// The partitions whose committable offset has moved since the last call, each with the offset to commit (the next
    /// one to read).
    pub fn committable(&mut self) -> Vec<(i32, i64)> {
        let mut moved: Vec<(i32, i64)> = Vec::new();
        for (id, partition) in &mut self.partitions {
            if let Some(position) = partition.position
                && partition.held_by == 0
                && partition.handed_out != Some(position)
            {
                partition.handed_out = Some(position);
                moved.push((*id, position));
            }
        }
        moved.sort_unstable();
        moved
    }

    /// A commit failed: what was handed out will be handed out again.
    pub fn not_committed(&mut self, partitions: impl IntoIterator<Item = i32>) {
        for id in partitions {
            if let Some(partition) = self.partitions.get_mut(&id) {
                partition.handed_out = None;
            }
        }
    }

    /// Rows of batches that are neither delivered nor lost, without the released ones.
    #[must_use]
    pub fn rows_in_flight(&self) -> usize {
        self.rows
    }

    /// Payload bytes of batches that are neither delivered nor lost.
    #[must_use]
    pub fn bytes_in_flight(&self) -> usize {
        self.bytes
    }

    /// Whether a batch that holds rows of one of these partitions is still open.
    #[must_use]
    pub fn has_open(&self, partitions: &[i32]) -> bool {
        self.open.values().any(|open| open.ranges.iter().any(|(_, r)| partitions.contains(&r.partition)))
    }
}
