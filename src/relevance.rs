//! Which pixels a decision rests on: signed gradients, and where on the picture they lie.

use crate::bounds::{Ball, Bounder};
use crate::error::Result;
use crate::network::Network;
use crate::results::{RelevanceKind, RelevanceMap, Shares};
use crate::tensor::{self, Shape};

/// Points on the path of integrated gradients.
const PATH: usize = 16;

/// Gradient of `logit[class]` with respect to each image, `[channel][row][column]`.
pub fn gradients(net: &Network, images: &[&[f32]], classes: &[usize]) -> Result<Vec<Vec<f32>>> {
    let d = &net.device;
    let (elements, lanes) = (net.model.input.len(), tensor::lanes(images.len()));
    let x = d.upload(&tensor::interleave(images.iter().copied(), elements))?;
    let values = net.forward(x, lanes, true)?;
    let mut seed = vec![0.0f32; net.model.outputs() * lanes];
    classes.iter().enumerate().for_each(|(lane, c)| seed[c * lanes + lane] = 1.0);
    let gradient = net.backward(&values, d.upload(&seed)?, lanes)?;
    let flat = tensor::deinterleave(&d.read::<f32>(&gradient)?, elements, images.len());
    Ok(flat.chunks(elements).map(<[f32]>::to_vec).collect())
}

/// Signed relevance of every pixel (channels added) for `class`: gradient, gradient x input (against the background, so
/// that background counts for nothing), and integrated gradients from the background (Sundararajan et al. 2017).
pub fn maps(net: &Network, image: &[f32], clean: &[f32], class: usize) -> Result<Vec<RelevanceMap>> {
    let shape = net.model.input;
    let gradient = gradients(net, &[image], &[class])?.remove(0);
    let base = background(shape, clean);
    let plane = shape.height * shape.width;
    let product: Vec<f32> = gradient.iter().enumerate().map(|(k, g)| g * (image[k] - base[k / plane])).collect();
    let regions = Regions::of(shape, clean);
    Ok(vec![
        map(RelevanceKind::Gradient, shape, &gradient, &regions),
        map(RelevanceKind::GradientXInput, shape, &product, &regions),
        map(RelevanceKind::IntegratedGradients, shape, &integrated(net, image, clean, class)?, &regions),
    ])
}

/// Integrated gradients of `logit[class]`, `[channel][row][column]`: the way from the background of `clean` to `image`
/// times the mean gradient along it, so that the values add up to what the logit gains (up to the sampling of the way).
pub fn integrated(net: &Network, image: &[f32], clean: &[f32], class: usize) -> Result<Vec<f32>> {
    let base = background(net.model.input, clean);
    let plane = net.model.input.height * net.model.input.width;
    let difference: Vec<f32> = image.iter().enumerate().map(|(k, x)| x - base[k / plane]).collect();
    let path: Vec<Vec<f32>> = (0..PATH)
        .map(|i| {
            let t = (i as f32 + 0.5) / PATH as f32;
            difference.iter().enumerate().map(|(k, d)| base[k / plane] + t * d).collect()
        })
        .collect();
    let points: Vec<&[f32]> = path.iter().map(Vec::as_slice).collect();
    let gradients = gradients(net, &points, &[class; PATH])?;
    let mean = |k: usize| gradients.iter().map(|g| g[k]).sum::<f32>() / PATH as f32;
    Ok(difference.iter().enumerate().map(|(k, d)| d * mean(k)).collect())
}

