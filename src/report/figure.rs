//! Figures: the drawing on the page, and its SVG, PNG, CSV and JSON beside it.

use super::chart::Svg;
use super::{raster, sheet};
use crate::error::{Error, Result};
use crate::results::{Picture, write_atomically};
use crate::tensor::Shape;
use maud::{Markup, PreEscaped, html};
use rayon::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// A value of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Text(String),
    Number(f64),
    Missing,
}

impl From<f64> for Cell {
    fn from(v: f64) -> Cell {
        if v.is_finite() { Cell::Number(v) } else { Cell::Missing }
    }
}

impl From<usize> for Cell {
    fn from(v: usize) -> Cell {
        Cell::Number(v as f64)
    }
}

impl From<&str> for Cell {
    fn from(v: &str) -> Cell {
        Cell::Text(v.into())
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(v: Option<T>) -> Cell {
        v.map_or(Cell::Missing, Into::into)
    }
}

/// The numbers behind a figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(columns: &[&str]) -> Table {
        Table { columns: columns.iter().map(|c| c.to_string()).collect(), rows: Vec::new() }
    }

    fn csv(&self, path: &Path) -> Result<Vec<u8>> {
        let mut out = csv::Writer::from_writer(Vec::new());
        let failed = |e: csv::Error| Error::input(path, format!("cannot be written: {e}"));
        out.write_record(&self.columns).map_err(failed)?;
        for row in &self.rows {
            let row = row.iter().map(|c| match c {
                Cell::Text(t) => t.clone(),
                Cell::Number(v) => v.to_string(),
                Cell::Missing => String::new(),
            });
            out.write_record(row).map_err(failed)?;
        }
        out.into_inner().map_err(|e| Error::input(path, format!("cannot be written: {e}")))
    }

    fn json(&self, title: &str) -> Value {
        let rows = self.rows.iter().map(|row| {
            let fields = self.columns.iter().zip(row).map(|(name, cell)| {
                let value = match cell {
                    Cell::Text(t) => json!(t),
                    Cell::Number(v) => json!(v),
                    Cell::Missing => Value::Null,
                };
                (name.clone(), value)
            });
            Value::Object(fields.collect::<Map<_, _>>())
        });
        json!({ "title": title, "rows": rows.collect::<Vec<_>>() })
    }
}

/// Builds a row of a [`Table`] from values of different types.
macro_rules! row {
    ($($value:expr),* $(,)?) => { vec![$($crate::report::figure::Cell::from($value)),*] };
}
pub(crate) use row;

/// Collects the figures of a page.
#[derive(Default)]
pub struct Figures {
    all: Vec<(String, String, Option<String>, Option<Table>)>,
    /// Sheets of pictures, as PNG files: name, title, content.
    sheets: Vec<(String, String, Vec<u8>)>,
    /// How many of both a figure on the page links to already.
    linked: [usize; 2],
    taken: BTreeSet<String>,
}

impl Figures {
    /// Registers a drawing (and its numbers) under `id`, and returns it for the page.
    pub fn add(&mut self, id: &str, title: &str, svg: &Svg, table: Option<Table>) -> Markup {
        let id = self.free(id);
        self.all.push((id, title.into(), Some(svg.standalone()), table));
        PreEscaped(svg.inline())
    }

    /// Registers a drawing in two widths, so that its text stays readable: `wide` for screens, and for phones. The wide
    /// one is what is written as a file.
    pub fn responsive(
        &mut self,
        id: &str,
        title: &str,
        wide: f64,
        draw: impl Fn(f64) -> Svg,
        table: Option<Table>,
    ) -> Markup {
        const PHONE: f64 = 370.0;
        let wide = self.add(id, title, &draw(wide), table);
        let narrow = PreEscaped(draw(PHONE).inline());
        html! { div.wide { (wide) } div.narrow { (narrow) } }
    }

    /// Registers numbers that no single drawing shows.
    pub fn table(&mut self, id: &str, title: &str, table: Table) {
        let id = self.free(id);
        self.all.push((id, title.into(), None, Some(table)));
    }

    /// Registers pictures in rows of `columns`, each with a caption, as one PNG under `id`.
    pub fn pictures(&mut self, id: &str, title: &str, columns: usize, pictures: &[(Picture, String)]) {
        const WIDE: usize = 144;
        let planes: Vec<(Vec<f32>, Shape)> = pictures.iter().map(|p| p.0.planes()).collect();
        let images: Vec<(&[f32], Shape)> = planes.iter().map(|(values, shape)| (values.as_slice(), *shape)).collect();
        let widest = images.iter().map(|i| i.1.width).max().unwrap_or(1).max(1);
        let captions: Vec<String> = pictures.iter().map(|p| p.1.clone()).collect();
        let id = self.free(id);
        let png = sheet::contact_sheet(&images, columns, WIDE.div_ceil(widest), &captions);
        self.sheets.push((id, title.into(), png));
    }

