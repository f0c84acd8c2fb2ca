//! How long work shows itself: a bar on a terminal, plain lines otherwise, nothing when quiet. Bars are the command line's.

use std::time::{Duration, Instant};

use self::bar::Bar;
use crate::terminal;

/// Whether to show anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Nothing is written.
    Quiet,
    /// Progress and notes go to standard error.
    Normal,
}

/// One stretch of work with a known number of steps.
pub struct Progress {
    bar: Option<Bar>,
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
        progress.bar = Bar::new(what, total);
        if progress.bar.is_none() {
            progress.plain = Some((what.to_string(), total as u64, Instant::now(), Instant::now()));
        }
        progress
    }

    /// `n` more steps are done.
    pub fn advance(&mut self, n: usize) {
        self.done += n as u64;
        if let Some(bar) = &self.bar {
            bar.advance(n);
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
            bar.note(text);
        }
    }

    /// Ends the stretch with a line.
    pub fn finish(self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.clear();
        }
        if self.bar.is_some() || self.plain.is_some() {
            terminal::note(line);
        }
    }
}

#[cfg(feature = "cli")]
mod bar {
    use std::io::IsTerminal;

    use indicatif::{ProgressBar, ProgressStyle};

    pub struct Bar(ProgressBar);

    impl Bar {
        /// None where standard error is no terminal.
        pub fn new(what: &str, total: usize) -> Option<Bar> {
            if !std::io::stderr().is_terminal() {
                return None;
            }
            let bar = ProgressBar::new(total as u64);
            let template = "{msg:28} [{bar:32}] {pos}/{len}  {per_sec:>10}  {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(what.to_string());
            Some(Bar(bar))
        }

        pub fn advance(&self, n: usize) {
            self.0.inc(n as u64);
        }

        pub fn note(&self, text: &str) {
            self.0.set_message(text.to_string());
        }

        pub fn clear(&self) {
            self.0.finish_and_clear();
        }
    }
}

#[cfg(not(feature = "cli"))]
mod bar {
    pub enum Bar {}

    impl Bar {
        pub fn new(_: &str, _: usize) -> Option<Bar> {
            None
        }

        pub fn advance(&self, _: usize) {
            match *self {}
        }

        pub fn note(&self, _: &str) {
            match *self {}
        }

        pub fn clear(&self) {
            match *self {}
        }
    }
}
