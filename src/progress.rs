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

/// Time between two plain lines.
const EVERY: Duration = Duration::from_secs(10);

/// Work that takes longer is announced once its pace is known, as soon as it has been watched for [`WATCHED`].
const LONG: f64 = 20.0;
const WATCHED: Duration = Duration::from_secs(3);

/// One stretch of work with a known number of steps.
pub struct Progress {
    bar: Option<Bar>,
    /// What is done and when a plain line was last written, unless quiet.
    what: Option<(String, Instant)>,
    total: u64,
    done: u64,
    pace: Pace,
    /// How often the same work comes once more.
    again: u64,
    announced: bool,
}

impl Progress {
    /// Starts `total` steps of `what`.
    pub fn start(verbosity: Verbosity, what: &str, total: usize) -> Progress {
        let loud = verbosity == Verbosity::Normal;
        Progress {
            bar: if loud { Bar::new(what, total) } else { None },
            what: loud.then(|| (what.to_string(), Instant::now())),
            total: total as u64,
            done: 0,
            pace: Pace::default(),
            again: 0,
            announced: false,
        }
    }

    /// Says that the same work comes this many times more, so that the time of all of it can be told.
    pub fn again(mut self, times: usize) -> Progress {
        self.again = times as u64;
        self
    }

    /// `n` steps were done earlier, and say nothing of the pace.
    pub fn skip(&mut self, n: usize) {
        self.total = self.total.saturating_sub(n as u64);
        if let Some(bar) = &self.bar {
            bar.skip(n);
        }
    }

    /// Those of some images, a step each, that are not known yet; the others are skipped.
    pub fn left(&mut self, images: impl ExactSizeIterator<Item = usize>, known: impl Fn(usize) -> bool) -> Vec<usize> {
        let all = images.len();
        let left: Vec<usize> = images.filter(|&i| !known(i)).collect();
        self.skip(all - left.len());
        left
    }

    /// `n` more steps are done.
    pub fn advance(&mut self, n: usize) {
        self.done += n as u64;
        let now = Instant::now();
        self.pace.step(self.done, now);
        let left = self.pace.left(self.done, self.total, now);
        if let Some(bar) = &self.bar {
            bar.advance(n, left);
        }
        let Some((what, printed)) = &mut self.what else { return };
        if self.done >= self.total {
            return;
        }
        let announce = |left: f64| !self.announced && left > LONG && self.pace.watched(now) > WATCHED;
        if let Some((rate, left)) = left.filter(|(_, left)| announce(left + self.again as f64 * left)) {
            self.announced = true;
            let all = left + self.again as f64 * self.total as f64 / rate;
            let times = if self.again == 1 { "once" } else { &format!("{} times", self.again) };
            let more = match self.again {
                0 => String::new(),
                _ => format!(", and the same {times} more: about {} in all", duration(all)),
            };
            let line = format!("{what}: this takes about {}{more}", duration(left));
            *printed = now;
            match &self.bar {
                Some(bar) => bar.say(&line),
                None => terminal::note(line),
            }
        } else if self.bar.is_none() && printed.elapsed() > EVERY {
            *printed = now;
            let pace = left.map_or(String::new(), |(rate, left)| format!(", {rate:.1}/s, {} left", duration(left)));
            terminal::note(format_args!("{what}: {}/{}{pace}", self.done, self.total));
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
        if self.what.is_some() {
            terminal::note(line);
        }
    }
}

/// `4.2 s`, `38 s`, `3.4 min`, `1.5 h`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// How fast steps come. They come in batches, of which the first may take longer than the others and says nothing yet.
#[derive(Default)]
struct Pace {
    /// When the first batch was done, and how many steps it had.
    first: Option<(Instant, u64)>,
    /// When the last step came.
    last: Option<Instant>,
    /// Whether a second batch has come.
    second: bool,
}

impl Pace {
    /// Steps that come closer together than this are one batch.
    const BATCH: Duration = Duration::from_millis(50);

    fn step(&mut self, done: u64, now: Instant) {
        let apart = self.last.is_none_or(|last| now.duration_since(last) > Pace::BATCH);
        match &mut self.first {
            None => self.first = Some((now, done)),
            Some(first) if !apart && !self.second => *first = (now, done),
            Some(_) => self.second = true,
        }
        self.last = Some(now);
    }

    /// Steps per second, once two batches are done.
    fn rate(&self, done: u64, now: Instant) -> Option<f64> {
        let (at, before) = self.first.filter(|_| self.second)?;
        let rate = (done - before) as f64 / now.duration_since(at).as_secs_f64();
        (rate > 0.0 && rate.is_finite()).then_some(rate)
    }

    /// Steps per second and seconds left.
    fn left(&self, done: u64, total: u64, now: Instant) -> Option<(f64, f64)> {
        let rate = self.rate(done, now)?;
        Some((rate, total.saturating_sub(done) as f64 / rate))
    }

    /// For how long the pace has been watched.
    fn watched(&self, now: Instant) -> Duration {
        self.first.map_or(Duration::ZERO, |(at, _)| now.duration_since(at))
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
            let template = "{msg:28} [{bar:32}] {pos}/{len}  {prefix}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_message(what.to_string());
            Some(Bar(bar))
        }

        /// `n` steps more; the pace in steps per second, and seconds left.
        pub fn advance(&self, n: usize, pace: Option<(f64, f64)>) {
            let text = pace.map(|(rate, left)| format!("{rate:.1}/s  {} left", super::duration(left)));
            self.0.set_prefix(text.unwrap_or_default());
            self.0.inc(n as u64);
        }

        pub fn skip(&self, n: usize) {
            self.0.set_length(self.0.length().unwrap_or(0).saturating_sub(n as u64));
        }

        pub fn say(&self, line: &str) {
            self.0.println(line);
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

        pub fn advance(&self, _: usize, _: Option<(f64, f64)>) {
            match *self {}
        }

        pub fn skip(&self, _: usize) {
            match *self {}
        }

        pub fn say(&self, _: &str) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_known_after_two_batches() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut pace = Pace::default();
        // A slow first batch of four, step by step.
        for (done, ms) in [(1, 9000), (2, 9001), (3, 9002), (4, 9003)] {
            pace.step(done, at(ms));
            assert_eq!(pace.left(done, 12, at(ms)), None);
        }
        pace.step(8, at(11_003));
        assert_eq!(pace.left(8, 12, at(11_003)), Some((2.0, 2.0)));
        assert_eq!(Pace::default().left(0, 12, at(0)), None);
    }

    #[test]
    fn times_are_short() {
        assert_eq!([4.23, 38.4, 204.0, 5400.0].map(duration), ["4.2 s", "38 s", "3.4 min", "1.5 h"]);
    }
}
