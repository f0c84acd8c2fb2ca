//! Trees: balls around one image, halved by signs of neurons. Every domain knows how far its row is proved, its reach, and
//! the tree as far as the nearest of them: the one that is halved next. Signs do not depend on radii, so that a larger or
//! smaller ball goes on with the domains there are.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rayon::prelude::*;

use super::domain::Domain;
use super::progress::Bounded;
use super::root::Root;
use super::{Deepened, Depth, HASTY, RENEWALS, Row, roots};
use crate::bounds::region::Region;
use crate::bounds::{Ball, Bounder};
use crate::device::Fit;
use crate::error::Result;

/// Bytes that the domains of a tree may take.
const MEMORY: usize = 1 << 29;

/// How often a domain in which no sign is left to assume is bounded again: its slopes and multipliers go on climbing.
const TRIES: u8 = 6;

/// Domains that a tree bounds at once, at least.
const AT_ONCE: usize = 16;

/// A ball, halved.
pub struct Tree {
    /// Radius of the ball.
    delta: f32,
    root: Arc<Root>,
    /// Bounds its domains.
    roomy: Bounder,
    /// One for each rival.
    rows: Vec<Row>,
    /// Domains still to be proved on the ball, the smallest reach first.
    open: BinaryHeap<Branch>,
    /// Those that are.
    settled: Vec<Branch>,
    /// No sign is left to assume in a domain that is open.
    stuck: bool,
    /// Domains bounded so far.
    domains: usize,
}

/// A domain, and how far it is proved.
struct Branch {
    /// Radius up to which its row is known to be positive on it.
    reach: f32,
    /// Where to halve it, once it was bounded on this ball.
    next: Option<(usize, usize)>,
    tries: u8,
    domain: Domain,
}

/// The smallest reach is the greatest, and among equals the domain of the most signs, so that few wait.
impl Ord for Branch {
    fn cmp(&self, other: &Branch) -> Ordering {
        let signs = |b: &Branch| b.domain.assumed.len();
        other.reach.total_cmp(&self.reach).then(signs(self).cmp(&signs(other)))
    }
}

