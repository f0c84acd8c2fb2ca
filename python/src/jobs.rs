//! The jobs, one function each: arguments to the library's settings, its results to a dictionary of arrays. Rules and
//! arithmetic are the library's, the same as behind the command line.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use deltamax::attack::{Hit, Settings as AttackSettings};
use deltamax::audit::Sample;
use deltamax::bounds::{Bounder, Method};
use deltamax::certify::audit::{Outcome, Request as AuditRequest};
use deltamax::certify::{Options, attack_all, collect};
use deltamax::dataset;
use deltamax::device::Device;
use deltamax::error::Error;
use deltamax::explain::{Request, bracket, level, usual_delta};
use deltamax::noise;
use deltamax::progress::{Progress, Verbosity};
use deltamax::results::{CertifyRow, NoiseLevel, RelevanceKind};
use deltamax::spec::vnnlib;
use deltamax::sweep::{Settings as SweepSettings, check_variances};
use deltamax::verify::{Loaded, Property, Settings as VerifySettings, Verdict};
use numpy::{Element, IntoPyArray, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::call::{away, exception, misuse};
use crate::input::{self, Images, Pixels, Placed, Source, labels, notes_on};

type Fields<'py> = PyResult<Bound<'py, PyDict>>;

/// Nothing is printed: standard error is the host program's.
fn quiet() -> Progress {
    Progress::start(Verbosity::Quiet, "", 0)
}

/// An array of this shape.
fn array<'py, T: Element>(py: Python<'py>, values: Vec<T>, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    Ok(values.into_pyarray(py).reshape(shape)?.into_any())
}

/// A vector with one entry per item.
fn column<'py, R, T: Element>(py: Python<'py>, items: &[R], value: impl Fn(&R) -> T) -> PyResult<Bound<'py, PyAny>> {
    array(py, items.iter().map(value).collect(), &[items.len()])
}

/// A class, or -1 for none.
fn class(class: Option<usize>) -> i64 {
    class.map_or(-1, |c| c as i64)
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the arguments of the Python function")]
pub fn certify<'py>(
    py: Python<'py>,
    model: Source,
    images: Pixels<'py>,
    label: Option<PyReadonlyArray1<'py, i64>>,
    method: &str,
    branch: usize,
    seconds: Option<f64>,
    gap: Option<f32>,
    depth: Option<usize>,
    attack: bool,
    runtime: &str,
    norm: &str,
    device: &str,
    tolerance: Option<f32>,
    batch: Option<usize>,
) -> Fields<'py> {
    let (method, runtime, device) = (input::method(method)?, input::runtime(runtime)?, input::device(device)?);
    let norm = input::norm(norm)?;
    let options =
        Options { method, runtime, norm, depth, tolerance, batch, memory: None, branch, seconds, gap, attack };
    options.check().map_err(|e| exception(&e.into()))?;
    let model = model.network();
    let (images, label) = (images.images()?, labels(label)?);
    let work = move || {
        let placed = Placed::new(&model, &device, Some(images.shape))?;
        let mut bounder = options.bounder(&placed.net).map_err(|e| e.about(&model.path))?;
        let data = placed.data(images, label)?;
        let chosen = options.fit(&mut bounder, &data)?;
        let settings = options.settings(&bounder, chosen, vec![0.0], 0, 0..data.len());
        Ok((collect(&bounder, &data, &settings, &mut quiet())?, placed))
    };
    let (rows, placed) = away(py, work)?;
    let fields = PyDict::new(py);
    fields.set_item("predicted", column(py, &rows, |r| r.predicted as i64)?)?;
    fields.set_item("proved", column(py, &rows, |r| r.proved)?)?;
    let none = if attack { f64::INFINITY } else { f64::NAN };
    fields.set_item("attacked", column(py, &rows, |r| r.attacked.unwrap_or(none))?)?;
    fields.set_item("rival_proved", column(py, &rows, |r| class(r.rival_proved))?)?;
    fields.set_item("rival_attacked", column(py, &rows, |r| class(r.rival_attacked))?)?;
    fields.set_item("method", rows.iter().map(|r: &CertifyRow| r.method.as_str()).collect::<Vec<_>>())?;
    fields.set_item("passes", column(py, &rows, |r| r.passes as i64)?)?;
    about(&fields, &placed)?;
    Ok(fields)
}

