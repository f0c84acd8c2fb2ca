//! How far one photo may change in every way that is known here before its class does.

use super::{Bracket, bracket};
use crate::bounds::Bounder;
use crate::device::Device;
use crate::error::Result;
use crate::network::largest;
use crate::noise::{self, measured};
use crate::norm::Norm;
use crate::ops::noise as draw;
use crate::results::{Change, Picture, Stays};
use crate::search::{self, Subject};
use crate::tensor::{self, Shape};
use crate::vary::bracket::{Question, Settings, brackets};
use crate::vary::{Direction, Family, Kind};

/// How often noise may change the class.
pub const RISK: f64 = 0.01;
/// With which the measured noise is right.
pub const CONFIDENCE: f64 = 0.999;
/// Draws of noise of one deviation, at most.
const DRAWS: usize = 2_000;
/// Brackets are closed to this share.
const GAP: f64 = 0.01;
/// After so many boxes: those of one parameter are closed by then, three take minutes.
const BOXES: usize = 300;

/// Every kind of change of an image whose bracket in the bounder's norm is known.
///
/// # Errors
/// A fault of the device.
pub fn stays(bounder: &Bounder, image: &[f32], known: &Bracket, seed: u64) -> Result<Vec<Stays>> {
    let shape = bounder.net.model.input;
    let of = |norm: Norm, change: Change| -> Result<Stays> {
        if norm == bounder.norm {
            return Ok(of_bracket(change, norm, known, shape));
        }
        Ok(of_bracket(change, norm, &bracket(&bounder.clone().for_norm(norm), image)?, shape))
    };
    let mut all = vec![of(Norm::Linf, Change::Pixels)?, of(Norm::L2, Change::Length)?];
    let subject = Subject { image: image.to_vec(), class: known.class, margin: 0.0 };
    all.extend(noise_and_light(bounder, &subject, 0, seed, &Kind::ALL)?);
    Ok(all)
}

/// What is not about radii: random noise, the draws of which `id` names, and these kinds of light and lens.
///
/// # Errors
/// A fault of the device.
pub fn noise_and_light(bounder: &Bounder, subject: &Subject, id: u32, seed: u64, kinds: &[Kind]) -> Result<Vec<Stays>> {
    let (shape, image) = (bounder.net.model.input, &subject.image);
    let mut all = vec![of_noise(bounder, subject, id, seed)?];
    let kinds = kinds.iter().copied().filter(|kind| kind.fits(shape));
    let families = kinds.flat_map(|kind| Family::of(kind, shape, image));
    let questions: Vec<Question<'_>> = families.map(|family| Question { subject, family }).collect();
    let settings = Settings { gap: GAP, batch: search::Settings::new(bounder).batch, boxes: BOXES };
    let picture = |image: &[f32]| Picture::from_chw(shape, image);
    for (Question { family, .. }, found) in questions.iter().zip(brackets(bounder, &questions, &settings)?) {
        all.push(Stays {
            change: change(family),
            proved: found.proved,
            measured: None,
            lost: found.broken.as_ref().map(|b| b.scale),
            end: family.end,
            kept: Some(picture(&family.image(&found.edge))),
            other: found.broken.as_ref().map(|b| (picture(&family.image(&b.t)), b.class)),
        });
    }
    Ok(all)
}

fn change(family: &Family) -> Change {
    let down = matches!(family.direction, Direction::Darker | Direction::Less);
    match family.kind {
        Kind::Brightness if down => Change::BrightnessDown,
        Kind::Brightness => Change::BrightnessUp,
        Kind::Contrast if down => Change::ContrastDown,
        Kind::Contrast => Change::ContrastUp,
        Kind::Darken if down => Change::LightDown,
        Kind::Darken => Change::LightUp,
        Kind::WhiteBalance => Change::WhiteBalance,
        Kind::Defocus => Change::Defocus,
        Kind::MotionBlur => Change::MotionBlur,
    }
}

fn of_bracket(change: Change, norm: Norm, bracket: &Bracket, shape: Shape) -> Stays {
    let other = bracket.hit.as_ref().map(|hit| (Picture::from_chw(shape, &hit.image), hit.class));
    Stays {
        change,
        proved: bracket.proved,
        measured: None,
        lost: bracket.hit.as_ref().map(|hit| f64::from(hit.distance)),
        end: f64::from(norm.largest(shape.len())),
        kept: None,
        other,
    }
}

fn of_noise(bounder: &Bounder, subject: &Subject, id: u32, seed: u64) -> Result<Stays> {
    let net = &bounder.net;
    let proved = noise::largest(bounder, &[subject], RISK)?.first().map_or(0.0, |p| p.sigma);
    let settings = measured::Settings { draws: DRAWS, confidence: CONFIDENCE, risk: Some(RISK), seed };
    let start = if proved > 0.0 { 2.0 * proved } else { 0.01 };
    let [low, high] = measured::search(net, subject, id, start, &settings)?;
    let low = low.max(proved);
    let lost = Some(high).filter(|h| h.is_finite());
    let shape = net.model.input;
    let kept = drawn(subject, low, seed, 1)?.remove(0);
    // Of a few draws the first that is called something else.
    let other = match lost {
        Some(sigma) => {
            let draws = drawn(subject, sigma, seed, 256)?;
            let scores = net.scores(&draws.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
            let classes = draws.iter().zip(scores).map(|(image, scores)| (image, largest(&scores)));
            classes
                .into_iter()
                .find(|(_, class)| *class != subject.class)
                .map(|(image, class)| (Picture::from_chw(shape, image), class))
        }
        None => None,
    };
    let kept = Some(Picture::from_chw(shape, &kept));
    Ok(Stays { change: Change::Noise, proved, measured: Some(low), lost, end: noise::LARGEST, kept, other })
}

/// The image under some draws of noise.
fn drawn(subject: &Subject, sigma: f64, seed: u64, count: usize) -> Result<Vec<Vec<f32>>> {
    let (d, elements, lanes) = (Device::cpu(), subject.image.len(), tensor::lanes(count));
    let x = d.upload(&tensor::interleave(std::iter::repeat_n(subject.image.as_slice(), lanes), elements))?;
    let ids: Vec<u32> = (0..lanes as u32).collect();
    let y = d.alloc(elements * lanes)?;
    let noise = draw::Noise { seed, draw: 0, sigma: sigma as f32, clip: true };
    draw::gaussian(&d, &x, &d.upload(&ids)?, &y, elements, lanes, &noise)?;
    let values = tensor::deinterleave(&d.read::<f32>(&y)?, elements, count);
    Ok(values.chunks(elements).map(<[f32]>::to_vec).collect())
}
