//! The auditor: proves dominance again, by code of its own.
//!
//! It stands apart from what it judges: no kernel, no device, no shared bound; only a [`Model`], f64 arithmetic rounded
//! outward (`audit/rounding.rs`) and the textbook relaxations. A proof here says: for every real image within the radius
//! of the given one and inside `[0,1]`, the network, read as real arithmetic over the numbers of its file, gives the class a
//! strictly larger logit than every other class. What is certified may hold constants folded into weights; the auditor is
//! given the network as the file has it ([`crate::model::onnx::read_unfolded`]), and certificates are carried over
//! ([`Forms`]), so that folding is among what it checks.

mod activation;
mod bounds;
mod branches;
mod certificate;
mod deployed;
mod envelope;
mod folder;
mod forms;
mod lines;
mod noise;
mod pixel;
mod rounding;
mod rows;
mod state;
mod transposed;
mod walk;
mod window;

#[cfg(test)]
mod tests;

pub use crate::results::certificate::{
    Assumed, Branches, Certificate, EndPart, HalvedEnd, HalvedNeurons, Home, Leaf, LowerSlopes, NeuronRows,
    NeuronSlopes, NodeSlopes, NoiseCertificate,
};
pub use deployed::any_f32;
pub use folder::{Claim, Failure, NoiseClaim, Report, Sample, folder, noise_folder};
pub use forms::Forms;
pub use noise::risk;

use crate::error::{Error, Result};
use crate::model::Model;
use crate::norm::Norm;
use bounds::Interval;
use state::{Choice, State};

/// How bounds are computed, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Interval bound propagation (Gowal et al. 2018), the layers above the last nonlinear one folded into margins.
    Ibp,
    /// Interval bounds inside, one backward linear pass for the margins (Zhang et al. 2020).
    CrownIbp,
    /// Backward linear bounds for every unstable neuron (Zhang et al. 2018).
    Crown,
    /// The same, but that those of neurons end where they have passed so many nonlinear layers.
    CrownNearest(usize),
}

/// What the auditor found. Margins are lower bounds of `logit_class - logit_rival` over the whole ball.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The class dominates; `worst_margin` is positive.
    Proved {
        /// The least margin.
        worst_margin: f64,
        /// The class that it is against.
        rival: usize,
    },
    /// No proof was found, which refutes nothing. The margin is that of the best attempt.
    NotProved {
        /// The least margin.
        worst_margin: f64,
        /// The class that it is against.
        rival: usize,
    },
}

/// Attempts beyond the standard one: the ball on which neurons are relaxed, as a multiple of the radius, and the lean of
/// [`lines::relu`]. The choice of a lower slope jumps where an interval is balanced, so a certifier in f32, or one
/// that takes a free radius from the relaxations of a larger ball, may have chosen otherwise.
const ATTEMPTS: [(f64, f64); 11] = [
    (1.0, 0.0),
    (1.0, 1e-5),
    (1.0, -1e-5),
    (1.0, 1e-3),
    (1.0, -1e-3),
    (1.0001, 0.0),
    (1.0003, 0.0),
    (1.001, 0.0),
    (1.01, 0.0),
    (1.1, 0.0),
    (1.5, 0.0),
];

/// [`check_ball`] in the maximum norm.
///
/// # Errors
/// As there.
pub fn check(
    model: &Model,
    image: &[f32],
    class: usize,
    radius: f64,
    method: Method,
    certificate: Option<&Certificate>,
) -> Result<Verdict> {
    check_ball(model, image, class, Norm::Linf, radius, method, certificate)
}

/// Re-derives that `class` dominates on `{ x' : |x' - image| <= radius } ∩ [0,1]^n`, in this norm, with what a certificate
/// gives or the standard slopes.
///
/// # Errors
/// If the model is not whole, the request makes no sense (sizes, a radius that is negative or not finite, pixels
/// outside `[0,1]`, slopes out of range, domains that leave part of the ball out) or numbers of the network leave the range
/// in which rounding is accounted for. An error proves nothing.
pub fn check_ball(
    model: &Model,
    image: &[f32],
    class: usize,
    norm: Norm,
    radius: f64,
    method: Method,
    certificate: Option<&Certificate>,
) -> Result<Verdict> {
    check_image(model, image, class)?;
    if !(radius >= 0.0 && radius.is_finite()) {
        return Err(Error::usage(format!("{radius} is no radius")));
    }
    if let Some(certificate) = certificate {
        certificate::check(certificate, model, norm)?;
    }
    let outer = certificate.and_then(|c| c.ball).map_or(radius, |ball| radius.max(f64::from(ball)));
    let branches = certificate.and_then(|c| c.branches.as_ref()).filter(|_| method != Method::Ibp);
    let ball = Interval::ball(image, norm, radius);
    let mut best = (f64::NEG_INFINITY, 0);
    // Without relaxations there is nothing to choose.
    let attempts = if method == Method::Ibp { &ATTEMPTS[..1] } else { &ATTEMPTS[..] };
    // Slopes are given by a certificate.
    let keeps = if certificate.is_some() && method != Method::Ibp { &[false, true][..] } else { &[false] };
    let usual = attempts.iter().flat_map(|&(grow, lean)| keeps.iter().map(move |&keep| (method, grow, lean, keep)));
    // A search within a time starts from what lines between intervals prove; rows that go on to the box bound neurons
    // better, and so prove what a choice of slopes decided.
    let nearest = matches!(method, Method::CrownNearest(_));
    let others = [Method::CrownIbp, Method::Crown].map(|method| (method, 1.0, 0.0, false));
    for (method, grow, lean, keep) in usual.chain(others.into_iter().filter(|_| nearest)) {
        let choice = Choice { certificate, lean, keep, noise: None };
        let state = State::new(model, Interval::ball(image, norm, outer * grow), method, choice)?;
        let margins = match branches {
            Some(branches) => branches::margins(&state, class, &ball, branches)?,
            None => state.margins(class, &ball, method),
        };
        let proved = margins.iter().all(|(_, m)| *m > 0.0 && m.is_finite());
        let (rival, margin) = margins
            .into_iter()
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .ok_or_else(|| Error::usage("a single class has no rivals"))?;
        if proved {
            return Ok(Verdict::Proved { worst_margin: margin, rival });
        }
        if margin > best.0 {
            best = (margin, rival);
        }
    }
    Ok(Verdict::NotProved { worst_margin: best.0, rival: best.1 })
}

/// Whether the network is whole, and the class and the image are such as it has.
fn check_image(model: &Model, image: &[f32], class: usize) -> Result<()> {
    model.validate().map_err(Error::usage)?;
    if image.len() != model.input.len() || class >= model.outputs() || model.outputs() < 2 {
        let (have, outputs) = (image.len(), model.outputs());
        let problem =
            format!("class {class} of an image of {have} values: the model maps {} to {outputs}", model.input);
        return Err(Error::usage(problem));
    }
    match image.iter().position(|x| !(0.0..=1.0).contains(x)) {
        Some(k) => Err(Error::usage(format!("pixel {k} of the image is {}, not in [0,1]", image[k]))),
        None => Ok(()),
    }
}

impl std::str::FromStr for Method {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        match name {
            "ibp" => Ok(Method::Ibp),
            "crown-ibp" => Ok(Method::CrownIbp),
            // Optimised slopes come as a certificate; without one, the standard slopes are tried.
            "crown" | "alpha" => Ok(Method::Crown),
            other => Err(format!("the auditor knows no method '{other}'; it knows ibp, crown-ibp, crown, alpha")),
        }
    }
}
