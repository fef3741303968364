//! Whether a library is up to date: the hash of its inputs is compared with a note beside the library.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::{PLUGIN_VERSION, Places, UdfSource, replace};

/// Change it whenever the output of `workspace` changes.
const TEMPLATE: &str = "2";

/// All inputs of a library except the compiler.
pub(super) struct Inputs {
    digest: String,
}

#[derive(Serialize, Deserialize)]
struct Note {
    inputs: String,
    /// The output of `rustc -vV`. A machine without a compiler uses the library that exists.
    rustc: Option<String>,
    library: String,
}

impl Inputs {
    pub fn of(places: &Places, source: &UdfSource) -> Self {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(PLUGIN_VERSION.as_bytes());
        add(TEMPLATE.as_bytes());
        add(source.text.text.as_bytes());
        add(&fs::read(&places.kept_lock).unwrap_or_default());
        let mut seen = Vec::new();
        let folder = source.path.parent().unwrap_or(&places.dir);
        for path in local_paths(&source.dependencies, folder) {
            add_folder(&path, &mut seen, &mut add);
        }
        Self { digest: hex(&hash.finalize()) }
    }

    /// The library that was made from exactly these inputs.
    pub fn library(&self, places: &Places, source: &UdfSource, rustc: Option<&str>) -> Option<PathBuf> {
        let note: Note = serde_json::from_slice(&fs::read(note_path(places, source)).ok()?).ok()?;
        let same_compiler = rustc.is_none() || note.rustc.as_deref() == rustc;
        let library = places.libraries.join(&note.library);
        (note.inputs == self.digest && same_compiler && library.is_file()).then_some(library)
    }

    /// Notes that a library was made from these inputs, and removes the previous one.
    pub fn note(self, places: &Places, source: &UdfSource, library: &str, rustc: Option<&str>) -> io::Result<()> {
        let path = note_path(places, source);
        let before = fs::read(&path).ok().and_then(|old| serde_json::from_slice::<Note>(&old).ok());
        let note = Note { inputs: self.digest, rustc: rustc.map(ToString::to_string), library: library.to_string() };
        replace(&path, serde_json::to_string_pretty(&note)?.as_bytes())?;
        if let Some(before) = before.filter(|b| b.library != library) {
            // A process that has it open keeps it.
            let _ = fs::remove_file(places.libraries.join(before.library));
        }
        Ok(())
    }
}

fn note_path(places: &Places, source: &UdfSource) -> PathBuf {
    places.libraries.join(format!("{}.json", source.name))
}

/// The folders of `path` dependencies.
fn local_paths(dependencies: &Table, folder: &Path) -> Vec<PathBuf> {
    dependencies.values().filter_map(|d| d.get("path")?.as_str()).map(|path| folder.join(path)).collect()
}

/// Adds every file of a local crate and of the local crates that it depends on.
fn add_folder(folder: &Path, seen: &mut Vec<PathBuf>, add: &mut impl FnMut(&[u8])) {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    if seen.contains(&folder) {
        return;
    }
    seen.push(folder.clone());
    let mut files = Vec::new();
    list(&folder, &mut files);
    files.sort();
    for file in &files {
        add(file.strip_prefix(&folder).unwrap_or(file).to_string_lossy().as_bytes());
        add(&fs::read(file).unwrap_or_default());
    }
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    let Ok(manifest) = toml::from_str::<Table>(&manifest) else { return };
    let mut tables = vec![&manifest];
    if let Some(Value::Table(targets)) = manifest.get("target") {
        tables.extend(targets.values().filter_map(Value::as_table));
    }
    for table in tables {
        for section in ["dependencies", "build-dependencies"] {
            for path in
                table.get(section).and_then(Value::as_table).map(|d| local_paths(d, &folder)).unwrap_or_default()
            {
                add_folder(&path, seen, add);
            }
        }
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                if name != "target" && !name.to_string_lossy().starts_with('.') {
                    list(&path, files);
                }
            }
            _ => files.push(path),
        }
    }
}

/// SHA-256 of parts, in hexadecimal.
pub fn hex_digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::SourceText;

    #[test]
    fn inputs_change_with_what_a_library_is_made_from_and_with_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let inputs = |body: &str| {
            let text =
                format!("/*\n[dependencies]\na = {{ path = \"a\" }}\n*/\n#[udf] fn f(x: i64) -> i64 {{ {body} }}");
            let path = dir.path().join("f.rs");
            let source = crate::udf::parse(&path, &SourceText::new("f.rs", text)).unwrap();
            Inputs::of(&Places::new(dir.path()), &source).digest
        };
        write("a/Cargo.toml", "[dependencies]\nb = { path = \"../b\" }\n");
        write("a/src/lib.rs", "");
        write("b/Cargo.toml", "[dependencies]\na = { path = \"../a\" }\n");
        let mut seen = vec![inputs("x"), inputs("x + 1")];
        write("a/src/lib.rs", "// edited");
        seen.push(inputs("x"));
        write("b/src/lib.rs", "// of a dependency's dependency");
        seen.push(inputs("x"));
        write("udfs.lock", "# locked");
        seen.push(inputs("x"));
        for (i, digest) in seen.iter().enumerate() {
            assert!(!seen[..i].contains(digest), "step {i} went unnoticed");
        }
        write("a/target/release/a.d", "compiled");
        write("a/.git/HEAD", "ref");
        write("README.md", "no input");
        assert_eq!(seen.last(), Some(&inputs("x")));
    }
}
