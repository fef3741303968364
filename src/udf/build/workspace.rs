//! The generated cargo workspace: one crate per UDF. Its library is the author's own file, in place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{PLUGIN_VERSION, Places, UdfSource};

/// Crates that every UDF gets through `arroyo-udf-common` and none calls. Optimising them takes most of a build's time.
const UNOPTIMISED: [&str; 9] = [
    "arrow-arith",
    "arrow-cast",
    "arrow-csv",
    "arrow-ipc",
    "arrow-json",
    "arrow-ord",
    "arrow-row",
    "arrow-select",
    "arrow-string",
];

/// The workspace on disk.
pub(super) struct Workspace {
    pub manifest: PathBuf,
}

/// The name of a UDF's crate. No dependency of a UDF has this name.
pub(super) fn crate_name(udf: &str) -> String {
    format!("baton-udf-{udf}")
}

impl Workspace {
    /// Writes only files that changed, because cargo compares modification times.
    pub fn write(places: &Places, sources: &[UdfSource]) -> io::Result<Self> {
        let crates = places.baton.join("crates");
        fs::create_dir_all(&crates)?;
        let names: Vec<String> = sources.iter().map(|s| s.name.clone()).collect();
        for entry in fs::read_dir(&crates)? {
            let entry = entry?;
            if !names.iter().any(|n| entry.file_name() == n.as_str()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        for source in sources {
            let folder = crates.join(&source.name);
            fs::create_dir_all(&folder)?;
            write_new(&folder.join("Cargo.toml"), &manifest(places, source).to_string())?;
        }
        let members: Vec<Value> = names.iter().map(|n| Value::String(format!("crates/{n}"))).collect();
        let workspace = table([("resolver", "3".into()), ("members", members.into())]);
        let package: Table =
            UNOPTIMISED.iter().map(|name| (name.to_string(), table([("opt-level", 0.into())]).into())).collect();
        let release = table([("package", package.into())]);
        let profile = table([("release", release.into())]);
        let manifest = places.baton.join("Cargo.toml");
        write_new(&manifest, &table([("workspace", workspace.into()), ("profile", profile.into())]).to_string())?;
        match fs::read_to_string(&places.kept_lock) {
            Ok(lock) => write_new(&places.lock, &lock)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(Self { manifest })
    }
}

/// The manifest that Arroyo's compiler service writes, with its own name and path.
fn manifest(places: &Places, source: &UdfSource) -> Table {
    let path = std::path::absolute(&source.path).unwrap_or_else(|_| source.path.clone());
    let folder = path.parent().unwrap_or(&places.dir).to_path_buf();
    let name = crate_name(&source.name);
    let package = table([
        ("name", name.clone().into()),
        ("version", "1.0.0".into()),
        ("edition", "2024".into()),
        ("publish", false.into()),
    ]);
    let lib = table([
        ("name", name.replace('-', "_").into()),
        ("path", path.to_string_lossy().into_owned().into()),
        ("crate-type", vec![Value::from("cdylib")].into()),
        ("doctest", false.into()),
        ("test", false.into()),
    ]);
    let mut dependencies = source.dependencies.clone();
    for dependency in dependencies.iter_mut().filter_map(|(_, value)| value.as_table_mut()) {
        if let Some(Value::String(relative)) = dependency.get_mut("path") {
            *relative = clean(&folder.join(&*relative)).to_string_lossy().into_owned();
        }
    }
    dependencies.insert("arroyo-udf-plugin".into(), format!("={PLUGIN_VERSION}").into());
    table([("package", package.into()), ("lib", lib.into()), ("dependencies", dependencies.into())])
}

/// Removes `..`, so that one crate has one path.
fn clean(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text)
}
