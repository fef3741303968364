//! Compiles UDFs as Arroyo does: each a `cdylib` against `arroyo-udf-plugin`, its dependencies comment the only source
//! of its `Cargo.toml`.
//!
//! The generated crates are one workspace in `target/baton` of the UDFs' folder, so that what they share compiles
//! once. What is up to date is not compiled, and then no cargo is needed: an image can bring its UDFs compiled.
//! Opening the libraries is for `host`.

mod cargo;
mod fingerprint;
mod messages;
mod workspace;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::source::{UdfSource, discover};
use crate::diag::{Code, Diagnostic, SourceText, display_path};
use cargo::Cargo;
use fingerprint::Inputs;
pub(super) use fingerprint::hex_digest;
use workspace::Workspace;

/// The plugin that UDFs are compiled against; the macro's generated code and the layout in `host` are its.
const PLUGIN_VERSION: &str = "0.2.0";

/// Told how a build goes on.
pub trait Progress {
    /// One line that takes the place of the last, such as "compiling 2 UDFs (a, b): 57/142 crates".
    fn report(&mut self, line: &str);
}

impl<F: FnMut(&str)> Progress for F {
    fn report(&mut self, line: &str) {
        self(line);
    }
}

/// A UDF whose library is there.
#[derive(Debug, Clone)]
pub struct BuiltUdf {
    /// What it was compiled from.
    pub source: UdfSource,
    /// The library; its name changes with its content.
    pub library: PathBuf,
}

/// Compiles those of `sources` that are not up to date; `dir` is the folder that their files lie in.
///
/// # Errors
/// [`Code::UDF_COMPILE`] for each of the compiler's errors, at its place; [`Code::UDF_TOOLCHAIN`] when cargo, rustc or
/// a linker is missing; [`Code::FILE`] when `target` cannot be written.
pub fn build(dir: &Path, sources: &[UdfSource], progress: &mut dyn Progress) -> Result<Vec<BuiltUdf>, Vec<Diagnostic>> {
    if sources.is_empty() {
        return Ok(Vec::new());
    }
    let dir = std::path::absolute(dir).map_err(|e| vec![unwritable(dir, &e)])?;
    let places = Places::new(&dir);
    let rustc = cargo::rustc_version(&dir);
    if let Ok(built) = up_to_date(&places, sources, rustc.as_deref()) {
        return Ok(built);
    }
    fs::create_dir_all(&places.libraries).map_err(|e| vec![unwritable(&places.libraries, &e)])?;
    let lock = File::create(places.baton.join("build.lock")).map_err(|e| vec![unwritable(&places.baton, &e)])?;
    if lock.try_lock().is_err() {
        progress.report("waiting for another process that compiles UDFs");
        lock.lock().map_err(|e| vec![unwritable(&places.baton, &e)])?;
    }
    // Another process may have done it meanwhile.
    let stale: Vec<&UdfSource> = match up_to_date(&places, sources, rustc.as_deref()) {
        Ok(built) => return Ok(built),
        Err(stale) => stale,
    };
    let all = with_neighbours(&dir, sources);
    let workspace = Workspace::write(&places, &all).map_err(|e| vec![unwritable(&places.baton, &e)])?;
    let mut cargo = Cargo::new(&places, &workspace);
    let artifacts = cargo.build(&stale, &all, progress)?;
    // Before anything is kept: a file that was edited meanwhile was not compiled as it was read.
    let changed: Vec<_> = stale.iter().filter(|s| !is_unchanged(s)).map(|s| changed_meanwhile(s)).collect();
    if !changed.is_empty() {
        return Err(changed);
    }
    keep_lock_file(&places).map_err(|e| vec![unwritable(&places.kept_lock, &e)])?;
    for source in stale {
        let Some(artifact) = artifacts.get(&source.name) else {
            let message = format!("cargo compiled `{}`, and left no library", source.name);
            return Err(vec![Diagnostic::new(Code::UDF_COMPILE, message).at(source.name_span.clone())]);
        };
        keep(&places, source, artifact, rustc.as_deref()).map_err(|e| vec![unwritable(&places.libraries, &e)])?;
    }
    up_to_date(&places, sources, rustc.as_deref())
        .map_err(|changed| changed.into_iter().map(changed_meanwhile).collect())
}

