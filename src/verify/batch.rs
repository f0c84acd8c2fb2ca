//! A whole folder of the verification competition: `instances.csv` in, `results.csv` out, a row as soon as it is known.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use csv::StringRecord;

use crate::error::{Error, Result};
use crate::input;
use crate::output::{Place, STANDARD, append, lock, place};
use crate::{interrupt, terminal};

/// One line of `instances.csv`.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// As written, relative to the folder of the file.
    pub onnx: String,
    /// The property, likewise.
    pub vnnlib: String,
    /// Time for this one.
    pub timeout: Duration,
}

/// Header of a results file.
const HEADER: [&str; 4] = ["onnx", "vnnlib", "result", "seconds"];

/// Reads `network,property,timeout in seconds` lines.
///
/// # Errors
/// [`Error::Input`] with the line.
pub fn read_instances(path: &Path) -> Result<Vec<Instance>> {
    let bytes = crate::input::read_maybe_gz(path, 1 << 28)?;
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).flexible(true).from_reader(&bytes[..]);
    let mut instances = vec![];
    for (i, record) in reader.records().enumerate() {
        let fail = |problem: String| Error::input(path, format!("line {}: {problem}", i + 1));
        let record = record.map_err(|e| fail(format!("not CSV ({e})")))?;
        let [onnx, vnnlib, timeout] = record.iter().collect::<Vec<_>>()[..] else {
            return Err(fail("three fields are needed: network, property, timeout in seconds".into()));
        };
        let seconds = timeout.parse::<f64>().ok().filter(|s| *s > 0.0 && *s < 1e9);
        let Some(seconds) = seconds else { return Err(fail(format!("'{}' is no number of seconds", clip(timeout)))) };
        let timeout = Duration::from_secs_f64(seconds);
        instances.push(Instance { onnx: onnx.into(), vnnlib: vnnlib.into(), timeout });
    }
    Ok(instances)
}

/// The file that `name` means in `folder`: itself, or a gzip of it.
pub fn locate(folder: &Path, name: &str) -> PathBuf {
    let plain = folder.join(name);
    if plain.is_file() {
        return plain;
    }
    let packed = folder.join(format!("{name}.gz"));
    if packed.is_file() { packed } else { plain }
}

/// Results open for more rows.
pub struct Results {
    path: PathBuf,
    sink: Sink,
    done: HashSet<(String, String)>,
}

enum Sink {
    Standard,
    /// A device or a fifo.
    Stream(File),
    /// Locked.
    File(File),
}

impl Results {
    /// Starts `path`, or with `resume` continues it, or with `force` replaces what is there. A device or a fifo is written
    /// through, and holds nothing to continue.
    ///
    /// # Errors
    /// If the file exists and is neither to be continued nor replaced, or is no results file, or another run is writing it.
    pub fn open(path: &Path, resume: bool, force: bool) -> Result<Results> {
        let at = match place(path)? {
            Place::Folder(_) => return Err(Error::input(path, "is a folder; name a file")),
            Place::Stream if resume => return Err(Error::input(path, "keeps nothing to continue; leave out --resume")),
            Place::Stream => {
                let file = OpenOptions::new().write(true).open(path).map_err(Error::io(path, "opening"))?;
                return Results { path: path.into(), sink: Sink::Stream(file), done: HashSet::new() }.begun();
            }
            Place::File(at) | Place::Free(at) => at,
        };
        let file = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&at);
        let mut file = file.map_err(Error::io(path, "opening"))?;
        lock(path, &file)?;
        let mut old = Vec::new();
        if !force || resume {
            file.read_to_end(&mut old).map_err(Error::io(path, "reading"))?;
        }
        if !old.is_empty() && !resume {
            let problem = "exists already; continue it with --resume, replace it with --force, or give another --out";
            return Err(Error::input(path, problem));
        }
        let done = read_done(path, &old)?;
        // A row that was being written when the run was killed is dropped.
        let whole = whole_lines(&old);
        let cut = file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::Start(whole as u64)));
        cut.map_err(Error::io(path, "writing"))?;
        let results = Results { path: path.into(), sink: Sink::File(file), done };
        if whole == 0 { results.begun() } else { Ok(results) }
    }

    /// Writes to standard output.
    pub fn standard() -> Result<Results> {
        Results { path: STANDARD.into(), sink: Sink::Standard, done: HashSet::new() }.begun()
    }

    fn begun(mut self) -> Result<Results> {
        self.row(&HEADER)?;
        Ok(self)
    }

    /// How many instances earlier runs have answered.
    pub fn known(&self) -> usize {
        self.done.len()
    }

    /// Whether an earlier run has answered this instance.
    pub fn has(&self, instance: &Instance) -> bool {
        self.done.contains(&(instance.onnx.clone(), instance.vnnlib.clone()))
    }

    /// Adds an answer.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add(&mut self, instance: &Instance, result: &str, seconds: f64) -> Result<()> {
        self.row(&[&instance.onnx, &instance.vnnlib, result, &format!("{seconds:.2}")])
    }

    fn row(&mut self, fields: &[&str]) -> Result<()> {
        let mut writer = csv::Writer::from_writer(vec![]);
        let text = writer.write_record(fields).ok().and_then(|()| writer.into_inner().ok()).unwrap_or_default();
        let written = match &mut self.sink {
            Sink::Standard => {
                terminal::data(&text);
                return Ok(());
            }
            Sink::Stream(stream) => stream.write_all(&text),
            Sink::File(file) => {
                let _shield = interrupt::shield();
                append(file, &text)
            }
        };
        written.map_err(Error::io(&self.path, "writing"))
    }
}

