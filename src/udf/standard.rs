//! The UDFs that come with Baton (`llm_classify`, `open_message`, …), for projects without their own source of them.
//!
//! The program contains their sources. They are compiled in place: in the checkout that the program was built from if
//! it still exists unchanged, else in the user's cache.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::hex_digest;
use super::source::{UdfSource, discover};
use crate::diag::{Code, Diagnostic, display_path};

/// Each file by its path below the folder; `build.rs` lists them.
static SOURCES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/standard_udfs.rs"));

/// The standard UDFs, with all sources in one folder.
///
/// # Errors
/// No folder can be found to write them to.
pub fn standard() -> Result<Vec<UdfSource>, Vec<Diagnostic>> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("udfs");
    if is_in(&checkout) {
        return discover(&checkout);
    }
    let folder = cache().join(format!("udfs-{}", &digest()[..16]));
    if !is_in(&folder) {
        unpack(&folder).map_err(|error| {
            let message = format!("the functions of Baton cannot be written to `{}`: {error}", display_path(&folder));
            let help = "make the folder writable, or set XDG_CACHE_HOME to one that is";
            vec![Diagnostic::new(Code::FILE, message).help(help)]
        })?;
    }
    discover(&folder)
}

/// Whether a folder has exactly these sources.
fn is_in(folder: &Path) -> bool {
    SOURCES.iter().all(|(name, text)| fs::read_to_string(folder.join(name)).is_ok_and(|found| found == *text))
}

fn unpack(folder: &Path) -> io::Result<()> {
    for (name, text) in SOURCES {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

fn cache() -> PathBuf {
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()).map(PathBuf::from).or_else(home);
    cache.unwrap_or_else(std::env::temp_dir).join("baton")
}

/// Another version of the sources goes to another folder.
fn digest() -> String {
    let parts: Vec<&[u8]> = SOURCES.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]).collect();
    hex_digest(&parts)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn is_rust(path: &str) -> bool {
        Path::new(path).extension().is_some_and(|extension| extension == "rs")
    }

    /// The files of a folder that are compiled.
    fn sources(folder: &Path, below: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder.join(below)).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            if entry.path().is_dir() {
                if !matches!(name.as_str(), "target" | "tests") {
                    sources(folder, &path, found);
                }
            } else if is_rust(&path) || name == "Cargo.toml" || name == "udfs.lock" {
                found.push(path);
            }
        }
    }

    #[test]
    fn all_that_is_compiled_is_in_the_program() {
        let mut expected = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("udfs"), "", &mut expected);
        expected.sort();
        assert!(expected.iter().filter(|path| !path.contains('/') && is_rust(path)).count() >= 8);
        let mut known: Vec<&str> = SOURCES.iter().map(|(path, _)| *path).collect();
        known.sort_unstable();
        assert_eq!(known, expected);
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_in(folder.path()));
        unpack(folder.path()).unwrap();
        assert!(is_in(folder.path()));
        let names: Vec<String> = discover(folder.path()).unwrap().into_iter().map(|udf| udf.name).collect();
        let functions =
            SOURCES.iter().filter_map(|(path, _)| path.strip_suffix(".rs").filter(|name| !name.contains('/')));
        let mut expected: Vec<&str> = functions.collect();
        expected.sort_unstable();
        assert_eq!(names, expected);
        // Cargo reads all manifests and looks for each file that they name.
        let manifest = folder.path().join("Cargo.toml");
        let arguments = ["metadata", "--no-deps", "--format-version=1", "--offline", "--manifest-path"];
        let cargo = Command::new(env!("CARGO")).args(arguments).arg(manifest).output().unwrap();
        assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    }
}
