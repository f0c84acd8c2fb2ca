//! Batches of images on their way through a search: one, or several in flight at once, each in a thread of its own.
//!
//! What a flight works on, and what it learns from, does not depend on how fast the others are: radii are the same from run
//! to run. Images are dealt out in turn, and only a flight's own images tell it where to look first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, mpsc};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::track::Track;
use super::{Found, Settings, Subject, is_deep, search};
use crate::bounds::{Ball, Bounder, Method, Outcome};
use crate::device::Fit;
use crate::error::{Error, Result};
use crate::interrupt;

/// Longer than anyone waits, and still a time that clocks can tell.
const FOREVER: f64 = 1e8;

/// Images that wait for each flight at most.
const AHEAD: usize = 1024;

/// Tracks that are worth a task of their own.
const WORTHWHILE: usize = 32;

/// A search, as its flights have it in common.
#[derive(Clone, Copy)]
pub(super) struct Flights<'a> {
    pub bounder: &'a Bounder,
    pub settings: &'a Settings,
    /// [`Bounder::probe`].
    pub probe: &'a Probe,
}

/// Bounds of a batch of balls, in order.
pub(super) type Probe = dyn Fn(&Bounder, &[Ball<'_>]) -> Result<Vec<Outcome>> + Sync;

/// Who may use the device: all flights at once, until there is no memory for that.
#[derive(Default)]
struct Room {
    turns: RwLock<()>,
    full: AtomicBool,
}

impl Room {
    /// Does some work beside that of others, and where memory runs out once more by itself.
    fn share<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        if !self.full.load(Ordering::Relaxed) {
            let _beside = self.turns.read().unwrap_or_else(PoisonError::into_inner);
            match work() {
                Err(Error::Memory(what)) => tracing::info!("{what}; going on with one batch at a time"),
                done => return done,
            }
            self.full.store(true, Ordering::Relaxed);
        }
        let _alone = self.turns.write().unwrap_or_else(PoisonError::into_inner);
        work()
    }
}

impl Flights<'_> {
    /// Searches all subjects and hands over what is found, in the thread that calls and in any order.
    pub fn run(
        self,
        mut subjects: impl Iterator<Item = (usize, Subject)> + Send,
        mut hand_over: impl FnMut(Vec<(usize, Found)>) -> Result<()>,
    ) -> Result<()> {
        let flights = self.at_most();
        // What fits into one batch is one.
        let first: Vec<_> = subjects.by_ref().take(if flights > 1 { self.settings.batch + 1 } else { 0 }).collect();
        let alone = first.len() <= self.settings.batch;
        let mut subjects = first.into_iter().chain(subjects);
        if alone {
            return self.fly(None, || subjects.next(), hand_over);
        }
        let (room, heed) = (Room::default(), interrupt::inherited());
        std::thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            let mut hands = vec![];
            for _ in 0..flights {
                let (hand, own) = mpsc::sync_channel(AHEAD);
                hands.push(hand);
                let (sender, bounder, room, heed) = (sender.clone(), self.bounder.apart(), &room, &heed);
                scope.spawn(move || {
                    heed();
                    // Nobody listens any more where another flight, or who takes what was found, met an error.
                    let found = |found| sender.send(Ok(found)).map_err(|_| Error::failed("stopped"));
                    let flight = Flights { bounder: &bounder, ..self };
                    if let Err(error) = flight.fly(Some(room), || own.recv().ok(), found) {
                        let _ = sender.send(Err(error));
                    }
                });
            }
            drop(sender);
            scope.spawn(|| {
                heed();
                // Of flights that are over, none is to go on.
                let _ =
                    subjects.try_for_each(|(position, subject)| hands[position % flights].send((position, subject)));
                drop(hands);
            });
            receiver.into_iter().try_for_each(|found| hand_over(found?))
        })
    }

    /// Images share their time with others of one batch only. And a thread of the pool waits for flights without helping
    /// with what they ask of the pool.
    fn at_most(&self) -> usize {
        let one = self.settings.seconds.is_some() || rayon::current_thread_index().is_some();
        if one { 1 } else { self.settings.in_flight }
    }

    /// Searches what `next` gives, a batch at a time, and hands over after each probe what is finished.
    fn fly(
        self,
        room: Option<&Room>,
        mut next: impl FnMut() -> Option<(usize, Subject)>,
        mut hand_over: impl FnMut(Vec<(usize, Found)>) -> Result<()>,
    ) -> Result<()> {
        let Flights { bounder, settings, probe } = self;
        let mut active: Vec<Track> = Vec::new();
        let mut recent = Vec::new();
        let mut fit = Fit::new(settings.batch);
        loop {
            let usual = median(&recent).filter(|_| settings.learns).unwrap_or(settings.usual);
            while active.len() < settings.batch {
                let Some((position, subject)) = next() else { break };
                let started = Instant::now();
                let floor = if settings.seconds.is_some() { floor(bounder, &subject)? } else { None };
                let mut track = Track::new(position, subject, bounder.method.relaxes(), usual, settings);
                if let Some(floor) = floor {
                    track.start_from(floor);
                }
                track.seconds = started.elapsed().as_secs_f64();
                active.push(track);
            }
            if active.is_empty() {
                return Ok(());
            }
            let balls: Vec<Ball<'_>> = active
                .iter()
                .map(|t| Ball { image: &t.subject.image, class: t.subject.class, delta: t.next })
                .collect();
            let started = Instant::now();
            let left = settings.seconds.map(|s| active.iter().map(|t| s - t.seconds).sum::<f64>());
            let own = left.map(|left| started + Duration::from_secs_f64(left.clamp(0.0, FOREVER)));
            let mut timed = bounder.clone();
            timed.deadline = own.or(bounder.deadline);
            let bound = |balls: &[Ball<'_>]| match room {
                Some(room) => room.share(|| probe(&timed, balls)),
                None => in_pool(&timed, || probe(&timed, balls)),
            };
            let outcomes = match fit.run(&balls, bound) {
                Err(Error::Timeout) if own.is_some() => None,
                outcomes => Some(outcomes?),
            };
            let share = started.elapsed().as_secs_f64() / active.len() as f64;
            active.par_iter_mut().enumerate().with_min_len(WORTHWHILE).for_each(|(i, track)| {
                track.seconds += share;
                match &outcomes {
                    Some(outcomes) => track.update(&outcomes[i], settings),
                    None => track.done = true,
                }
                track.done |= settings.seconds.is_some_and(|s| track.seconds >= s);
            });
            let done = active.extract_if(.., |t| t.done);
            let finished: Vec<(usize, Found)> = done
                .map(|t| {
                    recent.push(t.low / t.estimate().max(f32::MIN_POSITIVE));
                    (t.position, t.found())
                })
                .collect();
            if recent.len() > 512 {
                recent.drain(..256);
            }
            hand_over(finished)?;
        }
    }
}