/// What every result says of its making.
fn about(fields: &Bound<'_, PyDict>, placed: &Placed) -> PyResult<()> {
    fields.set_item("classes", placed.net.model.classes.clone())?;
    fields.set_item("device", placed.net.device.describe())?;
    fields.set_item("notes", placed.notes.clone())
}

#[pyfunction]
pub fn attack<'py>(
    py: Python<'py>,
    model: Source,
    images: Pixels<'py>,
    rounds: usize,
    steps: usize,
    device: &str,
) -> Fields<'py> {
    let device = input::device(device)?;
    if rounds == 0 || steps == 0 {
        return Err(misuse("rounds and steps are at least 1"));
    }
    let (model, images) = (model.network(), images.images()?);
    let shape = images.shape;
    let work = move || {
        let placed = Placed::new(&model, &device, Some(images.shape))?;
        // The bounds that say where attacks of `certify` begin.
        let bounder = Bounder::new(&placed.net, Method::CrownIbp).map_err(|e| e.about(&model.path))?;
        let data = placed.data(images, None)?;
        let settings = AttackSettings { rounds, steps, ..AttackSettings::default() };
        let mut found: Vec<(usize, Option<Hit>)> = Vec::with_capacity(data.len());
        attack_all(&bounder, &data, &settings, |_, predicted, hit| {
            found.push((predicted, hit));
            Ok(())
        })?;
        Ok((found, placed))
    };
    let (found, placed) = away(py, work)?;
    let fields = PyDict::new(py);
    let distance = |hit: &Option<Hit>| hit.as_ref().map_or(f64::INFINITY, |h| f64::from(h.distance));
    fields.set_item("predicted", column(py, &found, |(predicted, _)| *predicted as i64)?)?;
    fields.set_item("attacked", column(py, &found, |(_, hit)| distance(hit))?)?;
    fields.set_item("rival_attacked", column(py, &found, |(_, hit)| class(hit.as_ref().map(|h| h.class)))?)?;
    let mut broken = Vec::with_capacity(found.len() * shape.len());
    for (_, hit) in &found {
        match hit {
            Some(hit) => broken.extend_from_slice(&hit.image),
            None => broken.resize(broken.len() + shape.len(), f32::NAN),
        }
    }
    fields.set_item("images", array(py, broken, &[found.len(), shape.channels, shape.height, shape.width])?)?;
    about(&fields, &placed)?;
    Ok(fields)
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the arguments of the Python function")]
pub fn sweep<'py>(
    py: Python<'py>,
    model: Source,
    images: Pixels<'py>,
    label: PyReadonlyArray1<'py, i64>,
    variance: Vec<f64>,
    draws: usize,
    seed: u64,
    device: &str,
) -> Fields<'py> {
    let device = input::device(device)?;
    check_variances(&variance).map_err(|e| exception(&e.into()))?;
    if !(1..=1_000_000).contains(&draws) {
        return Err(misuse("draws is a whole number from 1 to 1000000"));
    }
    let model = model.network();
    let (images, label) = (images.images()?, labels(Some(label))?);
    let work = move || {
        let placed = Placed::new(&model, &device, Some(images.shape))?;
        let data = placed.data(images, label)?;
        let settings = SweepSettings { variances: variance, draws, seed };
        Ok((deltamax::sweep::sweep(&placed.net, &data, &settings, &mut quiet())?, placed))
    };
    let (levels, placed) = away(py, work)?;
    let classes = placed.net.model.outputs();
    let fields = PyDict::new(py);
    fields.set_item("variance", column(py, &levels, |l| l.variance)?)?;
    fields.set_item("draws", column(py, &levels, |l| l.draws as i64)?)?;
    fields.set_item("accuracy", column(py, &levels, |l| l.accuracy.mean)?)?;
    fields.set_item("accuracy_low", column(py, &levels, |l| l.accuracy.low)?)?;
    fields.set_item("accuracy_high", column(py, &levels, |l| l.accuracy.high)?)?;
    let rates = |l: &NoiseLevel| (0..classes).map(|c| l.class_rate(c).unwrap_or(f64::NAN)).collect::<Vec<_>>();
    fields.set_item("class_rates", array(py, levels.iter().flat_map(rates).collect(), &[levels.len(), classes])?)?;
    let counts = levels.iter().flat_map(|l| l.confusion.iter().flatten().map(|n| *n as i64)).collect();
    fields.set_item("confusion", array(py, counts, &[levels.len(), classes, classes])?)?;
    about(&fields, &placed)?;
    Ok(fields)
}

