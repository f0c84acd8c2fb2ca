//! A folder of pictures with a list of labels.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::classes::{Choice, tally};
use super::folder::{Item, read_pictures};
use super::rest::{Seen, some};
use super::source::{Found, Images};
use super::{Source, picture};
use crate::error::{Error, Result};
use crate::input;

/// Name of the list of labels: rows `file,label`, paths relative to the folder, a header if you like.
pub(super) const LABELS: &str = "labels.csv";

/// A row of the list.
struct Row {
    line: usize,
    file: String,
    label: String,
    /// The picture it is about, if it is there.
    path: Option<PathBuf>,
}

/// A folder with pictures and [`LABELS`].
pub(super) fn read(root: &Path, source: &Source) -> Result<Found> {
    let path = root.join(LABELS);
    let broken = |problem: String| Error::input(&path, problem);
    let (mut rows, further) = rows(root, &path)?;
    // A first line that names no picture is a header, unless it looks like one that is missing.
    let is_header = |row: &Row| row.path.is_none() && !picture::is_picture(&row.file);
    let headed = rows.len() > 1 && is_header(&rows[0]) && rows[1..].iter().any(|r| r.path.is_some());
    let header = headed.then(|| rows.remove(0));
    if rows.iter().all(is_header) && rows.len() < 2 {
        return Err(broken("lists no images; write one line file,label for each".into()));
    }
    if let Some(Row { line, file, .. }) = rows.get(1).filter(|_| rows.iter().all(|r| r.path.is_none())) {
        let example = format!("line {line} names {file}");
        return Err(broken(format!(
            "names no picture that is there ({example}); the first column is the file, seen from the folder of {LABELS}"
        )));
    }
    if let Some(Row { line, .. }) = rows.iter().find(|r| r.label.is_empty()) {
        return Err(broken(format!("line {line} names no class; write one, or remove the line")));
    }
    let mut seen = Seen::new(format!("that {LABELS} does not name"));
    seen.add(&path);
    let mut lines = HashMap::new();
    for row in &rows {
        let place = row.path.as_ref().map_or_else(|| row.file.clone().into(), |p| seen.add_written(&root.join(p)));
        if let Some(first) = lines.insert(place, row.line) {
            let (line, file) = (row.line, &row.file);
            return Err(broken(format!("line {line} names {file}, as line {first} does; remove one of them")));
        }
    }
    let numbers: Option<Vec<usize>> = rows.iter().map(|r| r.label.parse().ok().filter(|&n| n < 100_000)).collect();
    let (choice, labels) = match numbers {
        Some(numbers) => (Choice::of_numbers(&path, &numbers, source)?, numbers),
        None => {
            let names: BTreeSet<&String> = rows.iter().map(|r| &r.label).collect();
            let names: Vec<String> = names.into_iter().cloned().collect();
            let labels = rows.iter().map(|r| names.binary_search(&r.label).unwrap_or(0)).collect();
            (Choice::new(&path, &names, source)?, labels)
        }
    };
    let there = tally(rows.iter().zip(&labels).filter(|(row, _)| row.path.is_some()).map(|(_, &class)| class));
    let kept: Vec<(Row, usize)> =
        rows.into_iter().zip(labels).filter_map(|(row, class)| Some((row, choice.label(class)?))).collect();
    let completed = kept.iter().any(|(row, _)| row.path.as_ref().is_some_and(|p| p.as_os_str() != row.file.as_str()));
    let item = |(row, label): (Row, usize)| match row.path {
        Some(path) => Ok(Item { path, label }),
        None => Err(broken(format!(
            "line {} names {}, which is not there, with or without an ending such as .jpg; correct the line or add the file",
            row.line, row.file
        ))),
    };
    let listing: Vec<Item> = kept.into_iter().map(item).collect::<Result<_>>()?;
    let mut notes = vec![];
    let [all] = read_pictures(root, [listing], &choice.names, source, &mut notes)?;
    let mut found = Images::Whole(all).chosen(choice, &there, seen);
    found.notes.extend(notes);
    if completed {
        found.notes.push(format!("{LABELS} names files without their ending; it was completed"));
    }
    if let Some(columns) = further {
        found.notes.push(match header {
            Some(Row { file, label, .. }) => {
                format!("of {LABELS} the columns {file} and {label} are read, others are not: {}", some(&columns))
            }
            None => format!("of {LABELS} the first two columns are read, others are not"),
        });
    }
    Ok(found)
}

