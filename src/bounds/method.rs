//! What bounds are computed by, and what they hold for.

/// How bounds are computed, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Interval bound propagation (Gowal et al. 2018).
    Ibp,
    /// Interval bounds inside, one backward linear pass for the margins (Zhang et al. 2020).
    CrownIbp,
    /// Backward linear bounds for every unstable neuron (Zhang et al. 2018).
    Crown,
    /// Crown, then the lower lines improved by gradient, of margins and of neurons behind them (Xu et al. 2021).
    Alpha,
}

impl Method {
    /// Cheapest first.
    pub const ALL: [Method; 4] = [Method::Ibp, Method::CrownIbp, Method::Crown, Method::Alpha];

    /// As on the command line and in result files.
    pub fn name(self) -> &'static str {
        match self {
            Method::Ibp => "ibp",
            Method::CrownIbp => "crown-ibp",
            Method::Crown => "crown",
            Method::Alpha => "alpha",
        }
    }

    /// Whether nonlinear layers are exchanged for lines and rows walk down to the input.
    pub fn relaxes(self) -> bool {
        match self {
            Method::Ibp => false,
            Method::CrownIbp | Method::Crown | Method::Alpha => true,
        }
    }

    /// Whether neurons before nonlinear layers are bounded by walks of their own.
    pub fn refines(self) -> bool {
        match self {
            Method::Ibp | Method::CrownIbp => false,
            Method::Crown | Method::Alpha => true,
        }
    }

    /// Whether lines are improved by gradient.
    pub fn optimises(self) -> bool {
        match self {
            Method::Ibp | Method::CrownIbp | Method::Crown => false,
            Method::Alpha => true,
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Which evaluations of the network a proof speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runtime {
    /// Its real arithmetic over the weights of the file.
    #[default]
    Exact,
    /// Also every runtime that computes each layer of the file in f32, rounded to nearest, its sums in any order and with
    /// or without fused multiply-adds; not those that compute in fewer bits or by transforms (TF32, f16, Winograd).
    AnyF32,
}

impl Runtime {
    /// The one that is taken where nothing is said first.
    pub const ALL: [Runtime; 2] = [Runtime::Exact, Runtime::AnyF32];

    /// As on the command line and in result files.
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Exact => "exact",
            Runtime::AnyF32 => "any-f32",
        }
    }
}

impl std::fmt::Display for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
