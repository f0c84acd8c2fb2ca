//! Shards of one run of certify in one folder, as if it had been run in one piece.

use std::fs;
use std::path::{Path, PathBuf};

use super::manifest::of_shards;
use super::table::{
    CERTIFICATES, FILES, Table, certificate_path, check_certificates, check_place, read_whole, summarize, table_path,
};
use crate::error::{Error, Result};
use crate::output::Folder;
use crate::results::{write_atomically, write_json};

/// Joins the shards of one run into `out`, with their certificates: the rows in the order of a run in one piece.
///
/// # Errors
/// If a shard is missing, given twice or unfinished, or comes from another run.
pub fn merge(dirs: &[PathBuf], out: &Path) -> Result<usize> {
    let folder = Folder::open(out, "merge", &FILES, true)?;
    // Now, since opening finishes a merge that was killed when it was whole.
    if table_path(out).symlink_metadata().is_ok() {
        return Err(Error::input(table_path(out), "exists already; give another --out"));
    }
    check_place(out)?;
    check_certificates(out)?;
    let out = folder.path();
    let (parts, whole) = of_shards(dirs)?;
    let (mut rows, mut certificates) = (Vec::new(), Vec::new());
    for (_, dir) in &parts {
        let (_, found) = read_whole(dir)?;
        let certificate = found.iter().map(|r| certificate_path(dir, r.index, r.variance));
        certificates.extend(certificate.filter(|path| path.exists()));
        rows.extend(found);
    }
    let level = |variance: f64| whole.variances.iter().position(|v| *v == variance);
    rows.sort_by_key(|r| (level(r.variance), r.index));
    let mut table = Table::create(out, &whole)?;
    for row in &rows {
        table.push(row)?;
    }
    if !certificates.is_empty() {
        let folder = out.join(CERTIFICATES);
        fs::create_dir_all(&folder).map_err(Error::io(&folder, "creating the folder"))?;
    }
    for path in &certificates {
        let content = fs::read(path).map_err(Error::io(path, "reading"))?;
        write_atomically(&out.join(CERTIFICATES).join(path.file_name().unwrap_or_default()), &content)?;
    }
    write_json(&out.join("summary.json"), &summarize(&rows))?;
    folder.finish_unlisted()?;
    Ok(rows.len())
}