/// The rows, and, if any has more than two columns, what the first has in those.
fn rows(root: &Path, path: &Path) -> Result<(Vec<Row>, Option<Vec<String>>)> {
    let broken = |problem: String| Error::input(path, problem);
    let mut text = input::read(path, 1 << 28)?;
    if let Some(decoded) = input::utf16(&text) {
        text = decoded.into_bytes();
    }
    let wrong = std::str::from_utf8(&text).map_or_else(|e| Some(e.valid_up_to()), |text| text.find('\0'));
    if let Some(wrong) = wrong {
        let line = 1 + text[..wrong].iter().filter(|b| **b == b'\n').count();
        return Err(broken(format!("line {line} is not UTF-8; save the file as CSV in UTF-8")));
    }
    // Spreadsheets write semicolons where commas are in numbers.
    let first = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let delimiter = *b",;\t".iter().find(|d| first.contains(d)).unwrap_or(&b',');
    let mut reader = csv::ReaderBuilder::new();
    let reader = reader.has_headers(false).flexible(true).trim(csv::Trim::All).delimiter(delimiter);
    let mut reader = reader.from_reader(&text[..]);
    let mut rows = Vec::new();
    let (mut at, mut line) = (0, 1);
    let (mut first, mut wide) = (None, false);
    for record in reader.records() {
        let record = record.map_err(|e| broken(format!("not a CSV file: {e}").replace('\n', " ")))?;
        // The reader takes a row to begin before the second half of the line break above it.
        let begins = record.position().map_or(at, |p| p.byte() as usize).max(at);
        let begins = begins + text[begins..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        line += text[at..begins].iter().filter(|b| **b == b'\n').count();
        at = begins;
        // Blanks alone, or none: an empty line.
        if record.len() == 1 && record[0].is_empty() {
            continue;
        }
        first.get_or_insert_with(|| record.iter().skip(2).map(String::from).collect());
        wide |= record.iter().skip(2).any(|field| !field.is_empty());
        let (Some(file), Some(label)) = (record.get(0), record.get(1)) else {
            return Err(broken(format!("line {line} is not of the form file,label")));
        };
        let file = file.trim_start_matches('\u{feff}').replace('\\', "/").trim_start_matches("./").to_string();
        rows.push(Row { line, path: find(root, &file), file, label: label.to_string() });
    }
    Ok((rows, first.filter(|_| wide)))
}

/// The picture of this name below the folder; it may lack its ending.
fn find(root: &Path, file: &str) -> Option<PathBuf> {
    if file.is_empty() || root.join(file).is_file() {
        return (!file.is_empty()).then(|| file.into());
    }
    let endings = picture::ENDINGS.iter().flat_map(|e| [e.to_string(), e.to_uppercase()]);
    endings.map(|e| PathBuf::from(format!("{file}.{e}"))).find(|p| root.join(p).is_file())
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::super::testing::{error, put};
    use super::*;

    /// Four pictures, and a list that `rows` make.
    fn listing(rows: impl AsRef<[u8]>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        (0..4).for_each(|i| put(dir.path(), &format!("img/{i}.png"), 3, [i, 8, 9]));
        std::fs::write(dir.path().join(LABELS), rows).unwrap();
        dir
    }

    const TWO: &str = "img/0.png,cat\nimg/1.png,ant\n";

    fn said(dir: &tempfile::TempDir) -> Vec<String> {
        load(&Source { test_share: 0.0, ..Source::new(dir.path()) }).unwrap().notes
    }

    #[test]
    fn every_file_is_read_once_or_counted() {
        for again in ["img/0,ant", "img//0.png,cat", "img/../img/0.png,cat", "./img/0.png,cat"] {
            let message = error(listing(format!("{TWO}{again}\n")).path());
            let name = again.split(',').next().unwrap().trim_start_matches("./");
            assert!(message.contains(&format!("line 3 names {name}, as line 1 does")), "{message}");
        }
        let left = |n: usize| format!("{n} pictures that labels.csv does not name are left out");
        let dir = listing(TWO);
        ["img/x.heic", "notes.txt", "more.npz"]
            .into_iter()
            .for_each(|name| std::fs::write(dir.path().join(name), "").unwrap());
        let others = "2 files of other types are left out: 1 .heic, 1 .txt";
        assert_eq!(said(&dir), [&left(2), "1 data file is left out: more.npz", others]);
        let elsewhere = tempfile::tempdir().unwrap();
        put(elsewhere.path(), "o.png", 3, [1, 8, 9]);
        let outside = elsewhere.path().join("o.png").display().to_string();
        let named = "1 file of those named is hidden or outside the folder";
        assert_eq!(said(&listing(format!("{TWO}{outside},ant\n"))), [named, &left(2)]);
        let three = listing(format!("{TWO}img/2.png,owl\nimg/3.png,owl\n"));
        let classes = ["cat", "ant"].map(String::from).to_vec();
        let splits = load(&Source { classes, test_share: 0.0, ..Source::new(three.path()) }).unwrap();
        assert_eq!((splits.train.counts(), splits.notes), (vec![1, 1], vec!["2 images of owl are left out".into()]));
    }

    #[test]
    fn lists_as_spreadsheets_save_them() {
        let wide =
            |text: &str| format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let tabs = format!("file,label\n{TWO}").replace(',', "\t").replace('\n', "\r\n");
        assert_eq!(said(&listing(wide(&tabs))), ["2 pictures that labels.csv does not name are left out"]);
        assert_eq!(said(&listing(format!("{TWO}\n\n  \n"))).len(), 1);
        let unmarked = wide(&tabs)[2..].to_vec();
        for (bytes, line) in [([TWO.as_bytes(), b"img/2.png,\xe9t\xe9\n"].concat(), 3), (unmarked, 1)] {
            let message = error(listing(bytes).path());
            assert!(message.contains(&format!("line {line} is not UTF-8; save the file")), "{message}");
        }
        let columns = said(&listing("file,cat,dog,owl\nimg/0.png,1,0,0\nimg/1.png,0,1,0\n"));
        assert_eq!(columns[0], "of labels.csv the columns file and cat are read, others are not: dog, owl");
        assert_eq!(
            said(&listing("img/0.png,1,x\nimg/1.png,0,\n"))[0],
            "of labels.csv the first two columns are read, others are not"
        );
        assert_eq!(said(&listing("img/0.png,1,\nimg/1.png,0,\n")).len(), 1);
    }

    #[test]
    fn a_list_of_labels() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..4 {
            put(dir.path(), &format!("img/{i}.png"), 3, [i as u8, 8, 9]);
        }
        let csv = dir.path().join(LABELS);
        std::fs::write(&csv, "file,label\nimg/0.png,cat\nimg/1.png,ant\nimg/2.png,cat\nimg/3.png,ant\n").unwrap();
        let splits = load(&Source::new(dir.path())).unwrap();
        assert_eq!(
            (splits.train.classes.clone(), splits.train.counts()),
            (vec!["ant".into(), "cat".into()], vec![1, 1])
        );
        std::fs::write(&csv, "img/0.png,0\nimg/1.png,2\nimg/2.png,0\n").unwrap();
        assert!(error(dir.path()).contains("class 1 has no images"));
        // Names without their ending, and pictures that nothing names.
        std::fs::write(&csv, "id,breed\nimg/0,cat\nimg/1,ant\nimg/3,cat\n").unwrap();
        let splits = load(&Source { test_share: 0.0, ..Source::new(dir.path()) }).unwrap();
        assert_eq!((splits.train.counts(), splits.train.names[0].ends_with(".png")), (vec![1, 2], true));
        assert!(
            splits.notes[0].contains("completed")
                && splits.notes[1].contains("1 picture that labels.csv does not name")
        );
        // Semicolons, and pictures that are elsewhere than the list says, of which a header is no class.
        std::fs::write(&csv, "file;label\nimg/0.png;cat\nimg/1.png;ant, red\nimg/2.png;cat\n").unwrap();
        let splits = load(&Source { test_share: 0.0, ..Source::new(dir.path()) }).unwrap();
        assert_eq!(splits.train.classes, ["ant, red", "cat"]);
        for moved in [
            "id,breed\n0,cat\n1,ant\n",
            "breed,id\ncat,img/0\nant,img/1\ncat,img/2\n",
            ",id,breed\n0,img/0,cat\n1,img/1,ant\n",
        ] {
            std::fs::write(&csv, moved).unwrap();
            let problem = error(dir.path());
            assert!(problem.contains("line 2 names") && problem.contains("the first column is the file"), "{problem}");
        }
        std::fs::write(&csv, "img/0,0\nimg/7,1\n").unwrap();
        assert!(error(dir.path()).contains("line 2 names img/7"));
        std::fs::write(&csv, "img/0.png,0\nimg/7.png,1\n").unwrap();
        assert!(error(dir.path()).contains("img/7.png"));
        std::fs::write(&csv, "img/0.png,0\nimg/1.png\n").unwrap();
        assert!(error(dir.path()).contains("line 2"));
        std::fs::write(&csv, "file,label\nimg/0.png,0\nimg/1.png,\n").unwrap();
        assert!(error(dir.path()).contains("line 3 names no class"));
        std::fs::write(&csv, "img/0.png,0\nimg/1.png,1\n./img/0.png,1\n").unwrap();
        assert!(error(dir.path()).contains("line 3 names img/0.png, as line 1"));
        std::fs::write(&csv, "\r\nfile,label\r\n\r\nimg/0.png,0\r\nimg/1.png,1\r\n\r\nimg/2.png,\r\n").unwrap();
        assert!(error(dir.path()).contains("line 7 names no class"));
        // Numbers that begin at 1, where the network's outputs begin at 0.
        std::fs::write(&csv, "img/0.png,1\nimg/1.png,2\nimg/2.png,1\n").unwrap();
        let classes = ["0", "1"].map(String::from);
        let network = Some(super::super::Network::new(crate::tensor::Shape::new(3, 3, 3), &classes));
        let mut source = Source { network, test_share: 0.0, ..Source::new(dir.path()) };
        let begun = load(&source).unwrap_err().to_string();
        assert!(begun.ends_with("give --classes 1,2"), "{begun}");
        source.classes = ["1", "2"].map(String::from).to_vec();
        assert_eq!(load(&source).unwrap().train.counts(), [2, 1]);
    }
}
