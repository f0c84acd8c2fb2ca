//! Delta max for every image of a test set, clean and under noise: rows as they come, resumable.

pub mod again;
pub mod answers;
pub mod audit;
pub mod depth;
pub mod manifest;
pub mod merge;
mod options;
mod subjects;
pub mod table;

pub use options::Options;
pub(crate) use subjects::classify;

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::attack::{self, Hit};
use crate::bounds::{Ball, Bounder, Method, Proof};
use crate::close::{self, Bracket, Closed};
use crate::dataset::Dataset;
use crate::device::Fit;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::results::CertifyRow;
use crate::results::certificate::Certificate;
use crate::search::{self, Found, Subject};

/// Images are stored as u8/255, which is not an f32: a ball around the nearest f32 holds the ball around the true
/// value with this much less radius.
pub(crate) const PIXEL_ROUNDING: f32 = 1.0 / (1u32 << 24) as f32;

/// Images classified and attacked at once while others are searched.
const PART: usize = 1024;

/// What to certify.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Noise added before certifying (draw 0); 0 is the clean image.
    pub variances: Vec<f64>,
    /// Of the noise.
    pub seed: u64,
    /// Images `range` of the data, in order.
    pub range: std::ops::Range<usize>,
    /// How hard to search for the radius.
    pub search: search::Settings,
    /// Also attack every image; `None` leaves the upper end open.
    pub attack: Option<attack::Settings>,
    /// Close the brackets further by branch and bound.
    pub close: Option<close::Settings>,
}

/// Where the rows of a run go, in order.
pub trait Sink {
    /// Whether the row is there already, so that nothing is to be done for it.
    fn knows(&self, index: usize, variance: f64) -> bool;

    /// Whether what proves this image's radii is to be kept, which takes another pass of bounds.
    fn wants_proof(&self, index: usize) -> bool;

    /// Takes what proves a radius, before its row comes.
    ///
    /// # Errors
    /// What stops the run: a full disk, say.
    fn proof(&mut self, index: usize, variance: f64, certificate: &Certificate) -> Result<()>;

    /// Takes a row.
    ///
    /// # Errors
    /// What stops the run.
    fn row(&mut self, row: CertifyRow) -> Result<()>;
}

/// In memory, from the beginning, without proofs.
impl Sink for Vec<CertifyRow> {
    fn knows(&self, _: usize, _: f64) -> bool {
        false
    }

    fn wants_proof(&self, _: usize) -> bool {
        false
    }

    fn proof(&mut self, _: usize, _: f64, _: &Certificate) -> Result<()> {
        Ok(())
    }

    fn row(&mut self, row: CertifyRow) -> Result<()> {
        self.push(row);
        Ok(())
    }
}

/// Certifies every image of the range at every variance, but those that the sink knows.
///
/// # Errors
/// A fault of the device, or of the sink.
pub fn certify(
    bounder: &Bounder,
    data: &Dataset,
    settings: &Settings,
    sink: &mut impl Sink,
    progress: &mut Progress,
) -> Result<()> {
    let gpu = bounder.net.device.is_gpu();
    let block = (4 * settings.search.batch).max(1024);
    for &variance in &settings.variances {
        let todo = progress.left(settings.range.clone(), |i| sink.knows(i, variance));
        let run = Run { bounder, data, settings, variance };
        // A GPU is not to run empty at the end of every block, and classifies and attacks some images while it searches others.
        let (block, part) = if gpu { (todo.len(), PART) } else { (block, block) };
        todo.chunks(block.max(1)).try_for_each(|block| run.block(block, part, sink, progress))?;
    }
    Ok(())
}

/// One image whose radius is searched.
struct Open {
    index: usize,
    subject: Subject,
    found: Found,
    bracket: Bracket,
}

/// What all images of a block have in common.
struct Run<'a> {
    bounder: &'a Bounder,
    data: &'a Dataset,
    settings: &'a Settings,
    variance: f64,
}

