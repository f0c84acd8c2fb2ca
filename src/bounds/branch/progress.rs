//! Where branch and bound stands: domains that wait, budgets, and what is decided.

use super::Decision;
use super::domain::Domain;
use crate::bounds::Row;

/// Bytes that waiting domains may take.
const WAITING: usize = 1 << 30;

/// What came out of bounding one domain.
pub(super) struct Bounded {
    pub lower: f32,
    /// For balls: the radius up to which the row is positive on the domain.
    pub reach: f32,
    /// With its slopes and multipliers.
    pub domain: Domain,
    /// Node and neuron to halve it at.
    pub next: Option<(usize, usize)>,
    /// Where the row is not positive.
    pub point: Option<Vec<f32>>,
}

/// Where all boxes stand.
pub(super) struct Progress {
    pub decisions: Vec<Option<Decision>>,
    /// Domains not yet proved, per box, queued or in hand.
    open: Vec<usize>,
    /// Domains each box may have bounded, and has had.
    budgets: Vec<usize>,
    used: Vec<usize>,
    /// Box of each row.
    boxes: Vec<usize>,
    /// Depth first: it grows by no more than a batch each time.
    pub queue: Vec<Domain>,
    /// Domains that were proved, if they are to be kept.
    leaves: Option<Vec<Domain>>,
}

impl Progress {
    pub fn new(rows: &[Row], lower: &[f32], budgets: &[usize]) -> Progress {
        let mut open = vec![0; budgets.len()];
        rows.iter().zip(lower).filter(|(_, l)| !(**l > 0.0)).for_each(|(row, _)| open[row.lane] += 1);
        let decisions = open.iter().map(|o| (*o == 0).then_some(Decision::Proved)).collect();
        let boxes = rows.iter().map(|r| r.lane).collect();
        let used = vec![0; budgets.len()];
        Progress { decisions, open, budgets: budgets.to_vec(), used, boxes, queue: vec![], leaves: None }
    }

    /// The same, to hand over in the end what was proved on which domain.
    pub fn keeping_leaves(self) -> Progress {
        Progress { leaves: Some(vec![]), ..self }
    }

    pub fn take_leaves(&mut self) -> Vec<Domain> {
        self.leaves.take().unwrap_or_default()
    }

    /// The next domains, at most `most`, of boxes that are undecided.
    pub fn take(&mut self, most: usize) -> Vec<Domain> {
        let mut batch = Vec::with_capacity(most);
        while batch.len() < most
            && let Some(domain) = self.queue.pop()
        {
            let at = self.boxes[domain.row];
            if self.decisions[at].is_some() {
                continue;
            }
            if self.used[at] == self.budgets[at] {
                self.decisions[at] = Some(Decision::Open);
                continue;
            }
            self.used[at] += 1;
            batch.push(domain);
        }
        batch
    }

    /// A domain was proved.
    pub fn keep(&mut self, domain: &Domain) {
        if let Some(leaves) = &mut self.leaves {
            leaves.push(domain.clone());
        }
    }

    pub fn settle(&mut self, bounded: Bounded) {
        let at = self.boxes[bounded.domain.row];
        if self.decisions[at].is_some() {
            return;
        }
        if bounded.lower > 0.0 {
            self.keep(&bounded.domain);
            self.open[at] -= 1;
            if self.open[at] == 0 {
                self.decisions[at] = Some(Decision::Proved);
            }
        } else if let Some(point) = bounded.point {
            self.decisions[at] = Some(Decision::Broken(point));
        } else if let Some((node, neuron)) = bounded.next {
            if (self.queue.len() + 2) * bounded.domain.bytes() > WAITING {
                self.decisions[at] = Some(Decision::Open);
                return;
            }
            self.open[at] += 1;
            self.queue.extend(bounded.domain.halves(node, neuron));
        } else {
            self.decisions[at] = Some(Decision::Open);
        }
    }

    pub fn finish(self) -> Vec<(Decision, usize)> {
        self.decisions.into_iter().map(|d| d.unwrap_or(Decision::Open)).zip(self.used).collect()
    }
}
