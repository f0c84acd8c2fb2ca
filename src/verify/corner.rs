//! Local search over the corners of the box, for properties whose counterexamples lie there and whose outputs are flat in
//! between, so that no gradient leads to them. One input at a time goes to its other end, the one after which the sum of
//! what the constraints lack is least, though it may be more than before; an input that moved rests for a while (tabu search:
//! Mazure, Sais and Grégoire, "Tabu search for SAT", 1997).

use std::time::Duration;

use super::query::Queries;
use super::refute::Part;
use crate::error::Result;
use crate::network::Network;
use crate::rng::Rng;

/// Neighbours looked at in a step; of more inputs that vary so many are drawn.
const NEIGHBOURS: usize = 128;
/// Corners looked at for one property.
const CORNERS: usize = 1 << 17;
/// Steps without anything better, for every input that varies, before a search starts anew.
const PATIENCE: usize = 30;

/// One search for a counterexample to one alternative.
struct Search {
    case: usize,
    disjunct: usize,
    /// Inputs that vary.
    varying: Vec<usize>,
    x: Vec<f32>,
    /// For each of them the step from which on it may move again.
    rests: Vec<usize>,
    step: usize,
    /// The least lack since the last start, and when it was found.
    best: (f32, usize),
}

/// Searches the corners of open parts, property by property, for `share` of the time that each has left.
pub(super) fn run(net: &Network, queries: &mut Queries<'_>, open: &[Part], share: f64) -> Result<()> {
    for parts in open.chunk_by(|a, b| a.query == b.query) {
        let query = parts[0].query;
        if !queries.is_open(query) {
            continue;
        }
        let left = queries.all()[query].left();
        let least = left.saturating_sub(left.mul_f64(share));
        property(net, queries, parts, least)?;
    }
    Ok(())
}

/// One property, until it has no more than `least` of its time.
fn property(net: &Network, queries: &mut Queries<'_>, parts: &[Part], least: Duration) -> Result<()> {
    let query = parts[0].query;
    let mut rng = queries.get(query).rng.fork();
    let mut searches: Vec<Search> = vec![];
    for part in parts {
        for &disjunct in &part.open {
            searches.extend(Search::new(queries, part, disjunct, &mut rng));
        }
    }
    // Alternatives by turns, as many at once as a batch has room for.
    let (mut next, mut seen) = (0, 0);
    while !searches.is_empty() && seen < CORNERS && queries.is_open(query) && queries.all()[query].left() > least {
        let (mut turn, mut size) = (vec![], 0);
        while turn.len() < searches.len() && (turn.is_empty() || size < 2 * NEIGHBOURS) {
            let search = &mut searches[next];
            let moves = search.moves(&mut rng);
            size += moves.len();
            turn.push((next, moves));
            next = (next + 1) % searches.len();
        }
        seen += size;
        advance(net, queries, query, &mut searches, turn, &mut rng)?;
        queries.charge(&[query])?;
    }
    Ok(())
}

/// One step of some searches, each with the moves it may make.
fn advance(
    net: &Network,
    queries: &mut Queries<'_>,
    query: usize,
    searches: &mut [Search],
    turn: Vec<(usize, Vec<usize>)>,
    rng: &mut Rng,
) -> Result<()> {
    let asked = &queries.all()[query];
    let neighbour = |s: &Search, m: usize| {
        let (low, high) = &asked.inner[s.case];
        let (mut x, k) = (s.x.clone(), s.varying[m]);
        x[k] = if x[k] == high[k] { low[k] } else { high[k] };
        asked.pull(s.case, &mut x);
        x
    };
    let points: Vec<Vec<f32>> =
        turn.iter().flat_map(|(s, moves)| moves.iter().map(|&m| neighbour(&searches[*s], m))).collect();
    let net = net.until(queries.end(&[query]));
    let scores = |net: &Network, _: &mut Queries<'_>| net.scores(&points.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let Some(outputs) = queries.in_time(&net, &[query], scores)? else { return Ok(()) };
    let mut at = 0;
    for (s, moves) in turn {
        let search = &mut searches[s];
        let tests = &queries.all()[query].tests[search.case][search.disjunct];
        // The least lack of a move that is allowed, or better than anything so far; ties by chance.
        let mut chosen: Option<(f32, u32, usize)> = None;
        for (i, &m) in moves.iter().enumerate() {
            let lack: f32 = tests.iter().map(|t| t.value(|k| outputs[at + i][k]).max(0.0)).sum();
            if search.rests[m] <= search.step || lack < search.best.0 {
                let candidate = (lack, rng.next_u32(), i);
                if chosen.is_none_or(|c| (candidate.0, candidate.1) < (c.0, c.1)) {
                    chosen = Some(candidate);
                }
            }
        }
        if let Some((lack, _, i)) = chosen {
            search.take(moves[i], &points[at + i], lack, rng);
            let edge = queries.all()[query].edge(search.case, search.disjunct, &outputs[at + i]);
            if lack <= edge {
                let query = queries.get(query);
                query.examine(&net, search.case, search.disjunct, &points[at + i], &outputs[at + i]);
            }
        }
        at += moves.len();
        search.step += 1;
        if search.step > search.best.1 + PATIENCE * search.varying.len() {
            let (low, high) = &queries.all()[query].inner[search.case];
            search.restart(low, high, rng);
            queries.all()[query].pull(search.case, &mut search.x);
        }
    }
    Ok(())
}

impl Search {
    /// `None` where nothing varies.
    fn new(queries: &Queries<'_>, part: &Part, disjunct: usize, rng: &mut Rng) -> Option<Search> {
        let query = &queries.all()[part.query];
        let (low, high) = &query.inner[part.case];
        let varying: Vec<usize> = (0..low.len()).filter(|&k| low[k] < high[k]).collect();
        let rests = vec![0; varying.len()];
        let (x, best) = (low.clone(), (f32::INFINITY, 0));
        let mut search = Search { case: part.case, disjunct, varying, x, rests, step: 0, best };
        search.restart(low, high, rng);
        query.pull(part.case, &mut search.x);
        (!search.varying.is_empty()).then_some(search)
    }

    /// From a random corner.
    fn restart(&mut self, low: &[f32], high: &[f32], rng: &mut Rng) {
        for &k in &self.varying {
            self.x[k] = if rng.below(2) == 0 { low[k] } else { high[k] };
        }
        self.rests.fill(0);
        self.best = (f32::INFINITY, self.step);
    }

    /// Positions in `varying` of the inputs whose move is looked at.
    fn moves(&self, rng: &mut Rng) -> Vec<usize> {
        let n = self.varying.len();
        if n <= NEIGHBOURS { (0..n).collect() } else { (0..NEIGHBOURS).map(|_| rng.below(n)).collect() }
    }

    fn take(&mut self, m: usize, x: &[f32], lack: f32, rng: &mut Rng) {
        self.x.copy_from_slice(x);
        self.rests[m] = self.step + 2 + rng.below(3 + self.varying.len() / 16);
        if lack < self.best.0 {
            self.best = (lack, self.step);
        }
    }
}
