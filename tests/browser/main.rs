//! The pages that commands write, in Chromium: at the width of a desktop and of a phone, in light and dark, with and
//! without scripts, and on paper. Ignored, with the reason, where no Chromium is.

mod devtools;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use devtools::Browser;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Width of a window on a desktop, of a phone, and of a sheet of A4 between its margins.
const WIDTHS: [u32; 2] = [1280, 390];
const PAPER: u32 = 688;

/// What is wrong with a page as it is shown.
const MEASURE: &str = include_str!("measure.js");

/// Prepares for a walk with the keyboard.
const KEYBOARD: &str = include_str!("keyboard.js");

/// Shows everything that is folded or not chosen.
const UNFOLD: &str = "document.querySelectorAll('details').forEach((d) => { d.open = true; });\
                      document.querySelectorAll('.pick p').forEach((p) => p.lastElementChild.click())";

fn main() {
    let args = Arguments::from_args();
    let chromium = Browser::find();
    let shared: Arc<Mutex<Option<Result<World, String>>>> = Arc::default();
    let trial = |name: &'static str, test: fn(&mut World) -> Result<(), Failed>| {
        let (chromium, shared) = (chromium.clone(), shared.clone());
        Trial::ignorable_test(name, move || {
            let binary = match chromium {
                Ok(binary) => binary,
                Err(reason) => return Ok(Completion::ignored_with(reason)),
            };
            let mut world = shared.lock().map_err(|_| "another test broke the browser")?;
            match world.get_or_insert_with(|| World::new(&binary)) {
                Ok(world) => test(world).map(|()| Completion::Completed),
                Err(problem) => Err(problem.as_str().into()),
            }
        })
    };
    let trials = vec![
        trial("study", |w| w.is_sound("study/report.html")),
        trial("explain", |w| w.is_sound("explanation/explanation.html")),
        trial("compare", |w| w.is_sound("comparison/compare.html")),
        trial("certify", |w| w.is_sound("proofs/report.html")),
        trial("spoilt_pages_are_found", spoilt),
    ];
    let conclusion = libtest_mimic::run(&args, trials);
    // The browser ends before the process does.
    drop(shared.lock().map(|mut world| world.take()));
    conclusion.exit();
}

/// The pages, and the browser that they are opened in.
struct World {
    browser: Browser,
    dir: TempDir,
}