#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "the arguments of the Python function")]
pub fn verify<'py>(
    py: Python<'py>,
    model: Source,
    text: Option<String>,
    path: Option<PathBuf>,
    timeout: f64,
    method: &str,
    seed: u64,
    device: &str,
) -> Fields<'py> {
    let start = Instant::now();
    let (method, device) = (input::method(method)?, input::device(device)?);
    if !(timeout > 0.0 && timeout < 1e9) {
        return Err(misuse("timeout is a positive number of seconds"));
    }
    let model = model.network();
    let work = move || {
        let (file, spec) = (&model.path, path.clone().unwrap_or_else(|| "property".into()));
        let property = match (&text, &path) {
            (Some(text), _) => vnnlib::parse(text).map_err(|e| Error::input(&spec, e))?,
            (None, Some(path)) => vnnlib::read(path)?,
            (None, None) => return Err(Error::usage("there is no property").into()),
        };
        let network = Loaded::new(&Device::open(&device)?, model.as_written()?)?;
        network.check(&property, file, &spec)?;
        let limit = Duration::from_secs_f64(timeout).saturating_sub(start.elapsed());
        let asked = Property { spec: &property, limit };
        let settings = VerifySettings { method, seed };
        let verdict = deltamax::verify::verify(&network.net, asked, &settings).map_err(|e| e.about(file))?;
        Ok((verdict, notes_on(&model, &network.warnings), network.net.device.describe()))
    };
    let (verdict, notes, device) = away(py, work)?;
    let fields = PyDict::new(py);
    fields.set_item("result", verdict.word())?;
    fields.set_item("seconds", start.elapsed().as_secs_f64())?;
    let (input, output) = match verdict {
        Verdict::Sat(witness) => (Some(witness.input.into_pyarray(py)), Some(witness.output.into_pyarray(py))),
        Verdict::Unsat | Verdict::Unknown | Verdict::Timeout => (None, None),
    };
    fields.set_item("counterexample", input)?;
    fields.set_item("output", output)?;
    fields.set_item("device", device)?;
    fields.set_item("notes", notes)?;
    Ok(fields)
}

/// One image: pixels, or the path of a picture.
#[derive(FromPyObject)]
pub enum Subject<'py> {
    Pixels(Pixels<'py>),
    Path(PathBuf),
}