impl Run<'_> {
    /// Certifies a block of images, so many of which at a time are made ready for the search.
    fn block(&self, block: &[usize], part: usize, sink: &mut impl Sink, progress: &mut Progress) -> Result<()> {
        let Run { bounder, settings, .. } = *self;
        // What comes out of the search has its order.
        let (ready, failed) = (Mutex::new(VecDeque::new()), Mutex::new(None));
        let prepare = |part: &[usize]| {
            let subjects = subjects::subjects(bounder, self.data, part, self.variance, settings.seed)?;
            let hits = match &settings.attack {
                Some(attack) => attacks(bounder, &subjects, attack, |hit| (hit.distance, hit.class))?,
                None => vec![None; subjects.len()],
            };
            lock(&ready).extend(subjects.iter().cloned().zip(hits));
            Ok(subjects)
        };
        let subjects = block.chunks(part).map(prepare);
        let subjects = subjects.map_while(|subjects| subjects.map_err(|error| *lock(&failed) = Some(error)).ok());
        // Brackets are closed side by side, so their rows come together: no more of them than keep the device busy.
        let busy = if bounder.net.device.is_gpu() { settings.search.batch } else { 4 * rayon::current_num_threads() };
        let together = if settings.close.is_some() { busy.min(settings.search.batch) } else { 1 };
        let mut waiting = Vec::with_capacity(together);
        search::search(bounder, &settings.search, subjects.flatten(), |at, found| {
            let (subject, attacked) = lock(&ready).pop_front().expect("what is searched was made ready");
            let bracket = Bracket { proved: found.proved, attacked };
            waiting.push(Open { index: block[at], subject, found, bracket });
            if waiting.len() == together || at + 1 == block.len() {
                self.finish(std::mem::take(&mut waiting), sink, progress)?;
            }
            Ok(())
        })?;
        lock(&failed).take().map_or(Ok(()), Err)
    }

    /// Closes brackets, if asked to, and hands over the rows.
    fn finish(&self, open: Vec<Open>, sink: &mut impl Sink, progress: &mut Progress) -> Result<()> {
        let closed = match &self.settings.close {
            Some(close) => {
                let subjects: Vec<Subject> = open.iter().map(|o| o.subject.clone()).collect();
                let brackets: Vec<Bracket> = open.iter().map(|o| o.bracket.clone()).collect();
                let spent: Vec<f64> = open.iter().map(|o| o.found.seconds).collect();
                close::close(self.bounder, close, &subjects, &brackets, &spent)?
            }
            None => open.iter().map(|o| Closed::untouched(&o.bracket)).collect(),
        };
        for (open, closed) in open.into_iter().zip(closed) {
            let Closed { bracket, domains, .. } = &closed;
            let mut radius = bracket.proved;
            if radius > 0.0 && sink.wants_proof(open.index) {
                let proof = self.prove_again(&open, radius, &closed)?;
                sink.proof(open.index, self.variance, &proof.certificate)?;
                // What it proves may be a hair less than what the search found.
                radius = radius.min(proof.radius);
            }
            progress.advance(1);
            sink.row(self.row(&open, bracket, radius, *domains)?)?;
        }
        Ok(())
    }

    /// The lines, and where brackets were closed the domains, behind a radius.
    fn prove_again(&self, open: &Open, radius: f32, closed: &Closed) -> Result<Proof> {
        let found = &open.found;
        let ball = |delta| Ball { image: &open.subject.image, class: open.subject.class, delta };
        // From the beginning on one ball, where the search went from ball to ball.
        if radius > found.proved
            && let Some(proof) = self.bounder.branch_proof(&ball(radius), 2 * closed.domains + 256, closed.depth)?
            && proof.radius > found.proved
        {
            return Ok(proof);
        }
        let proof = self.bounder.proofs(&[ball(found.ball)])?.remove(0);
        Ok(Proof { radius: proof.radius.min(found.proved), ..proof })
    }

    fn row(&self, open: &Open, bracket: &Bracket, radius: f32, domains: usize) -> Result<CertifyRow> {
        let Open { index, subject, found, .. } = open;
        let branched = radius > found.proved;
        let attacked = bracket.attacked.map(|(distance, _)| distance);
        let (proved, attacked) = ends(self.bounder, format_args!("image {index}"), radius, attacked)?;
        Ok(CertifyRow {
            index: *index,
            file: self.data.names[*index].clone(),
            label: self.data.labels[*index],
            predicted: subject.class,
            variance: self.variance,
            proved: f64::from(proved),
            attacked: attacked.map(f64::from),
            rival_proved: Some(found.rival),
            rival_attacked: bracket.attacked.map(|(_, class)| class),
            method: format!("{}{}", self.bounder.method, if branched { table::BRANCHED } else { "" }),
            passes: found.probes as usize + domains,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ends of a bracket around an f32 image, as those around that of the file.
///
/// # Errors
/// If what was proved is broken: the device miscomputes.
pub(crate) fn ends(
    bounder: &Bounder,
    image: impl Display,
    proved: f32,
    attacked: Option<f32>,
) -> Result<(f32, Option<f32>)> {
    let proved = (proved - pixel_rounding(bounder)).next_down().max(0.0);
    let attacked = attacked.map(|distance| outward(bounder, distance));
    match attacked.filter(|a| *a <= proved) {
        None => Ok((proved, attacked)),
        Some(attacked) => {
            Err(Error::device(format!("{image}: proved {proved} but broken at {attacked}; the device miscomputes")))
        }
    }
}

/// The distance of a hit from the image of the file, at most.
fn outward(bounder: &Bounder, distance: f32) -> f32 {
    (distance + pixel_rounding(bounder)).next_up()
}

/// How far the f32 image may be from that of the file, in the bounder's norm.
fn pixel_rounding(bounder: &Bounder) -> f32 {
    bounder.norm.spread(PIXEL_ROUNDING, bounder.net.model.input.len())
}

/// Attacks every image and proves nothing: hands its index, its predicted class and the nearest hit to `emit`, in order.
/// Distances are those that [`certify`] calls attacked, as long as it closes no brackets.
///
/// # Errors
/// A fault of the device, or what `emit` returns.
pub fn attack_all(
    bounder: &Bounder,
    data: &Dataset,
    settings: &attack::Settings,
    mut emit: impl FnMut(usize, usize, Option<Hit>) -> Result<()>,
) -> Result<()> {
    // Few enough that their hits, which are whole images, take little memory.
    const BLOCK: usize = 256;
    let all: Vec<usize> = (0..data.len()).collect();
    for block in all.chunks(BLOCK) {
        let subjects = subjects::subjects(bounder, data, block, 0.0, 0)?;
        let hits = attacks(bounder, &subjects, settings, |hit| hit)?;
        for ((index, subject), hit) in block.iter().zip(&subjects).zip(hits) {
            let hit = hit.map(|hit| Hit { distance: outward(bounder, hit.distance), ..hit });
            emit(*index, subject.class, hit)?;
        }
    }
    Ok(())
}

/// What `keep` takes of the nearest hit per subject. Linear bounds say where to start.
pub(crate) fn attacks<T>(
    bounder: &Bounder,
    subjects: &[Subject],
    settings: &attack::Settings,
    keep: impl Fn(Hit) -> T,
) -> Result<Vec<Option<T>>> {
    let net = &bounder.net;
    let guess = settings.guess * bounder.norm.largest(net.model.input.len());
    let mut linear = bounder.clone();
    // The bounds of neurons matter less here than their cost.
    linear.method = bounder.method.min(Method::CrownIbp);
    let mut fit = Fit::new(if net.device.is_gpu() { 1024 } else { 128 });
    fit.run(subjects, |batch| {
        let images: Vec<&[f32]> = batch.iter().map(|s| s.image.as_slice()).collect();
        let classes: Vec<usize> = batch.iter().map(|s| s.class).collect();
        let balls = batch.iter().map(|s| Ball { image: &s.image, class: s.class, delta: guess });
        let corners = match linear.method {
            Method::Ibp => vec![],
            Method::CrownIbp | Method::Crown | Method::Alpha => linear.corners(&balls.collect::<Vec<_>>())?,
        };
        let found = attack::attack(net, bounder.norm, &images, &classes, &corners, settings)?;
        Ok(found.into_iter().map(|hit| hit.map(&keep)).collect())
    })
}

/// [`certify`] from the beginning, with all rows in memory.
///
/// # Errors
/// As [`certify`].
pub fn collect(
    bounder: &Bounder,
    data: &Dataset,
    settings: &Settings,
    progress: &mut Progress,
) -> Result<Vec<CertifyRow>> {
    let mut rows = Vec::new();
    certify(bounder, data, settings, &mut rows, progress)?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::model::cnn::{Architecture, cnn};
    use crate::network::Network;
    use crate::progress::Verbosity;
    use crate::rng::Rng;
    use crate::tensor::Shape;

    fn rows(device: &Device, method: Method, domains: usize) -> Result<Vec<CertifyRow>> {
        let (shape, classes) = (Shape::new(1, 12, 12), ["a", "b", "c"].map(String::from).to_vec());
        let mut rng = Rng::new(5, 1);
        let mut data = Dataset::empty(shape, classes.clone());
        for i in 0..40 {
            let pixels: Vec<f32> = (0..shape.len()).map(|_| rng.uniform()).collect();
            data.push(i.to_string(), i % 3, &pixels);
        }
        let model = cnn(shape, &classes, &Architecture::strided(&[4, 8], 12), 3).unwrap();
        let bounder = Bounder::new(&Network::new(device, &model)?, method)?;
        let settings = Settings {
            variances: vec![0.0, 0.001],
            seed: 1,
            range: 0..data.len(),
            search: search::Settings { batch: 40, ..search::Settings::new(&bounder) },
            attack: Some(attack::Settings { rounds: 3, ..attack::Settings::default() }),
            close: (domains > 0).then_some(close::Settings { domains, seconds: None, tolerance: 0.01 }),
        };
        collect(&bounder, &data, &settings, &mut Progress::start(Verbosity::Quiet, "", 0))
    }

    #[test]
    fn a_full_device_gets_fewer_images_at_once_and_the_same_rows() {
        for (method, domains, words) in
            [(Method::Ibp, 0, 60_000), (Method::Crown, 0, 600_000), (Method::Crown, 40, 600_000)]
        {
            let whole = rows(&Device::cpu(), method, domains).unwrap();
            assert!(whole.len() == 80 && whole.iter().filter(|r| r.proved > 0.0 && r.attacked.is_some()).count() > 40);
            let narrow = Device::cpu_with_memory(words);
            let model_fits = narrow.alloc(words + 1).is_err();
            assert!(model_fits && rows(&narrow, method, domains).unwrap() == whole, "{method} {domains}");
        }
        let said = rows(&Device::cpu_with_memory(30_000), Method::Crown, 0).unwrap_err().to_string();
        assert!(said.contains("one image does not fit") && said.contains("--memory"), "{said}");
    }
}
