//! What the command line makes of choices that the library knows: their names and what help says of them.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::bounds::{Method, Runtime};
use crate::dataset::{Fit, Split};
use crate::model::cnn::Named;
use crate::norm::Norm;
use crate::vary::Kind;

impl ValueEnum for Method {
    fn value_variants<'a>() -> &'a [Self] {
        &Method::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Method::Ibp => "Interval bound propagation (Gowal et al. 2018)",
            Method::CrownIbp => "Interval bounds inside, one backward linear pass for the margins (Zhang et al. 2020)",
            Method::Crown => "Backward linear bounds for every unstable neuron (Zhang et al. 2018)",
            Method::Alpha => {
                "Crown, then the lower lines improved by gradient, of margins and of neurons behind them (Xu et al. 2021)"
            }
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl ValueEnum for Runtime {
    fn value_variants<'a>() -> &'a [Self] {
        &Runtime::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Runtime::Exact => "Its real arithmetic over the weights of the file",
            Runtime::AnyF32 => {
                "Also every runtime that computes each layer of the file in f32, rounded to nearest, its sums in any order and with \
                 or without fused multiply-adds; not those that compute in fewer bits or by transforms (TF32, f16, Winograd)"
            }
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl ValueEnum for Norm {
    fn value_variants<'a>() -> &'a [Self] {
        &Norm::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Norm::Linf => "The largest change of any pixel and channel",
            Norm::L2 => "The Euclidean length of all changes: the root of their summed squares",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        &Kind::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Kind::Brightness => "The same added to every pixel: x + t",
            Kind::Contrast => "Distances from middle grey grow or shrink: x + t (x - 1/2)",
            Kind::Darken => "One gain for all light: x - t x",
            Kind::WhiteBalance => {
                "A gain for each colour: x + t x, with a t for red, green and blue; coloured images only"
            }
            Kind::Defocus => "A blend with the image through a disc: x + t (blurred - x)",
            Kind::MotionBlur => "A blend with the image moved sideways: x + t (blurred - x)",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl ValueEnum for Named {
    fn value_variants<'a>() -> &'a [Self] {
        &Named::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Named::Cnn3 => "Two strided convolutions of 16 and 32 channels, the logits",
            Named::Cnn5 => "Three convolutions of 32, 32 and 64 channels, 256 neurons, the logits",
            Named::Cnn7 => {
                "The seven layers of certified training: five convolutions of 64 and 128 channels, 512 neurons, the logits \
                 (Shi et al. 2021)"
            }
            Named::Resnet8 => {
                "A convolution, three residual blocks of 16, 32 and 64 channels, means, the logits (He et al. 2016)"
            }
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl ValueEnum for Split {
    fn value_variants<'a>() -> &'a [Self] {
        &Split::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl ValueEnum for Fit {
    fn value_variants<'a>() -> &'a [Self] {
        &Fit::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Fit::Pad => "Whole, aspect kept, the sides filled with the colour of the border",
            Fit::Stretch => "To the full size, aspect lost, as torchvision's Resize((H, W)) and Keras do",
            Fit::Crop => "Aspect kept, what hangs over cut off at both sides",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}