/// Pixels whose influence on the class logit has one sign in the whole ball: 1 where the gradient, summed over the
/// channels, is proved positive, -1 where proved negative, 0 where neither is. One map per ball.
pub fn certified(bounder: &Bounder, balls: &[Ball<'_>], regions: &[Regions]) -> Result<Vec<RelevanceMap>> {
    let shape = bounder.net.model.input;
    let plane = shape.height * shape.width;
    let sign = |bounds: &[[f64; 2]], p: usize| {
        let ends = (0..shape.channels).map(|c| bounds[c * plane + p]);
        let [low, high] = ends.fold([0.0f64; 2], |s, e| [(s[0] + e[0]).next_down(), (s[1] + e[1]).next_up()]);
        f32::from(i8::from(low > 0.0) - i8::from(high < 0.0))
    };
    let map = |((bounds, ball), regions): ((Vec<[f64; 2]>, &Ball<'_>), &Regions)| {
        let values: Vec<f32> = (0..plane).map(|p| sign(&bounds, p)).collect();
        RelevanceMap {
            kind: RelevanceKind::Certified,
            height: shape.height,
            width: shape.width,
            delta: Some(f64::from(ball.delta)),
            shares: regions.shares(&values),
            gini: None,
            values,
        }
    };
    Ok(bounder.gradient_bounds(balls)?.into_iter().zip(balls).zip(regions).map(map).collect())
}

/// Adds channels up and measures where the relevance lies.
pub fn map(kind: RelevanceKind, shape: Shape, values: &[f32], regions: &Regions) -> RelevanceMap {
    let plane = shape.height * shape.width;
    let summed: Vec<f32> = (0..plane).map(|p| (0..shape.channels).map(|c| values[c * plane + p]).sum()).collect();
    RelevanceMap {
        kind,
        height: shape.height,
        width: shape.width,
        shares: regions.shares(&summed),
        gini: gini(&summed),
        values: summed,
        delta: None,
    }
}

/// The background colour: the median of the border pixels, per channel.
fn background(shape: Shape, image: &[f32]) -> Vec<f32> {
    let (h, w) = (shape.height, shape.width);
    (0..shape.channels)
        .map(|c| {
            let at = |y: usize, x: usize| image[(c * h + y) * w + x];
            let mut border: Vec<f32> = (0..w).flat_map(|x| [at(0, x), at(h - 1, x)]).collect();
            border.extend((0..h).flat_map(|y| [at(y, 0), at(y, w - 1)]));
            border.sort_by(f32::total_cmp);
            border[border.len() / 2]
        })
        .collect()
}

/// Object, contour and background pixels of a photo with a plain background.
pub struct Regions {
    /// Per pixel: 0 background, 1 contour, 2 object.
    kind: Vec<u8>,
}

impl Regions {
    /// Pixels that differ from the border's colour are the object; those within one pixel of its edge the contour.
    /// Give the clean image: noise hides the edge.
    pub fn of(shape: Shape, image: &[f32]) -> Regions {
        let (h, w) = (shape.height as isize, shape.width as isize);
        let plane = shape.height * shape.width;
        let base = background(shape, image);
        let object: Vec<bool> =
            (0..plane).map(|p| (0..shape.channels).any(|c| (image[c * plane + p] - base[c]).abs() > 0.08)).collect();
        let inside = |y: isize, x: isize| y >= 0 && x >= 0 && y < h && x < w && object[(y * w + x) as usize];
        let kind = (0..h)
            .flat_map(|y| (0..w).map(move |x| (y, x)))
            .map(|(y, x)| {
                let near = (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (dy, dx)));
                let count = near.filter(|(dy, dx)| inside(y + dy, x + dx)).count();
                match (inside(y, x), count) {
                    (_, 1..=8) => 1,
                    (true, _) => 2,
                    (false, _) => 0,
                }
            })
            .collect();
        Regions { kind }
    }

    /// Share of |relevance| on each region; `None` where there is no relevance at all.
    pub fn shares(&self, values: &[f32]) -> Option<Shares> {
        let mut sums = [0.0f64; 3];
        values.iter().zip(&self.kind).for_each(|(v, k)| sums[usize::from(*k)] += f64::from(v.abs()));
        let total: f64 = sums.iter().sum();
        (total > 0.0).then(|| Shares { background: sums[0] / total, contour: sums[1] / total, object: sums[2] / total })
    }
}

/// Gini coefficient of |relevance|: 0 spread evenly, 1 all on one pixel.
pub fn gini(values: &[f32]) -> Option<f64> {
    let mut sizes: Vec<f64> = values.iter().map(|v| f64::from(v.abs())).collect();
    sizes.sort_by(f64::total_cmp);
    let (n, total) = (sizes.len() as f64, sizes.iter().sum::<f64>());
    let weighted: f64 = sizes.iter().enumerate().map(|(i, v)| (i as f64 + 1.0) * v).sum();
    (total > 0.0).then(|| 2.0 * weighted / (n * total) - (n + 1.0) / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_of_a_square() {
        let shape = Shape::new(1, 7, 7);
        let image: Vec<f32> =
            (0..49).map(|i| if (1..6).contains(&(i / 7)) && (1..6).contains(&(i % 7)) { 0.2 } else { 1.0 }).collect();
        let regions = Regions::of(shape, &image);
        let count = |k| regions.kind.iter().filter(|v| **v == k).count();
        assert_eq!((count(2), count(1), count(0)), (9, 40, 0));
    }

    #[test]
    fn gini_of_extremes() {
        assert!(gini(&[1.0; 50]).unwrap().abs() < 1e-9);
        assert!(gini(&[vec![0.0; 99], vec![3.0]].concat()).unwrap() > 0.98);
    }
}