#[pyfunction]
pub fn explain<'py>(
    py: Python<'py>,
    model: Source,
    image: Subject<'py>,
    delta: Option<f32>,
    method: &str,
    device: &str,
    norm: &str,
) -> Fields<'py> {
    let (method, device, norm) = (input::method(method)?, input::device(device)?, input::norm(norm)?);
    if delta.is_some_and(|d| !(d > 0.0 && d.is_finite() && norm.allows(d.into()))) {
        return Err(misuse("delta is a number above 0, at most 1 unless norm is l2"));
    }
    let (given, picture) = match image {
        Subject::Pixels(pixels) => (Some(pixels.images()?), None),
        Subject::Path(path) => (None, Some(path)),
    };
    let model = model.network();
    let work = move || {
        let placed = Placed::new(&model, &device, given.as_ref().map(|g| g.shape))?;
        let (net, file) = (&placed.net, &model.path);
        let image = match (given, picture) {
            (Some(Images { pixels, .. }), _) => pixels,
            (None, Some(path)) => {
                dataset::load_image(path, net.model.input, dataset::Fit::Pad).map_err(|e| e.about(file))?
            }
            (None, None) => return Err(Error::usage("there is no image").into()),
        };
        let bounder = Bounder::new(net, method).map_err(|e| e.about(file))?.for_norm(norm);
        let delta = delta.unwrap_or(usual_delta(norm, net.model.input));
        let found = bracket(&bounder, &image)?;
        let request = Request {
            image: &image,
            clean: &image,
            shape: net.model.input,
            variance: 0.0,
            delta,
            class: Some(found.class),
            proved: Some(found.proved),
            attacked: found.hit.as_ref().map(|h| f64::from(h.distance)),
        };
        let level = level(&bounder, &request)?;
        Ok((found, level, image, placed))
    };
    let (found, level, image, placed) = away(py, work)?;
    let (shape, classes) = (placed.net.model.input, placed.net.model.outputs());
    let picture = |values: Vec<f32>| array(py, values, &[shape.channels, shape.height, shape.width]);
    let pairs = |pairs: &[[f64; 2]]| array(py, pairs.concat(), &[pairs.len(), 2]);
    let fields = PyDict::new(py);
    fields.set_item("predicted", level.predicted)?;
    fields.set_item("proved", found.proved)?;
    fields.set_item("attacked", found.hit.as_ref().map_or(f64::INFINITY, |h| f64::from(h.distance)))?;
    fields.set_item("rival_proved", found.rival)?;
    fields.set_item("rival_attacked", class(found.hit.as_ref().map(|h| h.class)))?;
    fields.set_item("image", picture(image)?)?;
    fields.set_item("broken", found.hit.map(|h| picture(h.image)).transpose()?)?;
    fields.set_item("delta", level.delta)?;
    fields.set_item("dominant", level.dominant)?;
    fields.set_item("logits", column(py, &level.logits, |l| *l)?)?;
    fields.set_item("logit_bounds", pairs(&level.logit_bounds)?)?;
    fields.set_item("score_bounds", pairs(&level.score_bounds)?)?;
    // Of the method asked for, the last and best.
    let mut margins = vec![f64::INFINITY; classes];
    level.margins.iter().filter(|m| m.method == method.to_string()).for_each(|m| margins[m.rival] = m.lower);
    fields.set_item("margins", array(py, margins, &[classes])?)?;
    fields.set_item("curve_delta", column(py, &level.continuous, |p| p.delta)?)?;
    let scores: Vec<f64> = level.continuous.iter().flat_map(|p| p.scores.concat()).collect();
    fields.set_item("curve_scores", array(py, scores, &[level.continuous.len(), classes, 2])?)?;
    let relevance = PyDict::new(py);
    for map in level.relevance {
        let name = match map.kind {
            RelevanceKind::Gradient => "gradient",
            RelevanceKind::GradientXInput => "gradient_x_input",
            RelevanceKind::IntegratedGradients => "integrated_gradients",
            RelevanceKind::Certified => "certified",
        };
        relevance.set_item(name, array(py, map.values, &[map.height, map.width])?)?;
    }
    fields.set_item("relevance", relevance)?;
    about(&fields, &placed)?;
    Ok(fields)
}

#[pyfunction]
pub fn audit<'py>(
    py: Python<'py>,
    folder: PathBuf,
    model: Option<PathBuf>,
    data: Option<PathBuf>,
    sample: Option<usize>,
    seed: u64,
) -> Fields<'py> {
    if sample == Some(0) {
        return Err(misuse("sample is 0: nothing would be checked"));
    }
    let sample = sample.map_or(Sample::All, |count| Sample::Some { count, seed });
    let work = move || -> Result<_> {
        let request = AuditRequest { dir: folder, model, data, sample };
        let outcome = noise::audit::folder(&request, Verbosity::Quiet)?;
        let problem = outcome.check().err().map(|e| e.to_string());
        Ok((outcome, problem))
    };
    let (Outcome { report, rows, unchecked, .. }, problem) = away(py, work)?;
    let fields = PyDict::new(py);
    fields.set_item("rows", rows)?;
    fields.set_item("zero", report.zero)?;
    fields.set_item("checked", report.checked)?;
    fields.set_item("accepted", report.accepted)?;
    fields.set_item("unchecked", unchecked)?;
    let failures = report.failures.into_iter().map(|f| (f.index, f.variance, f.reason));
    fields.set_item("failures", failures.collect::<Vec<_>>())?;
    fields.set_item("problem", problem)?;
    Ok(fields)
}
