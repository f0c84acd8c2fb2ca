//! Which classes of a data set are kept, and their new labels: in the order asked for, or as outputs of a network.

use std::path::Path;

use unicode_normalization::UnicodeNormalization;

use super::Source;
use super::rest::{are, some};
use crate::error::{Error, Result};
use crate::terminal::counted;

/// The classes kept, in order, and where each class of the file goes.
#[derive(Debug)]
pub(super) struct Choice {
    pub names: Vec<String>,
    /// What each of them is called in the data, where it is there.
    pub own: Vec<String>,
    /// New label of each class of the file; `None` leaves its images out.
    map: Vec<Option<usize>>,
    /// The classes of the file.
    available: Vec<String>,
    /// Why some are left out, where nobody asked for it.
    why: String,
}

impl Choice {
    /// Of the classes `available` at `path`, those that `source` asks for; all, if it names none. They become the outputs
    /// of the network it is for, by name or number, or in their order where there are as many.
    ///
    /// # Errors
    /// A class that is not there or named twice; classes that are not those of the network.
    pub fn new(path: &Path, available: &[String], source: &Source) -> Result<Choice> {
        let Some(network) = &source.network else { return plain(path, available, &source.classes) };
        let outputs = Outputs { path, names: &network.classes, hint: &network.outputs };
        // More outputs than classes: numbers may be those of outputs, one for each class.
        if outputs.names.len() > available.len()
            && source.classes.len() == available.len()
            && plain(path, available, &source.classes).map_or(true, |c| !outputs.knows(&c.names))
            && let Some(places) = outputs.numbered(&source.classes)
        {
            return Ok(outputs.place(available, available, &places.into_iter().map(Some).collect::<Vec<_>>()));
        }
        let kept = plain(path, available, &source.classes)?;
        outputs.of(available, &kept, !source.classes.is_empty())
    }

    /// [`Choice::new`] of classes that are the numbers in `labels`.
    ///
    /// # Errors
    /// As [`Choice::new`].
    pub fn of_numbers(path: &Path, labels: &[usize], source: &Source) -> Result<Choice> {
        let largest = labels.iter().copied().max().unwrap_or(0);
        let outputs = source.network.as_ref().map_or(0, |n| n.classes.len());
        if source.classes.is_empty() && largest == outputs && labels.iter().all(|l| *l > 0) {
            let all = (1..=largest).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
            let problem =
                "its labels begin at 1, the outputs of the network at 0; to take them in order, give --classes";
            return Err(Error::input(path, format!("{problem} {all}")));
        }
        Choice::new(path, &numbered(largest), source)
    }

    /// What there is to say of classes that are left out, where the file has so many images of each.
    pub fn left_out(&self, there: &[usize]) -> Option<String> {
        let left = self.available.iter().zip(&self.map).zip(there).filter(|((_, label), n)| label.is_none() && **n > 0);
        let (names, counts): (Vec<String>, Vec<usize>) = left.map(|((name, _), &n)| (name.clone(), n)).unzip();
        let n = counts.iter().sum();
        let class = match names.iter().all(|name| name.parse::<u32>().is_ok()) {
            true if names.len() == 1 => "class ",
            true => "classes ",
            false => "",
        };
        let said = || format!("{} of {class}{} {} left out{}", counted(n, "image"), listed(&names), are(n), self.why);
        (n > 0).then(said)
    }

    /// New label of class `class` of the file.
    pub fn label(&self, class: usize) -> Option<usize> {
        self.map[class]
    }
}

