//! Runs cargo in the generated workspace: finds it, hides an outer cargo's variables from it, and counts the crates
//! that it compiles.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::messages::Messages;
use super::workspace::{Workspace, crate_name};
use super::{Places, Progress, UdfSource};
use crate::diag::{Code, Diagnostic};
use crate::udf::host::HOST_VARIABLE;

/// Cargo, in one workspace.
pub(super) struct Cargo<'a> {
    places: &'a Places,
    workspace: &'a Workspace,
}

/// The output of `rustc -vV` in a folder; `None` if there is no compiler.
pub(super) fn rustc_version(dir: &Path) -> Option<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| program("rustc"));
    let mut command = Command::new(rustc);
    let output = command.arg("-vV").env_remove(HOST_VARIABLE).current_dir(dir).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program of the toolchain: on the path, or where rustup installs it.
fn program(name: &str) -> OsString {
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let on_path = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(&name).is_file()));
    if on_path {
        return name.into();
    }
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(std::env::home_dir()?.join(".cargo")))
        .map(|home| home.join("bin").join(&name))
        .filter(|path| path.is_file())
        .map_or_else(|| name.into(), PathBuf::into_os_string)
}

/// Whether a variable is hidden from cargo: it belongs to an outer `cargo run` or `cargo test`, moves cargo's output,
/// or names a file that only this process has open. Settings that a user makes for cargo (registries, proxies, flags,
/// linkers) stay.
fn is_kept_away(name: &str) -> bool {
    const MOVES_OUTPUT: [&str; 4] =
        ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "CARGO_BUILD_TARGET", "CARGO_BUILD_BUILD_DIR"];
    // A panic must unwind to be caught.
    const MUST_UNWIND: &str = "CARGO_PROFILE_RELEASE_PANIC";
    const SET_BY_CARGO: [&str; 8] = [
        "CARGO",
        "CARGO_CRATE_NAME",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_LINKS",
        "CARGO_MANIFEST_PATH",
        "CARGO_PRIMARY_PACKAGE",
        "CARGO_TARGET_TMPDIR",
        "CARGO_MAKEFLAGS",
    ];
    MOVES_OUTPUT.contains(&name)
        || SET_BY_CARGO.contains(&name)
        || name == MUST_UNWIND
        || name == HOST_VARIABLE
        || ["CARGO_PKG_", "CARGO_BIN_", "CARGO_CFG_", "CARGO_FEATURE_"].iter().any(|prefix| name.starts_with(prefix))
}

impl<'a> Cargo<'a> {
    pub fn new(places: &'a Places, workspace: &'a Workspace) -> Self {
        Self { places, workspace }
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(program("cargo"));
        command.arg(subcommand).arg("--manifest-path").arg(&self.workspace.manifest);
        // Cargo finds the authors' `rust-toolchain.toml` or `.cargo/config.toml` from here.
        command.current_dir(&self.places.dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(is_kept_away) {
                command.env_remove(name);
            }
        }
        command.env("CARGO_TARGET_DIR", &self.places.target).env("CARGO_TERM_COLOR", "never");
        command
    }

