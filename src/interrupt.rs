//! Ctrl-C and a request to end: one line says what is kept and how to go on, and the exit code is 130.
//!
//! Work is not asked to stop at a convenient place, which on a large network may be minutes away. The process ends at
//! once, between two writes: whoever writes a file holds a [`shield`] meanwhile, and leaves a cleaner for what must not stay.
//!
//! A program that calls the library and means to outlive its work does not [`watch`]. It lets the work run in a thread that
//! [heeds](heed) its wish, which is [asked for](check) between two batches.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::terminal;

/// The exit code of a process that Ctrl-C has ended.
pub const EXIT: i32 = 130;

/// A write that takes longer hangs, on a network or a dead disk.
const PATIENCE: Duration = Duration::from_secs(10);

static WRITING: RwLock<()> = RwLock::new(());

struct Entry {
    id: usize,
    action: Action,
}

enum Action {
    Clean(Box<dyn Fn() + Send>),
    Say(Box<dyn Fn() -> String + Send>),
}

/// In the order in which they came.
static ENTRIES: Mutex<(usize, Vec<Entry>)> = Mutex::new((0, Vec::new()));

/// Holds off the end of the process while a file is written. Not to be taken where one is held already.
pub fn shield() -> RwLockReadGuard<'static, ()> {
    WRITING.read().unwrap_or_else(PoisonError::into_inner)
}

/// In force for as long as this lives.
#[must_use]
pub struct Registered(usize);

impl Drop for Registered {
    fn drop(&mut self) {
        ENTRIES.lock().unwrap_or_else(PoisonError::into_inner).1.retain(|entry| entry.id != self.0);
    }
}

fn register(action: Action) -> Registered {
    let mut entries = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
    entries.0 += 1;
    let id = entries.0;
    entries.1.push(Entry { id, action });
    Registered(id)
}

/// Cleans up when the process is ended meanwhile; the last one to come goes first.
pub fn clean(action: impl Fn() + Send + 'static) -> Registered {
    register(Action::Clean(Box::new(action)))
}

/// What to say when the process is ended meanwhile: what is kept, and how to go on.
pub fn say(text: impl Fn() -> String + Send + 'static) -> Registered {
    register(Action::Say(Box::new(text)))
}

/// What is said where a command keeps nothing until it is done.
pub fn say_nothing_written() -> Registered {
    say(|| "nothing was written or changed; run the command again".into())
}

thread_local! {
    static STOP: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// From here on, work of this thread ends with an error soon after `stop` was set.
pub fn heed(stop: Arc<AtomicBool>) {
    STOP.set(Some(stop));
}

/// Between two batches of work.
///
/// # Errors
/// If this thread heeds a wish to stop, which has come.
pub fn check() -> Result<()> {
    checker()()
}

/// [`check`] for threads that share the work of this one.
pub fn checker() -> impl Fn() -> Result<()> + Send + Sync + use<> {
    let stop = STOP.with_borrow(Option::clone);
    move || match &stop {
        Some(stop) if stop.load(Ordering::Relaxed) => Err(Error::failed("stopped")),
        Some(_) | None => Ok(()),
    }
}

/// For threads that take part in the work of this one: called there, they heed what this one heeds.
pub fn inherited() -> impl Fn() + Send + Sync + use<> {
    let stop = STOP.with_borrow(Option::clone);
    move || STOP.set(stop.clone())
}

/// Ends the process: its last words, its cleaners, its exit code.
fn end() -> ! {
    let patience = Instant::now();
    let gate = loop {
        match WRITING.try_write() {
            Ok(gate) => break Some(gate),
            Err(TryLockError::Poisoned(gate)) => break Some(gate.into_inner()),
            Err(TryLockError::WouldBlock) if patience.elapsed() > PATIENCE => break None,
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let entries = std::mem::take(&mut ENTRIES.lock().unwrap_or_else(PoisonError::into_inner).1);
    let words =
        entries.iter().rev().find_map(|entry| if let Action::Say(text) = &entry.action { Some(text()) } else { None });
    for entry in entries.iter().rev() {
        if let Action::Clean(action) = &entry.action {
            action();
        }
    }
    terminal::over_progress(match words {
        Some(words) => format!("deltamax: stopped; {words}"),
        None => "deltamax: stopped".into(),
    });
    drop(gate);
    leave()
}

/// Watches for Ctrl-C and requests to end, in a thread of its own. A signal that was to be ignored when the process began
/// (`nohup`, a job in the background of a script) stays ignored.
#[cfg(unix)]
pub fn watch() {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let ignored = ignored_signals();
    let signals = [SIGINT, SIGTERM].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    // Without a watcher the system ends the process, which leaves no half file either.
    if let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) {
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                end();
            }
        });
    }
}

/// One bit per signal, the first for signal 1; none where the system does not tell.
#[cfg(unix)]
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Drivers of GPUs, still at work in other threads, are not asked to shut down: some crash at that.
#[cfg(unix)]
fn leave() -> ! {
    signal_hook::low_level::exit(EXIT)
}

/// Watches for Ctrl-C and requests to end, in a thread of its own.
#[cfg(not(unix))]
pub fn watch() {
    // Without a watcher the system ends the process, which leaves no half file either.
    let _ = ctrlc::set_handler(|| end());
}

#[cfg(not(unix))]
fn leave() -> ! {
    std::process::exit(EXIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Fit;

    #[test]
    fn a_thread_stops_on_request_and_others_go_on() {
        let stop = Arc::new(AtomicBool::new(false));
        let wish = stop.clone();
        let stopped = std::thread::spawn(move || {
            heed(wish.clone());
            let mut seen = 0;
            let ended = Fit::new(1).run(&[(); 9], |part| {
                seen += 1;
                wish.store(seen == 3, Ordering::Relaxed);
                Ok(part.to_vec())
            });
            let shared = checker();
            let helper = std::thread::spawn(move || shared().is_err());
            (ended.unwrap_err().to_string(), seen, helper.join().unwrap())
        });
        assert_eq!(stopped.join().unwrap(), ("stopped".to_string(), 3, true));
        assert!(stop.load(Ordering::Relaxed) && check().is_ok());
    }
}
