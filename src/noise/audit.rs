//! A result folder about noise proved again: the auditor is asked about every row that has a certificate.

use std::path::Path;

use super::table::{RISKS, SIGMAS, certificate_path, read_whole};
use crate::audit::{self, NoiseCertificate, NoiseClaim};
use crate::certify::audit::{Outcome, Request, Subject, check_image, read_certificate, subject, watched};
use crate::certify::manifest::{Asked, Manifest, read_manifest};
use crate::certify::{self, PIXEL_ROUNDING};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::progress::Verbosity;

/// What a row says of noise.
struct Said<'a> {
    table: &'static str,
    index: usize,
    file: &'a str,
    label: usize,
    class: usize,
    method: &'a str,
    /// Of the noise; none in a row of the largest noise.
    variance: Option<f64>,
    sigma: f64,
    risk: f64,
}

impl Said<'_> {
    /// What is to be proved again, if there is a certificate.
    fn claim(&self, dir: &Path, subject: &Subject) -> Result<Option<NoiseClaim>> {
        let table = dir.join(self.table);
        check_image(&table, self.index, self.file, self.label, &subject.data)?;
        let bad = |problem: String| Error::input(&table, format!("image {}: {problem}", self.index));
        let path = certificate_path(dir, self.index, self.variance);
        let certificate: Option<NoiseCertificate> = read_certificate(&path, "remove it to leave its row unchecked")?;
        Ok(Some(NoiseClaim {
            index: self.index,
            class: self.class,
            variance: self.variance.unwrap_or(self.sigma * self.sigma),
            risk: self.risk,
            method: self.method.parse().map_err(bad)?,
            certificate: match certificate {
                Some(certificate) => subject.forms.carry_noise(certificate),
                // Nothing is said that would need one.
                None if self.risk >= 1.0 => NoiseCertificate::default(),
                None => return Ok(None),
            },
        }))
    }
}

/// Proves a result folder of certify again, whether it is about radii or about noise.
///
/// # Errors
/// If the folder, the model or the images cannot be read or are not those of the results, or the folder is about light and
/// lens. Rows that are not proved are no error: see [`Outcome::check`].
pub fn folder(request: &Request, verbosity: Verbosity) -> Result<Outcome> {
    let manifest = read_manifest(&request.dir)?;
    match manifest.asked {
        Asked::Radii => certify::audit::audit(request, verbosity),
        Asked::Noise { .. } => audit(request, &manifest, verbosity),
        Asked::Vary { .. } => {
            let problem =
                "holds brackets of light and lens, which audit knows nothing of; it proves radii and noise again";
            Err(Error::input(&request.dir, problem))
        }
    }
}

/// Proves the rows about noise again that have a certificate.
fn audit(request: &Request, manifest: &Manifest, verbosity: Verbosity) -> Result<Outcome> {
    let dir = &request.dir;
    let (risks, sigmas) = read_whole(dir, manifest)?;
    let subject = subject(request, manifest, verbosity)?;
    let risks = risks.iter().map(|r| Said {
        table: RISKS.file,
        index: r.index,
        file: &r.file,
        label: r.label,
        class: r.predicted,
        method: &r.method,
        variance: Some(r.variance),
        sigma: r.variance.sqrt(),
        risk: r.risk_proved,
    });
    let sigmas = sigmas.iter().map(|r| Said {
        table: SIGMAS.file,
        index: r.index,
        file: &r.file,
        label: r.label,
        class: r.predicted,
        method: &r.method,
        variance: None,
        sigma: r.sigma_proved,
        // Of no noise nothing is said.
        risk: if r.sigma_proved == 0.0 { 1.0 } else { r.risk },
    });
    let said: Vec<Said<'_>> = risks.chain(sigmas).collect();
    let claims: Vec<Option<NoiseClaim>> = said.iter().map(|s| s.claim(dir, &subject)).collect::<Result<_>>()?;
    let rows = claims.len();
    let claims: Vec<NoiseClaim> = claims.into_iter().flatten().collect();
    let unchecked = rows - claims.len();
    let table = dir.join(if manifest.variances.is_empty() { SIGMAS.file } else { RISKS.file });
    if claims.is_empty() && rows > 0 {
        let problem = "rows about noise can be checked with certificates only; certify with --certificates";
        return Err(Error::input(table, problem));
    }
    let total = claims.iter().filter(|c| c.risk < 1.0).count();
    let go_on = interrupt::checker();
    let image = |index: usize| {
        go_on()?;
        Ok(subject.data.image(index).into_owned())
    };
    let slack = f64::from(PIXEL_ROUNDING);
    let report = watched(total, request.sample, verbosity, |done| {
        audit::noise_folder(claims, &subject.file, image, slack, request.sample, done)
    })?;
    Ok(Outcome { report, rows, unchecked, table })
}
