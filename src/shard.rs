//! Parts of a job that processes do apart, on one machine or many, and that are joined afterwards.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Part `index` of `of`, counted from 0. Written `[index, of]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[usize; 2]", into = "[usize; 2]")]
pub struct Shard {
    /// Which part.
    pub index: usize,
    /// How many parts there are.
    pub of: usize,
}

impl Shard {
    /// The job in one piece.
    pub const WHOLE: Shard = Shard { index: 0, of: 1 };

    /// Items of the part, of so many in all. Parts follow each other, and differ in length by one at most.
    pub fn range(self, items: usize) -> Range<usize> {
        let end = |parts: usize| (items as u128 * parts as u128 / self.of.max(1) as u128) as usize;
        end(self.index)..end(self.index.saturating_add(1))
    }

    /// Whether there can be such a part.
    pub fn exists(self) -> bool {
        self.index < self.of
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl From<[usize; 2]> for Shard {
    fn from([index, of]: [usize; 2]) -> Shard {
        Shard { index, of }
    }
}

impl From<Shard> for [usize; 2] {
    fn from(shard: Shard) -> [usize; 2] {
        [shard.index, shard.of]
    }
}

/// What one run had other than the next, for people.
#[derive(Debug, Default)]
pub struct Differences(Vec<String>);

impl Differences {
    /// Takes note of something whose values tell people nothing, hashes for one, unless it is the same.
    pub fn unlike(&mut self, same: bool, name: &str) {
        if !same {
            self.0.push(format!("another {name}"));
        }
    }

    /// Takes note of both values, unless they are the same.
    pub fn other(&mut self, name: &str, theirs: impl fmt::Display, mine: impl fmt::Display) {
        let (theirs, mine) = (theirs.to_string(), mine.to_string());
        self.unlike(theirs == mine, &format!("{name} ({theirs}, not {mine})"));
    }

    /// All in one line, if there are any.
    pub fn said(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| format!("its run had {}", self.0.join(", ")))
    }
}

/// What a folder says of the part that it holds.
pub trait Part {
    /// Which it is.
    fn shard(&self) -> Shard;

    /// Why `other` is no part of the same job, if it is none.
    fn difference(&self, other: &Self) -> Option<String>;
}

/// Puts parts, each with its folder, in order, and refuses what are not all parts of one job, each once; `again` says how a
/// part is made again, as in `certify`.
///
/// # Errors
/// With the folder of a part of another job or one that is given twice, or the names of those that are missing.
pub fn in_order<P: Part>(parts: &mut [(P, &Path)], again: &str) -> Result<()> {
    parts.sort_by_key(|(part, _)| part.shard().index);
    let Some((first, first_dir)) = parts.first() else { return Err(Error::usage("nothing to merge")) };
    for (part, dir) in parts.iter() {
        if let Some(difference) = first.difference(part) {
            let problem = format!("{difference}; {again} this shard again as {} was", first_dir.display());
            return Err(Error::input(dir, problem));
        }
    }
    check_all(&parts.iter().map(|(part, dir)| (part.shard(), *dir)).collect::<Vec<_>>())
}

/// Refuses parts that are not all parts of one job, each once. All have the same [`Shard::of`], and come by index.
///
/// # Errors
/// With the folder of a part that is given twice, or the names of those that are missing.
fn check_all(parts: &[(Shard, &Path)]) -> Result<()> {
    if let Some([_, (shard, dir)]) = parts.windows(2).find(|pair| pair[0].0 == pair[1].0).and_then(|p| p.first_chunk())
    {
        return Err(Error::input(dir, format!("shard {shard} is given twice")));
    }
    let of = parts.first().map_or(0, |(shard, _)| shard.of);
    let given: Vec<usize> = parts.iter().map(|(shard, _)| shard.index).collect();
    let missing: Vec<String> =
        (0..of).filter(|i| given.binary_search(i).is_err()).map(|index| Shard { index, of }.to_string()).collect();
    let Some((last, others)) = missing.split_last() else { return Ok(()) };
    let (kind, verb) = if others.is_empty() { ("shard", "is") } else { ("shards", "are") };
    let and = if others.is_empty() { String::new() } else { format!("{} and ", others.join(", ")) };
    Err(Error::usage(format!("{kind} {and}{last} {verb} missing; give their folders too")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once() {
        for (items, of) in [(11, 3), (2, 5), (0, 2), (usize::MAX, 7)] {
            let parts: Vec<_> = (0..of).map(|index| Shard { index, of }.range(items)).collect();
            assert!(parts[0].start == 0 && parts[of - 1].end == items);
            assert!(parts.windows(2).all(|w| w[0].end == w[1].start));
            let lengths: Vec<usize> = parts.iter().map(ExactSizeIterator::len).collect();
            assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() <= 1);
        }
    }

    #[test]
    fn gaps_and_duplicates_have_names() {
        let at = |index| (Shard { index, of: 4 }, Path::new("part"));
        assert!(check_all(&[at(0), at(1), at(2), at(3)]).is_ok());
        let said = |parts: &[_]| check_all(parts).unwrap_err().to_string();
        assert_eq!(said(&[at(0), at(1), at(1)]), "part: shard 1/4 is given twice");
        assert_eq!(said(&[at(0), at(2)]), "shards 1/4 and 3/4 are missing; give their folders too");
    }
}
