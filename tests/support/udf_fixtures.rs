//! Where the UDFs of `tests/fixtures/udfs` are compiled: in one folder for all test binaries.

#![allow(clippy::unwrap_used, reason = "a test whose fixtures cannot be written says where")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Where the fixtures are compiled; a later run finds them compiled.
pub static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/udfs");
    let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/udf-fixtures");
    mirror(&from, &to);
    share_dependencies(&to.join("target"));
    to
});

/// Cargo puts what it compiles for the fixtures beside what it compiled for `udfs/`: most dependencies are the same.
fn share_dependencies(target: &Path) {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("udfs/target/release");
    fs::create_dir_all(&shared).unwrap();
    fs::create_dir_all(target).unwrap();
    // Another test binary may make it at the same time.
    if let Err(error) = std::os::unix::fs::symlink(shared, target.join("release")) {
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{error}");
    }
}

/// Makes the sources in `to` those in `from`; what is the same is left alone.
fn mirror(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let names = |folder: &Path| -> Vec<_> { fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect() };
    for name in names(to) {
        if to.join(&name).extension().is_some_and(|e| e == "rs") && !from.join(&name).exists() {
            fs::remove_file(to.join(&name)).unwrap();
        }
    }
    for name in names(from) {
        let (source, copy) = (from.join(&name), to.join(&name));
        if source.is_dir() {
            mirror(&source, &copy);
        } else if name == "udfs.lock" {
            // Cargo may write it anew there, for a newer version of itself.
            if !copy.exists() {
                fs::copy(&source, &copy).unwrap();
            }
        } else if fs::read(&source).unwrap() != fs::read(&copy).unwrap_or_default() {
            fs::copy(&source, &copy).unwrap();
        }
    }
}
