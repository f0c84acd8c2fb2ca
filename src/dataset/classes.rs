//! Which classes of a data set are kept, and their new labels.

use std::path::Path;

use crate::error::{Error, Result};

/// The classes kept, in order, and where each class of the file goes.
#[derive(Debug)]
pub(super) struct Choice {
    pub names: Vec<String>,
    /// New label of each class of the file; `None` leaves its images out.
    map: Vec<Option<usize>>,
}

impl Choice {
    /// `wanted` are names (exact, else whatever the case) or numbers of `available`; empty wants all.
    pub fn new(path: &Path, available: &[String], wanted: &[String]) -> Result<Choice> {
        if wanted.is_empty() {
            return Ok(Choice { names: available.to_vec(), map: (0..available.len()).map(Some).collect() });
        }
        let mut choice = Choice { names: Vec::new(), map: vec![None; available.len()] };
        for word in wanted.iter().map(|w| w.trim()) {
            let class = available
                .iter()
                .position(|name| name == word)
                .or_else(|| available.iter().position(|name| name.eq_ignore_ascii_case(word)))
                .or_else(|| word.parse().ok().filter(|&n: &usize| n < available.len()));
            let Some(class) = class else {
                return Err(Error::input(
                    path,
                    format!("--classes names {word:?}, which is not here; there are {}", listed(available)),
                ));
            };
            if choice.map[class].is_some() {
                return Err(Error::input(path, format!("--classes names {} twice", available[class])));
            }
            choice.map[class] = Some(choice.names.len());
            choice.names.push(available[class].clone());
        }
        Ok(choice)
    }

    /// New label of class `class` of the file.
    pub fn label(&self, class: usize) -> Option<usize> {
        self.map[class]
    }
}

/// Class names for labels that are plain numbers: `"0"`, `"1"`, … up to the largest in use.
pub(super) fn numbered(largest: usize) -> Vec<String> {
    (0..=largest).map(|n| n.to_string()).collect()
}

/// The names for people, cut short after ten.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > 10 { format!("{shown}, … ({} classes)", names.len()) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_order() {
        let available: Vec<String> = ["Boots", "Sandals", "Shoes"].map(String::from).to_vec();
        let pick = |words: &[&str]| {
            let wanted: Vec<String> = words.iter().map(|w| w.to_string()).collect();
            Choice::new(Path::new("d"), &available, &wanted)
        };
        let choice = pick(&["shoes", "0"]).unwrap();
        assert_eq!(choice.names, ["Shoes", "Boots"]);
        assert_eq!([0, 1, 2].map(|c| choice.label(c)), [Some(1), None, Some(0)]);
        assert!(pick(&["Clogs"]).unwrap_err().to_string().contains("Boots, Sandals, Shoes"));
        assert!(pick(&["3"]).is_err());
        assert!(pick(&["Boots", "0"]).unwrap_err().to_string().contains("twice"));
    }
}