    /// Compiles some UDFs of the workspace and returns the library of each.
    pub fn build(
        &mut self,
        wanted: &[&UdfSource],
        all: &[UdfSource],
        progress: &mut dyn Progress,
    ) -> Result<HashMap<String, PathBuf>, Vec<Diagnostic>> {
        let names: Vec<&str> = wanted.iter().map(|s| s.name.as_str()).collect();
        let plural = if names.len() == 1 { "UDF" } else { "UDFs" };
        let title = format!("compiling {} {plural} ({})", names.len(), names.join(", "));
        progress.report(&format!("{title}: looking up dependencies"));
        let messages = Messages::new(self.places, all);
        let crates = self.count_crates(&names, &messages)?;
        progress.report(&format!("{title}: 0/{crates} crates"));

        let mut command = self.command("build");
        command.args(["--release", "--message-format=json"]);
        for name in &names {
            command.args(["--package", &crate_name(name)]);
        }
        let mut child = command.spawn().map_err(|e| vec![cannot_run(&e)])?;
        let stderr = child.stderr.take();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            if let Some(mut pipe) = stderr {
                let _ = pipe.read_to_string(&mut text);
            }
            text
        });
        let mut done = HashSet::new();
        let mut artifacts = HashMap::new();
        let mut errors = Vec::new();
        for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok) {
            let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
            match message["reason"].as_str() {
                Some("compiler-artifact") => {
                    if done.insert(message["package_id"].to_string()) {
                        progress.report(&format!("{title}: {}/{crates} crates", done.len().min(crates)));
                    }
                    let library = message["filenames"][0].as_str();
                    let target = message["target"]["name"].as_str().unwrap_or_default();
                    let udf = names.iter().find(|n| crate_name(n).replace('-', "_") == target);
                    if let (Some(udf), Some(library)) = (udf, library) {
                        artifacts.insert((*udf).to_string(), PathBuf::from(library));
                    }
                }
                Some("compiler-message") => errors.extend(messages.of_compiler(&message)),
                _ => {}
            }
        }
        let status = child.wait().map_err(|e| vec![cannot_run(&e)])?;
        let stderr = stderr.join().unwrap_or_default();
        if status.success() {
            return Ok(artifacts);
        }
        if errors.is_empty() {
            errors.push(messages.of_cargo(&stderr));
        }
        Err(errors)
    }

    /// Resolves the dependencies and counts the crates that some UDFs need on this machine.
    fn count_crates(&self, names: &[&str], messages: &Messages<'_>) -> Result<usize, Vec<Diagnostic>> {
        let mut command = self.command("metadata");
        command.args(["--format-version", "1"]);
        if let Some(host) = rustc_version(&self.places.dir).as_deref().and_then(host_of) {
            command.args(["--filter-platform", host]);
        }
        let Output { status, stdout, stderr } = command.output().map_err(|e| vec![cannot_run(&e)])?;
        if !status.success() {
            return Err(vec![messages.of_cargo(&String::from_utf8_lossy(&stderr))]);
        }
        let metadata: Value = serde_json::from_slice(&stdout).unwrap_or_default();
        let ours: HashSet<String> = names.iter().map(|n| crate_name(n)).collect();
        let mut open: Vec<&str> = metadata["packages"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|p| p["name"].as_str().is_some_and(|n| ours.contains(n)))
            .filter_map(|p| p["id"].as_str())
            .collect();
        let nodes: HashMap<&str, &Value> = metadata["resolve"]["nodes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|node| Some((node["id"].as_str()?, &node["deps"])))
            .collect();
        let mut seen: HashSet<&str> = open.iter().copied().collect();
        while let Some(id) = open.pop() {
            for dependency in nodes.get(id).and_then(|deps| deps.as_array()).into_iter().flatten() {
                let kinds = dependency["dep_kinds"].as_array();
                let only_tests = kinds.is_some_and(|k| k.iter().all(|kind| kind["kind"] == "dev"));
                if let Some(next) = dependency["pkg"].as_str().filter(|_| !only_tests)
                    && seen.insert(next)
                {
                    open.push(next);
                }
            }
        }
        Ok(seen.len())
    }
}

fn host_of(version: &str) -> Option<&str> {
    version.lines().find_map(|line| line.strip_prefix("host: "))
}

fn cannot_run(error: &std::io::Error) -> Diagnostic {
    let reason = match error.kind() {
        std::io::ErrorKind::NotFound => "cargo is not installed".to_string(),
        _ => format!("cargo cannot be run: {error}"),
    };
    Diagnostic::new(Code::UDF_TOOLCHAIN, format!("UDFs have to be compiled, and {reason}"))
        .help("install Rust (https://rustup.rs), or bring `target/baton/lib` from a machine that has it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_an_outer_cargo_are_kept_away_and_a_users_stay() {
        for name in
            ["BATON_HOST", "CARGO", "CARGO_PKG_NAME", "CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "CARGO_MANIFEST_DIR"]
        {
            assert!(is_kept_away(name), "{name}");
        }
        for name in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER",
            "CARGO_BUILD_JOBS",
            "RUSTFLAGS",
        ] {
            assert!(!is_kept_away(name), "{name}");
        }
    }
}
