//! Method `alpha` (Xu et al., "Fast and Complete", 2021): lower slopes of ReLUs moved up the gradient of the worst margin.
//!
//! The slopes of an image serve all its margins; the bounds of its neurons have slopes of their own
//! (`intermediate.rs`). No slope in [0,1] is unsound, so that nothing here has to be exact: what counts is bounded anew.

mod intermediate;
mod margins;

use super::evaluate::Bounds;
use super::linearised::Linearised;
use super::{Row, graph};
use crate::error::Result;

use margins::climb;
pub(super) use margins::{Effort, Run, ascend};

/// What is spent on the margins.
const MARGINS: Effort = Effort { rounds: 3, steps: 7, rate: 0.3 };

/// And once more when the neurons behind them are bounded better.
const AGAIN: Effort = Effort { rounds: 1, steps: 7, rate: 0.1 };

/// Slopes of the margins first, then those of the neurons behind them, then those of the margins again. Replaces the
/// bounds of every region that gets better, and after every round tells `kept` which did.
pub(super) fn optimise(
    state: &mut Linearised<'_>,
    rows: &[Row],
    best: &mut Bounds,
    want_slopes: bool,
    mut kept: impl FnMut(&Linearised<'_>, &[bool]) -> Result<()>,
) -> Result<()> {
    if rows.is_empty() || graph::relus(&state.bounder().net).next().is_none() {
        return Ok(());
    }
    climb(state, rows, best, want_slopes, MARGINS, &mut kept)?;
    // The slopes of neurons climb rows that reach the input.
    if state.bounder().depth.is_some() {
        return Ok(());
    }
    let worst = best.worst_rows(rows, state.region().count);
    intermediate::improve(state, rows, &worst)?;
    let next = state.bounder().evaluate(state, rows, want_slopes)?;
    kept(state, &best.keep_better(&next, rows, state.region().count))?;
    climb(state, rows, best, want_slopes, AGAIN, &mut kept)
}