/// Where a build reads and writes.
struct Places {
    dir: PathBuf,
    target: PathBuf,
    baton: PathBuf,
    libraries: PathBuf,
    /// The lock file that authors commit.
    kept_lock: PathBuf,
    /// The one that cargo works with.
    lock: PathBuf,
}

impl Places {
    fn new(dir: &Path) -> Self {
        let target = dir.join("target");
        let baton = target.join("baton");
        Self {
            dir: dir.to_path_buf(),
            libraries: baton.join("lib"),
            kept_lock: dir.join("udfs.lock"),
            lock: baton.join("Cargo.lock"),
            target,
            baton,
        }
    }
}

/// All libraries, or the sources that have to be compiled.
fn up_to_date<'a>(
    places: &Places,
    sources: &'a [UdfSource],
    rustc: Option<&str>,
) -> Result<Vec<BuiltUdf>, Vec<&'a UdfSource>> {
    let mut built = Vec::new();
    let mut stale = Vec::new();
    for source in sources {
        match Inputs::of(places, source).library(places, source, rustc) {
            Some(library) => built.push(BuiltUdf { source: source.clone(), library }),
            None => stale.push(source),
        }
    }
    if stale.is_empty() { Ok(built) } else { Err(stale) }
}

/// The workspace holds every UDF of the folder, also when only some are asked for: its lock file stays the same.
fn with_neighbours(dir: &Path, sources: &[UdfSource]) -> Vec<UdfSource> {
    let mut all = sources.to_vec();
    // A neighbour with mistakes is told of when it is asked for.
    for neighbour in discover(dir).unwrap_or_default() {
        if all.iter().all(|s| s.name != neighbour.name) {
            all.push(neighbour);
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn is_unchanged(source: &UdfSource) -> bool {
    SourceText::read(&source.path).is_ok_and(|now| now.text == source.text.text)
}

fn changed_meanwhile(source: &UdfSource) -> Diagnostic {
    Diagnostic::new(Code::UDF_COMPILE, format!("`{}` was changed while it was compiled", source.name))
        .at(source.name_span.clone())
        .help("start Baton again")
}

/// Cargo's lock file goes to where it can be committed, when it says something new.
fn keep_lock_file(places: &Places) -> io::Result<()> {
    let new = fs::read(&places.lock)?;
    if fs::read(&places.kept_lock).is_ok_and(|old| old == new) {
        return Ok(());
    }
    replace(&places.kept_lock, &new)
}

/// Copies a library to a name of its own (a loader gives the old one to whoever opens the same name twice), and
/// notes what it was made from.
fn keep(places: &Places, source: &UdfSource, artifact: &Path, rustc: Option<&str>) -> io::Result<()> {
    let bytes = fs::read(artifact)?;
    let digest = hex_digest(&[&bytes]);
    let name =
        format!("{}{}-{}{}", std::env::consts::DLL_PREFIX, source.name, &digest[..16], std::env::consts::DLL_SUFFIX);
    let library = places.libraries.join(&name);
    if !fs::read(&library).is_ok_and(|old| old == bytes) {
        replace(&library, &bytes)?;
    }
    Inputs::of(places, source).note(places, source, &name, rustc)
}

/// Writes a file whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut temporary, bytes)?;
    // Only its owner may read a temporary file; a library or a lock file is for everyone.
    #[cfg(unix)]
    fs::set_permissions(temporary.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    temporary.persist(path).map_err(|e| e.error)?;
    Ok(())
}

fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    let shown = display_path(path);
    Diagnostic::new(Code::FILE, format!("UDFs cannot be compiled in `{shown}`: {error}"))
        .help("make the folder writable, or run `baton build` where it is and bring `target/baton/lib` along")
}
