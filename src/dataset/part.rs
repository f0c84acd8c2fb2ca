//! The parts of a data set.

use std::str::FromStr;

/// Which part of the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Images that models are trained on.
    Train,
    /// Images held back.
    Test,
}

impl Split {
    /// Both parts.
    pub const ALL: [Split; 2] = [Split::Train, Split::Test];

    /// Its name on the command line and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
        }
    }
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Split {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Split, String> {
        Split::ALL.into_iter().find(|s| s.name() == name).ok_or_else(|| format!("knows no split '{name}'"))
    }
}