    /// Links to the files of what was registered since the last call, for a figure of this title.
    pub fn links(&mut self, of: &str) -> Markup {
        let [drawn, shown] = std::mem::replace(&mut self.linked, [self.all.len(), self.sheets.len()]);
        let all = &self.all[drawn..];
        let tables: Vec<&str> = all.iter().filter(|f| f.3.is_some()).map(|f| f.0.as_str()).collect();
        let drawings = all.iter().filter(|f| f.2.is_some()).map(|f| (f.0.as_str(), f.1.as_str()));
        let drawings: Vec<(&str, &str)> =
            drawings.chain(self.sheets[shown..].iter().map(|s| (s.0.as_str(), s.1.as_str()))).collect();
        let link = |file: String, text: &str, label: &str| html! { a href={ "figures/" (file) } aria-label=(label) { (text) } };
        html! {
            @if !tables.is_empty() || !drawings.is_empty() {
                div.files {
                    @for id in &tables {
                        @let text = if tables.len() > 1 { format!("{id}.csv") } else { "Numbers (CSV)".into() };
                        (link(format!("{id}.csv"), &text, &format!("{text}, {of}")))
                    }
                    @match &drawings[..] {
                        [] => {}
                        [(id, _)] => (link(format!("{id}.png"), "Picture (PNG)", &format!("Picture (PNG), {of}"))),
                        several => details {
                            summary aria-label={ (several.len()) " pictures (PNG), " (of) } { (several.len()) " pictures (PNG)" }
                            ul { @for (id, title) in several { li { (link(format!("{id}.png"), title, title)) } } }
                        }
                    }
                }
            }
        }
    }

    fn free(&mut self, id: &str) -> String {
        let base = slug(id);
        let mut name = base.clone();
        let mut n = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{base}-{n}");
            n += 1;
        }
        name
    }

    /// Writes every figure into `dir` as `id.svg`, `id.png`, `id.csv` and `id.json`; sheets of pictures as `id.png`.
    pub fn write(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(Error::io(dir, "creating"))?;
        for (id, _, png) in &self.sheets {
            write_atomically(&dir.join(format!("{id}.png")), png)?;
        }
        self.all.par_iter().try_for_each(|(id, title, svg, table)| {
            if let Some(svg) = svg {
                write_atomically(&dir.join(format!("{id}.svg")), svg.as_bytes())?;
                let path = dir.join(format!("{id}.png"));
                let png = raster::png(svg).ok_or_else(|| Error::input(&path, "its drawing cannot be rasterised"))?;
                write_atomically(&path, &png)?;
            }
            if let Some(table) = table {
                let path = dir.join(format!("{id}.csv"));
                write_atomically(&path, &table.csv(&path)?)?;
                let text = table.json(title).to_string();
                write_atomically(&dir.join(format!("{id}.json")), text.as_bytes())?;
            }
            Ok(())
        })
    }
}

/// A name fit for a file: letters, digits, dots and dashes.
pub fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(80) {
        match c {
            c if c.is_ascii_alphanumeric() || c == '.' => out.push(c.to_ascii_lowercase()),
            _ if out.ends_with('-') || out.is_empty() => {}
            _ => out.push('-'),
        }
    }
    let out = out.trim_matches(['-', '.']).to_string();
    if out.is_empty() { "figure".into() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_and_never_clash() {
        assert_eq!(slug("../../etc/pass wd"), "etc-pass-wd");
        assert_eq!(slug("Überschuh"), "berschuh");
        let mut figures = Figures::default();
        assert_eq!((figures.free("a b"), figures.free("a/b")), ("a-b".into(), "a-b-2".into()));
    }

    #[test]
    fn tables_become_csv_and_json() {
        let mut t = Table::new(&["class", "rate"]);
        t.rows.push(row!["a,b", 0.5]);
        t.rows.push(row!["c", None::<f64>]);
        assert_eq!(t.csv(Path::new("x")).unwrap(), b"class,rate\n\"a,b\",0.5\nc,\n");
        assert_eq!(t.json("T")["rows"][1]["rate"], Value::Null);
    }
}