/// `wanted` are names (exact, else whatever the case) or numbers of `available`; empty wants all.
fn plain(path: &Path, available: &[String], wanted: &[String]) -> Result<Choice> {
    let map = vec![None; available.len()];
    let mut choice = Choice { names: vec![], own: vec![], map, available: available.to_vec(), why: String::new() };
    if wanted.is_empty() {
        choice.names = available.to_vec();
        choice.map = (0..available.len()).map(Some).collect();
    }
    for word in wanted.iter().map(|w| w.trim()) {
        let class = available
            .iter()
            .position(|name| name == word)
            .or_else(|| available.iter().position(|name| is_same(name, word)))
            .or_else(|| word.parse().ok().filter(|&n: &usize| n < available.len()));
        let Some(class) = class else {
            let problem = format!("--classes names {word:?}, which is not here; there are {}", listed(available));
            return Err(Error::input(path, problem));
        };
        if choice.map[class].is_some() {
            return Err(Error::input(path, format!("--classes names {} twice", available[class])));
        }
        choice.map[class] = Some(choice.names.len());
        choice.names.push(available[class].clone());
    }
    choice.own.clone_from(&choice.names);
    Ok(choice)
}

/// The outputs of a network, and how its classes are called.
struct Outputs<'a> {
    path: &'a Path,
    names: &'a [String],
    hint: &'a str,
}

impl Outputs<'_> {
    /// The network has no names for its outputs, only numbers.
    fn unnamed(&self) -> bool {
        self.names.iter().enumerate().all(|(k, name)| *name == k.to_string())
    }

    /// The outputs that are called like these classes, where there is one for each.
    fn known(&self, classes: &[String]) -> Vec<Option<usize>> {
        classes.iter().map(|class| self.names.iter().position(|name| is_called(name, class))).collect()
    }

    fn knows(&self, classes: &[String]) -> bool {
        self.known(classes).iter().all(Option::is_some)
    }

    /// The outputs of these numbers, if every word is the number of another one.
    fn numbered(&self, words: &[String]) -> Option<Vec<usize>> {
        let places: Vec<usize> = words.iter().map(|w| w.trim().parse().ok()).collect::<Option<_>>()?;
        let mut distinct = places.clone();
        distinct.sort_unstable();
        distinct.dedup();
        (distinct.len() == places.len() && places.iter().all(|&p| p < self.names.len())).then_some(places)
    }

    /// The classes kept as outputs.
    fn of(&self, available: &[String], kept: &Choice, ordered: bool) -> Result<Choice> {
        let (classes, outputs) = (&kept.names, self.names.len());
        let places = self.known(classes);
        let distinct = |places: &[Option<usize>]| {
            let mut known: Vec<usize> = places.iter().flatten().copied().collect();
            known.sort_unstable();
            known.windows(2).all(|w| w[0] != w[1])
        };
        let by_number = || format!("give --classes with the number of an output for each of {}", listed(classes));
        let count = |n: usize| if n == 1 { "1 class".to_string() } else { format!("{n} classes") };
        let refuse = |problem: String| Err(Error::input(self.path, problem));
        if !distinct(&places) {
            return refuse(format!("several of its classes {} are one of the network's; rename them", listed(classes)));
        }
        // Names say more than order, and order more than numbers.
        let all_known = places.iter().all(Option::is_some);
        let in_order = self.unnamed() || ordered;
        if all_known && !(self.unnamed() && classes.len() == outputs) {
            return Ok(self.place(available, classes, &places));
        }
        if in_order && classes.len() == outputs {
            return Ok(self.place(available, classes, &(0..outputs).map(Some).collect::<Vec<_>>()));
        }
        let have = format!(
            "has {}, {}, but the network tells {outputs} apart{}",
            count(classes.len()),
            listed(classes),
            self.hint
        );
        if self.unnamed() {
            return refuse(if classes.len() > outputs {
                let some = classes.iter().take(outputs).cloned().collect::<Vec<_>>().join(",");
                format!("{have}; keep as many with --classes, as in --classes {some}")
            } else {
                format!("{have}; {}, or the names of all with --classes-file", by_number())
            });
        }
        // More classes than the network knows: the others are left out if it is whole without them.
        if !ordered && places.iter().flatten().count() == outputs {
            let mut choice = self.place(available, classes, &places);
            choice.why = format!(": the network knows {}", listed(self.names));
            return Ok(choice);
        }
        let common: Vec<String> =
            classes.iter().zip(&places).filter(|(_, p)| p.is_some()).map(|(c, _)| c.clone()).collect();
        let remedy = if classes.len() == outputs {
            format!("to take them in this order, give --classes {}", classes.join(","))
        } else if !common.is_empty() {
            format!("to keep those it knows, give --classes {}", common.join(","))
        } else {
            format!("rename the folders, or {}", by_number())
        };
        refuse(format!("has the classes {} but the model knows {}; {remedy}", listed(classes), listed(self.names)))
    }

    /// Each of `classes` (among those available) as the output at its place.
    fn place(&self, available: &[String], classes: &[String], places: &[Option<usize>]) -> Choice {
        let place = |name: &String| classes.iter().position(|c| c == name).and_then(|k| places[k]);
        let map: Vec<Option<usize>> = available.iter().map(place).collect();
        // An output without a name of its own takes that of the class.
        let (mut names, mut own) = (self.names.to_vec(), self.names.to_vec());
        for (class, place) in classes.iter().zip(places) {
            place.iter().for_each(|&p| own[p].clone_from(class));
            if let Some(place) = place.filter(|&p| names[p] == p.to_string()) {
                names[place] = class.clone();
            }
        }
        let mut distinct: Vec<&String> = names.iter().collect();
        distinct.sort_unstable();
        let twice = distinct.windows(2).any(|w| w[0] == w[1]);
        let names = if twice { self.names.to_vec() } else { names };
        Choice { names, own, map, available: available.to_vec(), why: String::new() }
    }
}

