//! `results.json`: written whole, read with checks.

use super::{ExampleLevel, FORMAT, Study};
use crate::error::{Error, Result};
use crate::input;
use crate::output::write_atomically;
use serde::Serialize;
use std::path::Path;

impl Study {
    /// Writes `results.json`-like JSON to `path`, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|e| Error::input(path, format!("cannot be written: {e}")))?;
        write_atomically(path, &text)
    }

    /// Reads what [`Study::save`] wrote.
    pub fn load(path: &Path) -> Result<Study> {
        let text = input::read(path, 1 << 32)?;
        let study: Study = serde_json::from_slice(&text)
            .map_err(|e| Error::input(path, format!("not results of a study ({e}); run `deltamax study` again")))?;
        if study.format > FORMAT {
            return Err(Error::input(
                path,
                format!("format {} is newer than this program's {FORMAT}; update deltamax", study.format),
            ));
        }
        study.check().map_err(|problem| Error::input(path, problem))?;
        Ok(study)
    }

    /// Whether every class number and vector length fits the classes; the report relies on it.
    pub fn check(&self) -> std::result::Result<(), String> {
        let classes = self.dataset.classes.len();
        let bad = |what: &str| Err(format!("{what} does not fit the {classes} classes; run `deltamax study` again"));
        if self.dataset.samples.iter().any(|s| s.label >= classes)
            || self.dataset.augmentation.iter().any(|s| s.label >= classes)
        {
            return bad("a sample's label");
        }
        if self.dataset.test_labels.iter().any(|&l| l >= classes) {
            return bad("the class of a test image");
        }
        for m in &self.models {
            let square = |c: &Vec<Vec<f64>>| c.len() == classes && c.iter().all(|r| r.len() == classes);
            if m.trained().flat_map(|t| t.sweep).chain(&m.beyond).any(|l| !square(&l.confusion)) {
                return bad("a confusion matrix");
            }
            if m.trained()
                .flat_map(|t| t.sweep)
                .flat_map(|l| &l.called)
                .any(|c| c.len() != self.dataset.test_labels.len())
            {
                return bad("what the test images were called");
            }
            let rival = |r: Option<usize>| r.is_none_or(|r| r < classes);
            if m.augmented.iter().any(|&c| c >= classes)
                || m.trained().flat_map(|t| t.certify).any(|r| {
                    r.label >= classes || r.predicted >= classes || !rival(r.rival_proved) || !rival(r.rival_attacked)
                })
            {
                return bad("a certified row");
            }
            for e in &m.examples {
                let fits = |l: &ExampleLevel| {
                    l.predicted < classes
                        && l.logits.len() == classes
                        && l.logit_bounds.len() == classes
                        && (l.score_bounds.is_empty() || l.score_bounds.len() == classes)
                        && l.continuous
                            .iter()
                            .all(|p| p.scores.len() == classes && (p.margins.is_empty() || p.margins.len() == classes))
                        && l.margins.iter().all(|g| g.rival < classes)
                        && l.relevance.iter().all(|r| r.values.len() == r.height * r.width)
                };
                if e.label >= classes || !e.levels.iter().all(fits) {
                    return bad("an example");
                }
            }
        }
        Ok(())
    }
}

/// Writes pretty JSON, whole or not at all.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::input(path, e.to_string()))?;
    write_atomically(path, (text + "\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::{CertifyRow, ModelResult, Picture};
    use super::*;

    #[test]
    fn results_survive_a_round_trip_and_foreign_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.json");
        let mut study = Study { title: "t".into(), format: FORMAT, ..Default::default() };
        study.dataset.classes = vec!["a".into(), "b".into()];
        study.dataset.pictures.insert(7, Picture::new(1, 2, vec![0.0, 1.0], 1));
        study.models.push(ModelResult {
            certify: vec![CertifyRow { index: 0, label: 1, proved: 0.1, ..Default::default() }],
            ..Default::default()
        });
        study.save(&path).unwrap();
        assert_eq!(Study::load(&path).unwrap(), study);
        std::fs::write(&path, "{\"a\":1}").unwrap();
        assert!(Study::load(&path).unwrap_err().to_string().contains("results.json"));
        study.models[0].certify[0].label = 2;
        study.save(&path).unwrap();
        assert!(Study::load(&path).unwrap_err().to_string().contains("2 classes"));
    }
}
