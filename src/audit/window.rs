//! Which inputs a convolution or pooling window covers.

use std::ops::Range;

/// One axis of a sliding window.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    /// Length of the input.
    pub input: usize,
    /// Length of the output.
    pub output: usize,
}

impl Axis {
    /// The taps of output position `out` that lie inside the input.
    pub fn taps(&self, out: usize) -> Range<usize> {
        let first = out * self.stride;
        let end = (self.input + self.pad).saturating_sub(first).min(self.kernel);
        self.pad.saturating_sub(first).min(end)..end
    }

    /// The input position under a tap of [`taps`](Self::taps).
    pub fn at(&self, out: usize, tap: usize) -> usize {
        out * self.stride + tap - self.pad
    }

    /// The output positions whose window holds input position `at`.
    pub fn readers(&self, at: usize) -> Range<usize> {
        let at = at + self.pad;
        let first = (at + 1).saturating_sub(self.kernel).div_ceil(self.stride);
        first..(at / self.stride + 1).min(self.output).max(first)
    }

    /// The input positions under the windows of some output positions.
    pub fn below(&self, out: &Range<usize>) -> Range<usize> {
        if out.is_empty() {
            return 0..0;
        }
        let start = (out.start * self.stride).saturating_sub(self.pad).min(self.input);
        let end = ((out.end - 1) * self.stride + self.kernel).saturating_sub(self.pad).min(self.input);
        start..end.max(start)
    }
}

/// Both axes of a window over values of these (channel, row, column) shapes.
pub fn axes(
    kernel: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    x: crate::tensor::Shape,
    y: crate::tensor::Shape,
) -> [Axis; 2] {
    let axis = |d: usize, input, output| Axis { kernel: kernel[d], stride: stride[d], pad: pad[d], input, output };
    [axis(0, x.height, y.height), axis(1, x.width, y.width)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_and_taps_agree() {
        for (kernel, stride, pad, input, output) in
            [(3, 1, 1, 5, 5), (4, 2, 1, 8, 4), (2, 3, 0, 7, 2), (3, 2, 2, 4, 3), (1, 1, 0, 1, 1), (5, 1, 7, 2, 12)]
        {
            let axis = Axis { kernel, stride, pad, input, output };
            let mut pairs = Vec::new();
            for out in 0..output {
                let brute: Vec<usize> =
                    (0..kernel).filter(|t| (pad..pad + input).contains(&(out * stride + t))).collect();
                assert_eq!(axis.taps(out).collect::<Vec<_>>(), brute, "{axis:?} {out}");
                pairs.extend(brute.iter().map(|&t| (axis.at(out, t), out)));
            }
            for at in 0..input {
                let expected: Vec<usize> = pairs.iter().filter(|p| p.0 == at).map(|p| p.1).collect();
                assert_eq!(axis.readers(at).collect::<Vec<_>>(), expected, "{axis:?} {at}");
                assert!(pairs.iter().all(|p| axis.below(&(p.1..p.1 + 1)).contains(&p.0)));
            }
        }
    }
}