/// A name as one sequence of characters, however accents were written.
pub(super) fn composed(name: &str) -> String {
    name.nfc().collect()
}

/// Whether two names differ at most in the case of letters and in how accents are written.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || composed(a).to_lowercase() == composed(b).to_lowercase()
}

/// Whether a line that names an output, as lists of ImageNet's classes do, is about this class: it is the line, its first
/// word, or one of the names between its commas.
fn is_called(line: &str, class: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    is_same(line, class)
        || (first != line && is_same(first, class))
        || line.contains(',') && line.split(',').any(|part| is_same(part.trim(), class))
}

/// How often each label occurs.
pub(super) fn tally(labels: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut counts = vec![];
    for label in labels {
        counts.resize(counts.len().max(label + 1), 0);
        counts[label] += 1;
    }
    counts
}

/// Class names for labels that are plain numbers: `"0"`, `"1"`, … up to the largest in use.
pub(super) fn numbered(largest: usize) -> Vec<String> {
    (0..=largest).map(|n| n.to_string()).collect()
}

/// The names for people, cut short after ten.
pub(super) fn listed(names: &[String]) -> String {
    if names.len() > 10 { format!("{} ({} classes)", some(names), names.len()) } else { some(names) }
}

#[cfg(test)]
mod tests {
    use super::super::Network;
    use super::*;
    use crate::tensor::Shape;