impl World {
    fn new(binary: &str) -> Result<World, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let at = dir.path();
        run(at, "shoes --out shoes --count 100 --size 16")?;
        // Under a name without spaces, which the words of a command line cannot hold.
        let photo = first_picture(&at.join("shoes")).ok_or("no photo")?;
        std::fs::copy(photo, at.join("shoe.png")).map_err(|e| e.to_string())?;
        for line in [
            "study --quick --count 67 --size 16 --epochs 1 --variance 0,0.005 --method crown-ibp --device cpu --limit 8 --noisy 2 --out study",
            "certify --model study/all-DA.onnx --data shoes --method ibp --variance 0,0.005 --device cpu --report --out proofs",
            "explain --model study/all-DA.onnx --image shoe.png --method crown-ibp --device cpu --out explanation",
            "compare study proofs --out comparison",
        ] {
            run(at, line)?;
        }
        let browser = Browser::start(binary, &dir.path().join("profile"))?;
        Ok(World { browser, dir })
    }

    /// The page has none of the faults that are looked for, and its links to files lead to some.
    fn is_sound(&mut self, page: &str) -> Result<(), Failed> {
        let page = self.dir.path().join(page);
        let mut faults = self.faults(&page)?;
        faults.extend(self.links(&page)?);
        if faults.is_empty() { Ok(()) } else { Err(listed(&faults).into()) }
    }

    /// Everything that is wrong with a page, however it is looked at.
    fn faults(&mut self, page: &Path) -> Result<BTreeSet<String>, String> {
        let browser = &mut self.browser;
        let mut faults = BTreeSet::new();
        for (scripts, width) in [true, false].into_iter().flat_map(|s| WIDTHS.map(|w| (s, w))) {
            browser.open(page, width, scripts)?;
            browser.value(UNFOLD)?;
            let how = format!("{width}{}", if scripts { "" } else { " without scripts" });
            let found = browser.value(&format!("{MEASURE}(false)"))?;
            faults.extend(strings(&found).map(|f| format!("{f} [{how}]")));
            if scripts {
                browser.show("screen", "dark")?;
                let found = browser.value(&format!("{MEASURE}(true)"))?;
                faults.extend(strings(&found).map(|f| format!("{f} [{how}, dark]")));
            }
            if scripts && width == WIDTHS[0] {
                faults.extend(names(browser)?);
                faults.extend(keys(browser)?);
            }
            faults.extend(browser.said());
        }
        browser.open(page, PAPER, true)?;
        browser.show("print", "dark")?;
        let found = browser.value(&format!("{MEASURE}(false)"))?;
        faults.extend(strings(&found).map(|f| format!("{f} [paper]")));
        Ok(faults)
    }

    /// Links to files that are not there.
    fn links(&mut self, page: &Path) -> Result<Vec<String>, String> {
        const LINKS: &str =
            "[...document.links].map((a) => decodeURI(a.getAttribute('href'))).filter((h) => !h.startsWith('#'))";
        let links: Vec<String> = strings(&self.browser.value(LINKS)?).collect();
        let folder = page.parent().unwrap_or(page);
        if links.is_empty() {
            return Ok(vec!["link: none to any file".into()]);
        }
        let lost = links.into_iter().filter(|link| !folder.join(link).is_file());
        Ok(lost.map(|link| format!("link: {link}")).collect())
    }
}

/// Runs a command that must succeed.
fn run(at: &Path, line: &str) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltamax"));
    command
        .current_dir(at)
        .args(line.split(' '))
        .args(["--quiet"])
        .env_remove("NODEVICE_SELECT")
        .env_remove("XDG_RUNTIME_DIR");
    let output = command.output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{line}: {said}")) }
}

/// A picture somewhere below a folder.
fn first_picture(folder: &Path) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.flatten().map(|e| e.path()).collect();
    entries.sort();
    entries.into_iter().find_map(|path| if path.is_dir() { first_picture(&path) } else { Some(path) })
}

/// Faults, the first of them: one kind of fault may stand on a page a hundred times.
fn listed(faults: &BTreeSet<String>) -> String {
    const SHOWN: usize = 30;
    let shown: Vec<&str> = faults.iter().take(SHOWN).map(String::as_str).collect();
    format!("{} faults\n  {}", faults.len(), shown.join("\n  "))
}

fn strings(list: &Value) -> impl Iterator<Item = String> + '_ {
    list.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(String::from))
}