/// On the CPU backend, in one of the threads that its kernels share: each of a probe's many kernels would else be handed over to
/// them, and be waited for, by one that looks on. That thread serves others afterwards: a wish to stop is heeded by the one that
/// asks, between two probes.
fn in_pool<T: Send>(bounder: &Bounder, work: impl FnOnce() -> T + Send) -> T {
    if bounder.net.device.is_gpu() { work() } else { rayon::scope(|_| work()) }
}

/// What bounds prove of a deep network that cost next to nothing.
fn floor(bounder: &Bounder, subject: &Subject) -> Result<Option<Found>> {
    if !is_deep(bounder) {
        return Ok(None);
    }
    let mut cheap = bounder.clone();
    (cheap.method, cheap.depth) = (Method::CrownIbp, None);
    let mut proved = None;
    search(&cheap, &Settings::new(&cheap), [subject.clone()], |_, found| {
        proved = Some(found).filter(|f| f.proved > 0.0);
        Ok(())
    })?;
    Ok(proved)
}

fn median(values: &[f32]) -> Option<f32> {
    let mut positive: Vec<f32> = values.iter().copied().filter(|v| *v > 0.0).collect();
    positive.sort_by(f32::total_cmp);
    positive.get(positive.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::{Arc, Condvar, Mutex};

    use super::*;
    use crate::device::Device;
    use crate::model::cnn::{Architecture, cnn};
    use crate::network::Network;
    use crate::rng::Rng;
    use crate::tensor::Shape;

    const IMAGES: usize = 45;

    fn bounder(device: &Device) -> Bounder {
        let classes = ["a", "b", "c"].map(String::from);
        let model = cnn(Shape::new(1, 8, 8), &classes, &Architecture::strided(&[4], 8), 3).unwrap();
        Bounder::new(&Network::new(device, &model).unwrap(), Method::CrownIbp).unwrap()
    }

    fn subjects(bounder: &Bounder) -> Vec<Subject> {
        let mut rng = Rng::new(7, 0);
        let images: Vec<Vec<f32>> = (0..IMAGES).map(|_| (0..64).map(|_| rng.uniform()).collect()).collect();
        Subject::classify(&bounder.net, &images.iter().map(|i| &i[..]).collect::<Vec<_>>()).unwrap()
    }

    fn settings(bounder: &Bounder, in_flight: usize) -> Settings {
        Settings { batch: 8, in_flight, ..Settings::new(bounder) }
    }

    /// The radii of all images, in order, as bits.
    fn radii(bounder: &Bounder, settings: &Settings) -> Vec<u32> {
        let mut all = vec![];
        search(bounder, settings, subjects(bounder), |position, found| {
            assert_eq!(position, all.len());
            all.push(found.proved.to_bits());
            Ok(())
        })
        .unwrap();
        all
    }

    /// What becomes of a search that probes in this way, in a thread of its own, which has to come to an end.
    fn ends(probe: impl Fn(&Bounder, &[Ball<'_>]) -> Result<Vec<Outcome>> + Send + Sync + 'static) -> Result<usize> {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let bounder = bounder(&Device::cpu());
            let (settings, mut found) = (settings(&bounder, 2), 0);
            let flights = Flights { bounder: &bounder, settings: &settings, probe: &probe };
            let ended = flights.run(subjects(&bounder).into_iter().enumerate(), |some| {
                found += some.len();
                Ok(())
            });
            sender.send(ended.map(|()| found)).unwrap();
        });
        receiver.recv_timeout(Duration::from_secs(60)).expect("it hangs")
    }

    #[test]
    fn flights_find_what_one_finds_and_the_same_every_time() {
        let bounder = bounder(&Device::cpu());
        let unlearned = |in_flight| Settings { learns: false, ..settings(&bounder, in_flight) };
        let alone = radii(&bounder, &unlearned(1));
        assert!(alone.len() == IMAGES && alone.iter().filter(|r| **r > 0).count() > IMAGES / 2);
        assert!((2..5).all(|flights| radii(&bounder, &unlearned(flights)) == alone));
        let learned = radii(&bounder, &settings(&bounder, 2));
        assert!((0..5).all(|_| radii(&bounder, &settings(&bounder, 2)) == learned));
    }

    #[test]
    fn a_batch_is_bounded_before_the_one_before_is_done() {
        let (begun, both) = (Arc::new(Mutex::new(0)), Arc::new(Condvar::new()));
        let found = ends(move |bounder, balls| {
            let mut begun = begun.lock().unwrap();
            *begun += 1;
            both.notify_all();
            let (begun, waited) = both.wait_timeout_while(begun, Duration::from_secs(30), |begun| *begun < 2).unwrap();
            drop(begun);
            if waited.timed_out() { Err(Error::failed("one after the other")) } else { bounder.probe(balls) }
        });
        assert_eq!(found.unwrap(), IMAGES);
    }

    #[test]
    fn an_error_in_one_flight_ends_all() {
        let probes = AtomicUsize::new(0);
        let failed = ends(move |bounder, balls| match probes.fetch_add(1, Ordering::Relaxed) {
            5 => Err(Error::failed("a fault")),
            _ => bounder.probe(balls),
        });
        assert_eq!(failed.unwrap_err().to_string(), "a fault");
    }

    #[test]
    fn a_wish_to_stop_and_an_error_of_who_listens_end_all() {
        let bounder = bounder(&Device::cpu());
        let mut taken = 0;
        let refused = search(&bounder, &settings(&bounder, 2), subjects(&bounder), |_, _| {
            taken += 1;
            if taken == 3 { Err(Error::failed("a full disk")) } else { Ok(()) }
        });
        assert_eq!((refused.unwrap_err().to_string(), taken), ("a full disk".into(), 3));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = std::thread::spawn(move || {
            interrupt::heed(stop.clone());
            search(&bounder, &settings(&bounder, 2), subjects(&bounder), |_, _| {
                stop.store(true, Ordering::Relaxed);
                Ok(())
            })
        });
        assert_eq!(stopped.join().unwrap().unwrap_err().to_string(), "stopped");
    }

    #[test]
    fn where_there_is_memory_for_one_batch_only_they_take_turns() {
        let (inside, turns) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let most = Arc::new(AtomicUsize::new(0));
        let (seen, largest) = (turns.clone(), most.clone());
        let found = ends(move |bounder, balls| {
            let others = inside.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(2));
            let outcomes = if others > 0 { Err(Error::Memory("full".into())) } else { bounder.probe(balls) };
            inside.fetch_sub(1, Ordering::SeqCst);
            seen.fetch_add(usize::from(outcomes.is_err()), Ordering::Relaxed);
            largest.fetch_max(balls.len(), Ordering::Relaxed);
            outcomes
        });
        assert_eq!((found.unwrap(), most.load(Ordering::Relaxed)), (IMAGES, 8));
        assert!(turns.load(Ordering::Relaxed) <= 2, "it runs out of memory again and again");
    }
}
