//! From pixels in `[0,1]` to what a network takes: another range, mean and deviation per channel.

use serde::{Deserialize, Serialize};

use super::onnx::near::{Charge, Near};
use super::{Layer, Model, Node, Origin, Ratio};

/// A pixel `x` in `[0,1]` is given to the network as `(low + (high - low) x - mean) / std`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pixels {
    /// What black and white are.
    pub range: [f64; 2],
    /// One number for each channel, or for all; zero if there is none.
    pub mean: Vec<f64>,
    /// One number for each channel, or for all; one if there is none.
    pub std: Vec<f64>,
}

impl Default for Pixels {
    fn default() -> Self {
        Pixels { range: [0.0, 1.0], mean: vec![], std: vec![] }
    }
}

impl Pixels {
    /// Pixels from 0 to 255.
    pub fn bytes() -> Pixels {
        Pixels { range: [0.0, 255.0], ..Pixels::default() }
    }

    /// Whether pixels are given as they are.
    pub fn is_plain(&self) -> bool {
        self.range == [0.0, 1.0] && self.mean.iter().all(|m| *m == 0.0) && self.std.iter().all(|s| *s == 1.0)
    }
}

/// Constants of first layers beyond these want pixels up to 255: in [0,1], none would be taken off or divided by.
const MEAN: f64 = 2.0;
const STD: f64 = 16.0;

impl Model {
    /// This network over pixels in `[0,1]`. The layer in front pays for constants that are no f32.
    ///
    /// # Errors
    /// Numbers that do not fit the channels of the input, and such as no f32 comes near.
    pub fn over_pixels(mut self, pixels: &Pixels) -> Result<Model, String> {
        if pixels.is_plain() {
            return Ok(self);
        }
        let Pixels { range: [low, high], mean, std } = pixels;
        let channels = self.input.channels;
        for (list, name) in [(mean, "--mean"), (std, "--std")] {
            if list.len() > 1 && list.len() != channels {
                let n = list.len();
                return Err(format!("{name} has {n} numbers for {channels} channels; give one, or one for each"));
            }
        }
        let finite = [low, high].into_iter().chain(mean).chain(std).all(|v| v.is_finite());
        if !finite || low >= high || std.iter().any(|s| *s <= 0.0) {
            return Err("--input-range goes upward, --std is above 0, and all are numbers".into());
        }
        let at = |list: &[f64], c: usize, none: f64| Near::from(*list.get(c).or(list.first()).unwrap_or(&none));
        let plane = self.input.height * self.input.width;
        let (mut scale, mut shift, mut charge, mut ratios) = (vec![], vec![], Charge::default(), vec![]);
        for c in 0..channels {
            let std = at(std, c, 1.0);
            let (span, least) = (Near::from(*high) - Near::from(*low), Near::from(*low) - at(mean, c, 0.0));
            let factor = charge.weight(span / std);
            let constant = charge.shift(least / std);
            let (Some(factor), Some(constant)) = (factor, constant) else {
                return Err("--mean, --std and --input-range make numbers that 32 bits cannot hold".into());
            };
            scale.extend(std::iter::repeat_n(factor, plane));
            shift.extend(std::iter::repeat_n(constant, plane));
            let exact = span.error == 0.0 && least.error == 0.0;
            let [factor, offset, divisor] = [span, least, std].map(|v| v.value);
            ratios.push(exact.then_some(Ratio { factor, offset, divisor: [divisor, 0.0], root: false, shift: 0.0 }));
        }
        let mut name = String::from("pixels");
        while self.nodes.iter().any(|n| n.name == name) {
            name.push('_');
        }
        self.nodes.iter_mut().flat_map(|n| &mut n.inputs).for_each(|v| *v += 1);
        self.folded.iter_mut().for_each(|f| f.node += 1);
        let ratios: Option<Vec<Ratio>> = ratios.into_iter().collect();
        self.folded.splice(0..0, charge.folding(0, ratios.map(|ratios| Origin { layer: None, ratios })));
        self.nodes.insert(0, Node { name, layer: Layer::Scale { scale, shift }, inputs: vec![0], shape: self.input });
        self.validate()?;
        Ok(self)
    }