/// Controls and pictures that a screen reader has no name for.
fn names(browser: &mut Browser) -> Result<Vec<String>, String> {
    let tree = browser.ask("Accessibility.getFullAXTree", json!({}))?;
    let nodes = tree["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let roles = ["link", "button", "DisclosureTriangle", "image", "img", "navigation"];
    let named = |n: &&Value| roles.contains(&n["role"]["value"].as_str().unwrap_or_default()) && n["ignored"] != true;
    let found: Vec<&Value> = nodes.iter().filter(named).collect();
    if found.is_empty() {
        return Err("no control in the accessibility tree".into());
    }
    let nameless = found.iter().filter(|n| n["name"]["value"].as_str().unwrap_or_default().trim().is_empty());
    Ok(nameless.map(|n| format!("label: a {} without a name", n["role"]["value"])).collect())
}

/// Walks over the page with the keyboard alone, and uses what it finds.
fn keys(browser: &mut Browser) -> Result<Vec<String>, String> {
    let controls = browser.value(KEYBOARD)?.as_u64().unwrap_or(0);
    browser.press("Tab", 9, "", controls + 8)?;
    let mut faults: Vec<String> = strings(&browser.value("keyboard()")?).collect();
    for (selector, [key, written], code, state) in [
        (".more > summary", ["Enter", "\r"], 13, "String(document.activeElement.parentNode.open)"),
        ("[aria-pressed=false]", [" ", " "], 32, "document.activeElement.ariaPressed"),
        ("#theme", [" ", " "], 32, "String(document.documentElement.dataset.theme)"),
    ] {
        let focus = format!("document.querySelector('{selector}')?.focus(); !!document.querySelector('{selector}')");
        if browser.value(&focus)? != true {
            continue;
        }
        let before = browser.value(state)?;
        browser.press(key, code, written, 1)?;
        if browser.value(state)? == before {
            faults.push(format!("keyboard: {key} does nothing on {selector}"));
        }
    }
    Ok(faults)
}

/// Every check finds what it is for.
fn spoilt(world: &mut World) -> Result<(), Failed> {
    let spoils = [
        ("clipped: beyond the page: wide", "<p style=\"width:1500px;text-align:right\">wide</p>"),
        (
            "clipped: hidden by its box: longer",
            "<p style=\"width:60px;overflow:hidden;white-space:nowrap\">longer than its box</p>",
        ),
        (
            "clipped: beyond its drawing (one)",
            "<svg viewBox=\"0 0 40 20\" width=\"40\" role=\"img\" aria-label=\"one\"><text x=\"30\" y=\"15\">beyond</text></svg>",
        ),
        (
            "overlapping: One text / over",
            "<p style=\"margin:0\">One text</p><p style=\"margin:-25px 0 0\">over another</p>",
        ),
        ("contrast: 1.24: grey on grey", "<p style=\"color:#999;background:#888\">grey on grey</p>"),
        (
            "contrast: 1.26: letters",
            "<svg viewBox=\"0 0 99 20\" width=\"99\" role=\"img\" aria-label=\"two\"><rect width=\"99\" height=\"20\" \
             fill=\"#777\"/><text x=\"9\" y=\"15\" fill=\"#888\">letters</text></svg>",
        ),
        ("small: ", "<p style=\"font-size:5px\">tiny</p>"),
        ("heading: h6 after h", "<h6>too deep</h6>"),
        ("label: a \"button\" without", "<button style=\"width:30px;height:30px\"></button>"),
        (
            "label: a \"image\" without",
            "<img src=\"data:image/gif;base64,R0lGODlhAQABAAAAACw=\" width=\"20\" height=\"20\">",
        ),
        ("keyboard: not reached: for mice", "<div role=\"button\" onclick=\"\">for mice</div>"),
        ("keyboard: focus is not shown: bare", "<a href=\"#top\" style=\"outline:none\">bare</a>"),
        ("console: \"error\" \"broken\"", "<script>console.error('broken')</script>"),
        ("console: \"Uncaught\"", "<script>undefined.x</script>"),
        ("request: https://example.org/x.png", "<img src=\"https://example.org/x.png\" alt=\"x\">"),
        ("folded: closed", "<details><summary>closed</summary><p style=\"display:none\">on paper too</p></details>"),
        ("link: figures/none.csv", "<a href=\"figures/none.csv\">numbers</a>"),
    ];
    let sound = world.dir.path().join("explanation/explanation.html");
    let page = sound.with_file_name("spoilt.html");
    let text = std::fs::read_to_string(&sound).map_err(|e| e.to_string())?;
    let added: Vec<&str> = spoils.iter().map(|s| s.1).collect();
    let whole = text.replacen("</main>", &format!("{}</main>", added.concat()), 1);
    std::fs::write(&page, whole).map_err(|e| e.to_string())?;
    let mut faults = world.faults(&page)?;
    faults.extend(world.links(&page)?);
    let missed: Vec<&str> =
        spoils.iter().map(|s| s.0).filter(|want| !faults.iter().any(|f| f.starts_with(want))).collect();
    if missed.is_empty() { Ok(()) } else { Err(format!("not found: {missed:?} in {}", listed(&faults)).into()) }
}
