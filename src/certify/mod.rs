//! Delta max for every image of a test set, clean and under noise: rows as they come, resumable.

pub mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::attack;
use crate::bounds::{Ball, Bounder, Method};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::progress::Progress;
use crate::results::{CertifyRow, write_atomically};
use crate::search::{self, Subject};
use crate::sweep;

/// Images are stored as u8/255, which is not an f32: a ball around the nearest f32 holds the ball around the true
/// value with this much less radius.
pub(crate) const PIXEL_ROUNDING: f32 = 1.0 / (1u32 << 24) as f32;

/// What to certify.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Noise added before certifying (draw 0); 0 is the clean image.
    pub variances: Vec<f64>,
    pub seed: u64,
    /// Images `range` of the data, in order.
    pub range: std::ops::Range<usize>,
    pub search: search::Settings,
    /// Also attack every image; `None` leaves the upper end open.
    pub attack: Option<attack::Settings>,
    /// Keep the lines behind the radii of these images in this result folder.
    pub certificates: Option<(PathBuf, BTreeSet<usize>)>,
}

/// Certifies every image of the range at every variance, skipping what `known` says is there already, and hands each
/// row to `emit` in order.
pub fn certify(
    bounder: &Bounder,
    data: &Dataset,
    settings: &Settings,
    known: impl Fn(usize, f64) -> bool,
    progress: &mut Progress,
    mut emit: impl FnMut(CertifyRow) -> Result<()>,
) -> Result<()> {
    let block = (4 * settings.search.batch).max(1024);
    for &variance in &settings.variances {
        let todo: Vec<usize> = settings.range.clone().filter(|&i| !known(i, variance)).collect();
        progress.advance(settings.range.len() - todo.len());
        for block in todo.chunks(block) {
            let mut written = BTreeMap::new();
            let subjects = subjects(&bounder.net, data, block, variance, settings.seed)?;
            let classes: Vec<usize> = subjects.iter().map(|s| s.class).collect();
            let hits = match &settings.attack {
                Some(attack) => attacks(bounder, &subjects, attack)?,
                None => vec![None; subjects.len()],
            };
            if let Some((_, wanted)) = &settings.certificates {
                let wanted = block.iter().zip(&subjects).enumerate().filter(|(_, (index, _))| wanted.contains(index));
                written.extend(wanted.map(|(at, (_, subject))| (at, subject.image.clone())));
            }
            search::search(bounder, &settings.search, subjects, |at, found| {
                let index = block[at];
                let radius = match (&settings.certificates, written.remove(&at)) {
                    (Some((folder, _)), Some(image)) if found.proved > 0.0 => {
                        let ball = Ball { image: &image, class: classes[at], delta: found.proved };
                        let certificate = bounder.certificates(&[ball])?.remove(0);
                        let path = table::certificate_path(folder, index, variance);
                        let text = serde_json::to_vec(&certificate).map_err(|e| Error::input(&path, e.to_string()))?;
                        write_atomically(&path, &text)?;
                        // What its lines prove may be a hair less than what the search found.
                        found.proved.min(certificate.radius)
                    }
                    _ => found.proved,
                };
                let proved = (radius - PIXEL_ROUNDING).next_down().max(0.0);
                let attacked = hits[at].map(|(distance, _)| distance);
                if let Some(attacked) = attacked.filter(|a| *a <= proved) {
                    let problem =
                        format!("image {index}: proved {proved} but broken at {attacked}; the device miscomputes");
                    return Err(Error::device(problem));
                }
                progress.advance(1);
                emit(CertifyRow {
                    index,
                    file: data.names[index].clone(),
                    label: data.labels[index],
                    predicted: classes[at],
                    variance,
                    proved: f64::from(proved),
                    attacked: attacked.map(f64::from),
                    rival_proved: Some(found.rival),
                    rival_attacked: hits[at].map(|(_, class)| class),
                    method: bounder.method.to_string(),
                    passes: found.probes as usize,
                })
            })?;
        }
    }
    Ok(())
}

/// The (noisy) images with their predicted classes.
fn subjects(net: &Network, data: &Dataset, indices: &[usize], variance: f64, seed: u64) -> Result<Vec<Subject>> {
    const BATCH: usize = 256;
    let mut subjects = Vec::with_capacity(indices.len());
    let mut rest = indices;
    while let Some(&first) = rest.first() {
        let run = rest.iter().take(BATCH).enumerate().take_while(|(k, i)| **i == first + k).count();
        let images = sweep::noisy(&net.device, data, first, run, variance, seed, 0)?;
        let images: Vec<&[f32]> = images.chunks(data.shape.len()).collect();
        subjects.extend(Subject::classify(net, &images)?);
        rest = &rest[run..];
    }
    Ok(subjects)
}

/// Distance and class of the nearest hit per subject. Linear bounds say where to start.
pub(crate) fn attacks(
    bounder: &Bounder,
    subjects: &[Subject],
    settings: &attack::Settings,
) -> Result<Vec<Option<(f32, usize)>>> {
    let net = &bounder.net;
    let mut linear = bounder.clone();
    // The bounds of neurons matter less here than their cost.
    linear.method = bounder.method.min(Method::CrownIbp);
    let mut hits = Vec::with_capacity(subjects.len());
    for batch in subjects.chunks(if net.device.is_gpu() { 1024 } else { 128 }) {
        let images: Vec<&[f32]> = batch.iter().map(|s| s.image.as_slice()).collect();
        let classes: Vec<usize> = batch.iter().map(|s| s.class).collect();
        let balls = batch.iter().map(|s| Ball { image: &s.image, class: s.class, delta: settings.guess });
        let corners = match linear.method {
            Method::Ibp => vec![],
            Method::CrownIbp | Method::Crown | Method::Alpha => linear.corners(&balls.collect::<Vec<_>>())?,
        };
        let found = attack::attack(net, &images, &classes, &corners, settings)?;
        hits.extend(found.into_iter().map(|h| h.map(|h| (h.distance, h.class))));
    }
    Ok(hits)
}