    /// The first layers, by name, if their constants say that pixels go up to 255: what they take off or divide by.
    pub fn wants_bytes(&self) -> Option<String> {
        let mut names = vec![];
        let mut lines = vec![(1.0f64, 0.0f64); self.input.len()];
        let mut value = 0;
        loop {
            let mut readers = self.nodes.iter().enumerate().filter(|(_, n)| n.inputs.contains(&value));
            let (Some((i, node)), None) = (readers.next(), readers.next()) else { break };
            match &node.layer {
                Layer::Scale { scale, shift } => {
                    for (line, (&s, &t)) in lines.iter_mut().zip(scale.iter().zip(shift)) {
                        *line = (line.0 * f64::from(s), line.1 * f64::from(s) + f64::from(t));
                    }
                    names.push(node.name.as_str());
                    value = i + 1;
                }
                Layer::Conv(_)
                | Layer::Dense(_)
                | Layer::Relu
                | Layer::Activation(_)
                | Layer::MaxPool(_)
                | Layer::AvgPool(_)
                | Layer::Add
                | Layer::Gather(_) => break,
            }
        }
        let large = |&(s, t): &(f64, f64)| s > 0.0 && (1.0 / s >= STD || -t / s >= MEAN);
        (!names.is_empty() && lines.iter().any(large)).then(|| names.join(", "))
    }

    /// The same network over images of this shape, where its input is a row of as many numbers.
    ///
    /// # Errors
    /// If their number differs.
    pub fn over_images(mut self, shape: crate::tensor::Shape) -> Result<Model, String> {
        if shape.len() != self.input.len() {
            return Err(format!("images of {shape} for an input of {} numbers", self.input.len()));
        }
        self.input = shape;
        self.validate()?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dense, reference};
    use super::*;
    use crate::tensor::Shape;

    /// The sum of two values.
    fn sum(input: Shape, first: Option<(f32, f32)>) -> Model {
        let n = input.len();
        let node =
            |name: &str, layer, input: usize, shape| Node { name: name.into(), layer, inputs: vec![input], shape };
        let mut nodes = vec![];
        if let Some((s, t)) = first {
            nodes.push(node("rescaling", Layer::Scale { scale: vec![s; n], shift: vec![t; n] }, 0, input));
        }
        let dense = Layer::Dense(Dense { weight: vec![1.0; n], bias: vec![0.0] });
        nodes.push(node("fc", dense, nodes.len(), Shape::flat(1)));
        Model { input, nodes, classes: vec!["0".into()], folded: vec![] }
    }

    #[test]
    fn pixels_become_what_the_network_takes() {
        let model = sum(Shape::new(2, 1, 1), None);
        let out = |m: &Model, x: &[f32]| reference::forward(m, x).pop().unwrap()[0];
        let bytes = model.clone().over_pixels(&Pixels::bytes()).unwrap();
        assert_eq!((out(&bytes, &[1.0, 0.5]), bytes.folded.len()), (382.5, 0));
        let pixels = Pixels { range: [-1.0, 1.0], mean: vec![0.1, 0.2], std: vec![0.5, 0.3] };
        let normal = model.clone().over_pixels(&pixels).unwrap();
        let exact = (1.0 - 0.1) / 0.5 + (0.0 - 0.2) / 0.3;
        let charge = &normal.folded[0];
        let room = f64::from(charge.relative) * 20.0 + 2.0 * f64::from(charge.absolute);
        assert!((out(&normal, &[1.0, 0.5]) - exact).abs() <= room && room < 1e-5);
        for wrong in [
            Pixels { mean: vec![0.0, 0.1, 0.2], ..Pixels::default() },
            Pixels { std: vec![0.0], ..Pixels::default() },
            Pixels { range: [1.0, 0.0], ..Pixels::default() },
            Pixels { std: vec![1e-60], ..Pixels::default() },
        ] {
            assert!(model.clone().over_pixels(&wrong).is_err());
        }
        assert_eq!(model.clone().over_pixels(&Pixels::default()), Ok(model));
    }

    #[test]
    fn first_layers_say_what_pixels_are() {
        let wants = |s: f32, t: f32| sum(Shape::flat(2), Some((s, t))).wants_bytes().is_some();
        assert!(wants(1.0 / 255.0, 0.0) && wants(1.0 / 127.5, -1.0) && wants(1.0 / 58.395, -123.675 / 58.395));
        assert!(wants(1.0, -123.675) && !wants(2.0, -1.0) && !wants(1.0 / 0.229, -0.485 / 0.229) && !wants(1.0, 0.0));
        assert_eq!(sum(Shape::flat(2), None).wants_bytes(), None);
        assert_eq!(sum(Shape::flat(2), Some((0.004, 0.0))).wants_bytes().unwrap(), "rescaling");
    }

    #[test]
    fn a_row_of_numbers_becomes_an_image() {
        let image = sum(Shape::flat(12), None).over_images(Shape::new(3, 2, 2)).unwrap();
        assert_eq!(reference::forward(&image, &[1.0; 12])[1], [12.0]);
        assert!(sum(Shape::flat(12), None).over_images(Shape::new(1, 2, 2)).is_err());
    }
}
