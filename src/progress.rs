//! How long work shows itself: a bar on a terminal, plain lines otherwise, nothing when quiet.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal;

/// Whether to show anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    Quiet,
    Normal,
}

/// One stretch of work with a known number of steps.
pub struct Progress {
    bar: Option<ProgressBar>,
    /// Plain lines: what, total, started, last printed.
    plain: Option<(String, u64, Instant, Instant)>,
    done: u64,
}

impl Progress {
    /// Starts `total` steps of `what`.
    pub fn start(verbosity: Verbosity, what: &str, total: usize) -> Progress {
        let mut progress = Progress { bar: None, plain: None, done: 0 };
        if verbosity == Verbosity::Quiet {
            return progress;
        }
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(total as u64);
            let template = "{msg:28} [{bar:32}] {pos}/{len}  {per_sec:>10}  {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(what.to_string());
            progress.bar = Some(bar);
        } else {
            progress.plain = Some((what.to_string(), total as u64, Instant::now(), Instant::now()));
        }
        progress
    }

    /// `n` more steps are done.
    pub fn advance(&mut self, n: usize) {
        self.done += n as u64;
        if let Some(bar) = &self.bar {
            bar.inc(n as u64);
        }
        if let Some((what, total, started, printed)) = &mut self.plain
            && printed.elapsed() > Duration::from_secs(10)
            && self.done < *total
        {
            *printed = Instant::now();
            let rate = self.done as f64 / started.elapsed().as_secs_f64();
            let left = (*total - self.done) as f64 / rate;
            terminal::note(format_args!("{what}: {}/{total}, {rate:.1}/s, {left:.0} s left", self.done));
        }
    }

    /// Says something beside the bar, for example the loss.
    pub fn note(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_string());
        }
    }

    /// Ends the stretch with a line.
    pub fn finish(self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if self.bar.is_some() || self.plain.is_some() {
            terminal::note(line);
        }
    }
}