/// How many of these bytes are whole lines.
fn whole_lines(text: &[u8]) -> usize {
    text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1)
}

/// What answers a list, from files that each answer some of it, in the order of the list; and how many rows that is.
///
/// # Errors
/// If a line of the list has no answer, or several, or an answer is to no line of it.
pub fn join(list: &Path, parts: &[PathBuf]) -> Result<(usize, Vec<u8>)> {
    let mut answers: HashMap<(String, String), VecDeque<(StringRecord, &Path)>> = HashMap::new();
    for part in parts {
        let text = input::read(part, 1 << 32)?;
        if text.is_empty() || whole_lines(&text) < text.len() {
            return Err(Error::input(part, "was cut off; finish it with --resume"));
        }
        for row in rows(part, &text)? {
            answers.entry((row[0].into(), row[1].into())).or_default().push_back((row, part));
        }
    }
    let (mut writer, mut missing) = (csv::Writer::from_writer(vec![]), vec![]);
    let mut write = |row: &StringRecord| writer.write_record(row).map_err(|e| Error::input(list, e.to_string()));
    write(&StringRecord::from(&HEADER[..]))?;
    let instances = read_instances(list)?;
    for (i, instance) in instances.iter().enumerate() {
        match answers.get_mut(&(instance.onnx.clone(), instance.vnnlib.clone())).and_then(VecDeque::pop_front) {
            Some((row, _)) => write(&row)?,
            None => missing.push(format!("line {} ({}, {})", i + 1, instance.onnx, instance.vnnlib)),
        }
    }
    if let Some(first) = missing.first() {
        let more = if missing.len() > 1 { format!(" and {} more have", missing.len() - 1) } else { " has".into() };
        return Err(Error::input(list, format!("{first}{more} no answer; give the files of all shards")));
    }
    let left = answers.into_iter().filter_map(|(asked, rows)| Some((asked, rows.back()?.1)));
    if let Some(((onnx, vnnlib), part)) = left.min() {
        let known = instances.iter().any(|i| i.onnx == onnx && i.vnnlib == vnnlib);
        let problem = if known { "a second time" } else { "which is not in the list" };
        return Err(Error::input(part, format!("answers {onnx}, {vnnlib}, {problem}; leave it out")));
    }
    let text = writer.into_inner().map_err(|e| Error::input(list, e.to_string()))?;
    Ok((instances.len(), text))
}

/// The instances that a results file answers.
fn read_done(path: &Path, text: &[u8]) -> Result<HashSet<(String, String)>> {
    let header = HEADER.join(",");
    let whole = whole_lines(text);
    if whole == 0 && !header.as_bytes().starts_with(text) {
        return Err(Error::input(path, "not a results file of verify; choose another --out"));
    }
    Ok(rows(path, &text[..whole])?.iter().map(|row| (row[0].to_string(), row[1].to_string())).collect())
}

/// The rows of a results file, without its header.
fn rows(path: &Path, text: &[u8]) -> Result<Vec<StringRecord>> {
    let mut rows = vec![];
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
    for (i, record) in reader.records().enumerate() {
        let record = record.map_err(|e| Error::input(path, format!("not a results file ({e})")))?;
        if (i == 0 && record != HEADER[..]) || record.len() != HEADER.len() {
            return Err(Error::input(path, "not a results file of verify; choose another --out"));
        }
        if i > 0 {
            rows.push(record);
        }
    }
    Ok(rows)
}

/// A word of the file, fit for one line.
fn clip(word: &str) -> String {
    word.chars().take(40).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_resumed_after_a_torn_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.csv");
        let instance = |n: &str| Instance { onnx: n.into(), vnnlib: "p,1".into(), timeout: Duration::from_secs(1) };
        let mut r = Results::open(&path, false, false).unwrap();
        r.add(&instance("a"), "unsat", 0.5).unwrap();
        drop(r);
        assert!(Results::open(&path, false, false).is_err());
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "b,\"p,1\",uns").unwrap();
        let mut r = Results::open(&path, true, false).unwrap();
        assert!(r.has(&instance("a")) && !r.has(&instance("b")));
        r.add(&instance("b"), "sat", 1.0).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "onnx,vnnlib,result,seconds\na,\"p,1\",unsat,0.50\nb,\"p,1\",sat,1.00\n");
    }

    #[test]
    fn instances_are_read_or_refused_with_their_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("instances.csv");
        std::fs::write(&path, "a.onnx,b.vnnlib,1.5\n./c.onnx, d.vnnlib ,30\n").unwrap();
        let all = read_instances(&path).unwrap();
        assert_eq!((all.len(), all[0].timeout.as_secs_f64(), all[1].vnnlib.as_str()), (2, 1.5, "d.vnnlib"));
        for (bad, word) in [("a,b\n", "three fields"), ("a,b,1\nx,y,soon\n", "line 2"), ("a,b,-1", "seconds")] {
            std::fs::write(&path, bad).unwrap();
            assert!(read_instances(&path).unwrap_err().to_string().contains(word), "{bad}");
        }
    }
}