impl PartialOrd for Branch {
    fn partial_cmp(&self, other: &Branch) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Branch {
    fn eq(&self, other: &Branch) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Branch {}

impl Tree {
    /// Radius of the ball.
    pub fn delta(&self) -> f32 {
        self.delta
    }

    /// Dominance is proved up to this radius, which only grows while the ball stays.
    pub fn reach(&self) -> f32 {
        self.open.peek().map_or(self.delta, |nearest| nearest.reach)
    }

    /// Whether dominance is proved on the ball.
    pub fn is_proved(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether halving goes no further on this ball.
    pub fn is_stuck(&self) -> bool {
        let one = |b: Option<&Branch>| b.map_or(0, |b| b.domain.bytes() + size_of::<Branch>());
        self.stuck || one(self.open.peek()) * self.open.len() + one(self.settled.last()) * self.settled.len() > MEMORY
    }

    /// Domains bounded so far.
    pub fn domains(&self) -> usize {
        self.domains
    }

    /// The domains to bound next, `most` or one less, two at least: those bounded before are halved.
    fn take(&mut self, most: usize) -> Vec<Branch> {
        let mut taken: Vec<Branch> = vec![];
        while (taken.is_empty() || taken.len() + 2 <= most)
            && let Some(branch) = self.open.pop()
        {
            match branch.next {
                None if branch.tries > TRIES => {
                    self.stuck = true;
                    self.open.push(branch);
                    break;
                }
                None => taken.push(branch),
                Some((node, neuron)) => {
                    let half = |domain| Branch { next: None, tries: 0, domain, ..branch };
                    taken.extend(branch.domain.halves(node, neuron).map(half));
                }
            }
        }
        taken
    }

    /// A domain was bounded.
    fn settle(&mut self, before: &Branch, bounded: Bounded) {
        self.domains += 1;
        let proved = bounded.lower > 0.0;
        let reach = if proved { self.delta } else { bounded.reach.min(self.delta).max(before.reach) };
        let branch = Branch { reach, next: bounded.next, tries: before.tries + 1, domain: bounded.domain };
        if reach < self.delta {
            self.open.push(branch);
        } else {
            // Of what is proved nobody asks again what is known there.
            self.settled.push(Branch { domain: branch.domain.moved(&self.root), ..branch });
        }
    }

    /// Goes on with another ball around the same image, on which `new` has been planted.
    pub fn replant(&mut self, new: Tree) {
        // Rows that are proved on the whole of the new ball need no domains.
        let open = |row: usize| new.open.iter().any(|branch| branch.domain.row == row);
        let whole: Vec<bool> = (0..new.rows.len()).map(|row| !open(row)).collect();
        let branches = std::mem::take(&mut self.open).into_iter().chain(std::mem::take(&mut self.settled));
        (self.delta, self.stuck, self.root) = (new.delta, false, new.root);
        self.domains += new.domains;
        for branch in branches {
            let domain = branch.domain.moved(&self.root);
            // What was proved of a larger ball holds on a smaller one.
            if whole[domain.row] || branch.reach >= self.delta {
                self.settled.push(Branch { domain, tries: 0, ..branch });
            } else {
                self.open.push(Branch { domain, tries: 0, next: None, ..branch });
            }
        }
    }
}

impl Bounder {
    /// A tree for each ball, not halved yet; none where nothing can be proved or halved, as around images. Starts from
    /// `crown` at least.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn plant(&self, balls: &[Ball<'_>]) -> Result<Vec<Option<Tree>>> {
        self.plant_deep(balls, Depth::NONE)
    }

    /// The same, the ends of neurons halved as deep as said.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn plant_deep(&self, balls: &[Ball<'_>], depth: Depth) -> Result<Vec<Option<Tree>>> {
        if self.goes_around() {
            return Ok(balls.iter().map(|_| None).collect());
        }
        let crown = self.for_domains(depth);
        let region = Region::balls(&crown, balls)?;
        let (rows, _) = crown.margins(balls.iter().map(|b| b.class));
        let Deepened { state, bounds, .. } = crown.deepened(&region, &rows, depth, false)?;
        let provable = state.known.provable()?;
        let Some((roomy, roots)) = roots(state)? else { return Ok(balls.iter().map(|_| None).collect()) };
        let tree = |(lane, (root, ball)): (usize, (Arc<Root>, &Ball<'_>))| {
            let own: Vec<usize> = (0..rows.len()).filter(|&r| rows[r].lane == lane).collect();
            let known = |r: usize| bounds.reach.as_ref().map_or(0.0, |reach| reach[r].min(ball.delta));
            let reach = |r: usize| if bounds.lower[r] > 0.0 { ball.delta } else { known(r) };
            let branch =
                |(row, &r)| Branch { reach: reach(r), next: None, tries: 0, domain: Domain::whole(row, &root) };
            let (settled, open): (Vec<Branch>, Vec<Branch>) =
                own.iter().enumerate().map(branch).partition(|b| b.reach >= ball.delta);
            provable[lane].then(|| Tree {
                delta: ball.delta,
                rows: own.iter().map(|&r| Row { lane: 0, ..rows[r].clone() }).collect(),
                open: open.into(),
                settled,
                root,
                roomy: roomy.clone(),
                stuck: false,
                domains: 1,
            })
        };
        Ok(roots.into_iter().zip(balls).enumerate().map(tree).collect())
    }
}

impl Tree {
    /// Bounds domains of each tree, about as many as asked for at most. Returns for each the points where a row is not
    /// positive, as far as f32 can tell: to be checked. They may lie outside the ball by roundings.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn grow(trees: &mut [&mut Tree], most: &[usize]) -> Result<Vec<Vec<Vec<f32>>>> {
        let Some(roomy) = trees.first().map(|tree| tree.roomy.clone()) else { return Ok(vec![]) };
        let (gpu, threads) = (roomy.device().is_gpu(), rayon::current_num_threads());
        let share = roomy.domains_at_once();
        let each = (if gpu { share } else { share * threads } / trees.len()).max(AT_ONCE);
        let taken: Vec<Vec<Branch>> =
            trees.iter_mut().zip(most).map(|(tree, most)| tree.take(each.min(*most).max(1))).collect();
        let batch: Vec<(usize, &Branch)> =
            taken.iter().enumerate().flat_map(|(t, own)| own.iter().map(move |b| (t, b))).collect();
        let part = if gpu { share } else { batch.len().div_ceil(threads).clamp(1, share) };
        let bound = |part: &[(usize, &Branch)]| {
            let rows: Vec<Row> = part.iter().map(|(t, b)| trees[*t].rows[b.domain.row].clone()).collect();
            let own = |(row, (_, b)): (usize, &(usize, &Branch))| Domain { row, ..b.domain.clone() };
            roomy.bound(&rows, &part.iter().enumerate().map(own).collect::<Vec<_>>(), HASTY, RENEWALS)
        };
        let bounded = Fit::new(if gpu { share } else { batch.len() }).run(&batch, |all| {
            Ok(all.par_chunks(part).map(bound).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
        })?;
        let mut broken: Vec<Vec<Vec<f32>>> = trees.iter().map(|_| vec![]).collect();
        let branches = taken.iter().enumerate().flat_map(|(t, own)| own.iter().map(move |b| (t, b)));
        for ((t, branch), mut found) in branches.zip(bounded) {
            found.domain.row = branch.domain.row;
            if !(found.lower > 0.0) {
                broken[t].extend(found.point.take());
            }
            trees[t].settle(branch, found);
        }
        Ok(broken)
    }
}