    fn names(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| w.to_string()).collect()
    }

    fn choose(available: &[&str], wanted: &[&str], outputs: Option<&[&str]>) -> Result<Choice> {
        let network = |classes: &[&str]| Network { classes: names(classes), ..Network::new(Shape::flat(1), &[]) };
        let source = Source { classes: names(wanted), network: outputs.map(network), ..Source::new("d") };
        Choice::new(Path::new("d"), &names(available), &source)
    }

    #[test]
    fn names_numbers_and_order() {
        let pick = |words: &[&str]| choose(&["Boots", "Sandals", "Shoes"], words, None);
        let choice = pick(&["shoes", "0"]).unwrap();
        assert_eq!(choice.names, ["Shoes", "Boots"]);
        assert_eq!([0, 1, 2].map(|c| choice.label(c)), [Some(1), None, Some(0)]);
        assert!(pick(&["Clogs"]).unwrap_err().to_string().contains("Boots, Sandals, Shoes"));
        assert!(pick(&["3"]).is_err());
        assert!(pick(&["Boots", "0"]).unwrap_err().to_string().contains("twice"));
        // The same letter, in one character and in two.
        assert_eq!(choose(&["caf\u{e9}", "x"], &["Cafe\u{301}"], None).unwrap().names, ["caf\u{e9}"]);
    }

    #[test]
    fn classes_become_outputs_by_name_number_or_order() {
        let labels = |choice: Choice, n: usize| (0..n).map(|c| choice.label(c)).collect::<Vec<_>>();
        let known: &[&str] = &["b", "A", "c"];
        assert_eq!(labels(choose(&["a", "b", "c"], &[], Some(known)).unwrap(), 3), [Some(1), Some(0), Some(2)]);
        // Fewer classes than outputs, more, and others.
        assert_eq!(labels(choose(&["c", "b"], &[], Some(known)).unwrap(), 2), [Some(2), Some(0)]);
        let more = choose(&["a", "b", "c", "x"], &[], Some(known)).unwrap();
        assert_eq!(more.left_out(&[1, 1, 1, 2]).unwrap(), "2 images of x are left out: the network knows b, A, c");
        assert_eq!(more.left_out(&[1, 1, 1, 0]), None);
        assert_eq!(labels(more, 4), [Some(1), Some(0), Some(2), None]);
        let other = choose(&["a", "b", "x"], &[], Some(known)).unwrap_err().to_string();
        assert!(other.contains("a, b, x") && other.contains("b, A, c") && other.contains("--classes a,b,x"), "{other}");
        let ordered = choose(&["a", "b", "x"], &["x", "b", "a"], Some(known)).unwrap();
        assert_eq!((ordered.names.clone(), labels(ordered, 3)), (names(known), vec![Some(2), Some(1), Some(0)]));
        // Outputs without names.
        let unnamed: &[&str] = &["0", "1", "2", "3"];
        let in_order = choose(&["p", "q", "r", "s"], &[], Some(unnamed)).unwrap();
        assert_eq!((in_order.names.clone(), labels(in_order, 4)[3]), (names(&["p", "q", "r", "s"]), Some(3)));
        let few = choose(&["p", "q"], &[], Some(unnamed)).unwrap_err().to_string();
        assert!(few.contains("--classes with the number of an output for each of p, q"), "{few}");
        let placed = choose(&["p", "q"], &["3", "1"], Some(unnamed)).unwrap();
        assert_eq!((placed.names.clone(), labels(placed, 2)), (names(&["0", "q", "2", "p"]), vec![Some(3), Some(1)]));
        assert_eq!(labels(choose(&["0", "1", "2"], &[], Some(unnamed)).unwrap(), 3), [Some(0), Some(1), Some(2)]);
        assert_eq!(labels(choose(&["0", "1", "2"], &["2", "0"], Some(unnamed)).unwrap(), 3), [Some(0), None, Some(2)]);
        let many = choose(&["a", "b", "c"], &[], Some(&["0", "1"])).unwrap_err().to_string();
        assert!(many.contains("3 classes") && many.contains("--classes a,b"), "{many}");
        assert!(choose(&["a", "b", "c"], &["a", "b"], Some(&["0", "1"])).is_ok());
        // Numbers that begin at 1.
        let network = Some(Network { classes: names(&["0", "1", "2"]), ..Network::new(Shape::flat(1), &[]) });
        let mut source = Source { network, ..Source::new("d") };
        let begun = Choice::of_numbers(Path::new("d"), &[1, 3, 2], &source).unwrap_err().to_string();
        assert!(begun.ends_with("give --classes 1,2,3"), "{begun}");
        source.classes = names(&["1", "2", "3"]);
        let taken = Choice::of_numbers(Path::new("d"), &[1, 3, 2], &source).unwrap();
        assert_eq!(labels(taken, 4), [None, Some(0), Some(1), Some(2)]);
        // Lists of ImageNet's classes.
        let lines: &[&str] = &["n01440764 tench, Tinca tinca", "n02102040 English springer", "goldfish"];
        assert_eq!(labels(choose(&["n02102040", "tinca Tinca"], &[], Some(lines)).unwrap(), 2), [Some(1), Some(0)]);
    }
}
