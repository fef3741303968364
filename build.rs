//! Puts the sources of the standard UDFs (`udfs/`) into the program, for `src/udf/standard.rs`.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("udfs");
    let mut files = Vec::new();
    // Not the whole folder: cargo would look into udfs/target. A test checks that no UDF is missing.
    println!("cargo::rerun-if-changed=build.rs");
    // The UDFs and the crates that they depend on, with everything that their Cargo.toml names, but without tests.
    let is_wanted =
        |path: &Path| path.join("Cargo.toml").is_file() || path.ends_with("src") || path.ends_with("benches");
    list(&root, &mut files, &is_wanted);
    files.sort();
    let mut text = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(&root).expect("it lies below").to_string_lossy().into_owned();
        writeln!(text, "    ({name:?}, include_str!({:?})),", file.to_string_lossy()).expect("a String takes it");
        println!("cargo::rerun-if-changed={}", file.display());
    }
    text.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("standard_udfs.rs");
    fs::write(out, text).expect("cargo's folder can be written");
}

/// Adds the Rust and TOML files of a folder, and of those of its folders that are wanted.
fn list(folder: &Path, files: &mut Vec<PathBuf>, wanted: &dyn Fn(&Path) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && (wanted(&path) || folder.ancestors().any(|a| a.ends_with("src"))) {
            list(&path, files, wanted);
        } else if path.is_file()
            && (path.extension().is_some_and(|e| e == "rs") || name == "Cargo.toml" || name == "udfs.lock")
        {
            files.push(path);
        }
    }
}
