//! The house stands: an import goes down only, and what has one owner is used by that one alone.
//!
//! It reads the source as text. Tests inside the source (`#[cfg(test)]`, `tests.rs`, `testing.rs`) may reach anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::binary::root;

/// Low to high; a module may use those of lower layers.
const LAYERS: [&[&str]; 5] =
    [&["diag", "config", "delivery"], &["sql"], &["connectors", "formats", "udf"], &["engine"], &["cli"]];

/// Inside one layer: who may use whom, and what of it.
const BESIDE: [(&str, &str); 1] = [("connectors", "formats")];

/// What has one owner: the word, where it may stand, and why not elsewhere.
const OWNERS: [(&[&str], &[&str], &str); 4] = [
    (&["rdkafka::"], &["connectors/kafka/", "cli/demo/"], "Kafka's client belongs to its connector"),
    (&["unsafe ", "unsafe{", "unsafe_code"], &["udf/host/"], "`unsafe` is for the ABI of UDFs"),
    (
        &["print!(", "println!(", "dbg!(", "io::stdout", "io::stderr"],
        &["cli/", "connectors/stdout.rs"],
        "output belongs to the command line",
    ),
    (&["process::exit", "ExitCode"], &["cli/", "main.rs"], "exit codes belong to the command line"),
];

struct File {
    /// Below `src/`.
    path: PathBuf,
    /// Line numbers and lines, comments and tests left out.
    lines: Vec<(usize, String)>,
}

impl File {
    /// The path of the module: `["sql", "functions"]`.
    fn module(&self) -> Vec<String> {
        let mut parts: Vec<String> = self.path.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        let last = parts.pop().unwrap_or_default();
        if !matches!(last.as_str(), "mod.rs" | "lib.rs" | "main.rs") {
            parts.push(last.trim_end_matches(".rs").to_string());
        }
        parts
    }
}

fn files() -> Vec<File> {
    let source = root().join("src");
    let mut files = Vec::new();
    collect(&source, &source, &mut files);
    assert!(files.len() >= 50, "only {} files in {}", files.len(), source.display());
    files
}

fn collect(source: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a folder can be listed").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            collect(source, &path, files);
        } else if path.extension().is_some_and(|e| e == "rs") && name != "tests.rs" && name != "testing.rs" {
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let path = path.strip_prefix(source).expect("below src").to_path_buf();
            files.push(File { path, lines: code(&text) });
        }
    }
}

/// The lines of a file up to its tests, without comments.
fn code(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let tests =
        lines.windows(2).position(|w| w[0] == "#[cfg(test)]" && w[1].starts_with("mod ") && w[1].ends_with('{'));
    let lines = lines.into_iter().take(tests.unwrap_or(usize::MAX));
    let lines = lines.enumerate().filter(|(_, l)| !l.trim_start().starts_with("//"));
    lines.map(|(i, l)| (i + 1, l.split(" // ").next().unwrap_or(l).to_string())).collect()
}

/// What a line takes from other modules, as paths from the crate's root.
fn imports(line: &str, module: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let path = |rest: &str| -> String {
        rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect::<String>()
    };
    for (at, _) in line.match_indices("crate::") {
        // `$crate::` and `some_crate::` are something else.
        let before = line[..at].chars().next_back();
        if !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$')) {
            found.push(path(&line[at + "crate::".len()..]));
        }
    }
    let mut rest = line;
    while let Some(at) = rest.find("super::") {
        let mut after = &rest[at..];
        let mut up = 0;
        while let Some(next) = after.strip_prefix("super::") {
            up += 1;
            after = next;
        }
        if up >= module.len() {
            found.push(path(after));
        }
        rest = after;
    }
    found
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|l| l.contains(&module))
}

fn allowed(from: &str, import: &str) -> bool {
    let to = import.split("::").next().unwrap_or(import);
    if from == to {
        return true;
    }
    let beside = |(who, what): &(&str, &str)| {
        *who == from && import.strip_prefix(what).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    match (layer(from), layer(to)) {
        (Some(high), Some(low)) => low < high || BESIDE.iter().any(beside),
        _ => false,
    }
}

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in files() {
        let module = file.module();
        // lib.rs and main.rs are above all.
        let Some(top) = module.first() else { continue };
        assert!(layer(top).is_some(), "src/{} is in no layer: name it in LAYERS", file.path.display());
        for (number, line) in &file.lines {
            for import in imports(line, &module) {
                seen += 1;
                if !allowed(top, &import) {
                    wrong.push(format!("src/{}:{number}: `{top}` uses `{import}`", file.path.display()));
                }
            }
        }
    }
    assert!(seen >= 80, "only {seen} imports were found");
    assert!(wrong.is_empty(), "an import goes down only ({LAYERS:?}, and {BESIDE:?}):\n{}", wrong.join("\n"));
}

#[test]
fn no_modules_of_one_folder_import_each_other_in_a_circle() {
    let files = files();
    let modules: BTreeSet<Vec<String>> = files.iter().map(File::module).collect();
    let code = |file: &File| file.lines.iter().map(|(_, line)| line.trim()).collect::<Vec<_>>().join(" ");
    // What a folder gives out under its own name stands in one of its files: `udf::Slot` in `udf::host`.
    let mut homes: BTreeMap<Vec<String>, Vec<String>> = BTreeMap::new();
    for file in &files {
        for path in named(&code(file), "use ", &file.module()) {
            let home = path[..path.len() - 1].to_vec();
            if home.len() > file.module().len() && modules.contains(&home) {
                homes.insert([file.module(), path[path.len() - 1..].to_vec()].concat(), home);
            }
        }
    }
    let mut edges: BTreeSet<(Vec<String>, Vec<String>)> = BTreeSet::new();
    for file in &files {
        let module = file.module();
        let above = (0..module.len()).map(|up| ("super::".repeat(up + 1), &module[..module.len() - 1 - up]));
        let starts = above.chain([("crate::".to_string(), &module[..0])]);
        for path in starts.flat_map(|(word, base)| named(&code(file), &word, base)) {
            let home =
                (1..=path.len()).find_map(|end| homes.get(&path[..end]).filter(|home| !module.starts_with(home)));
            let path = home.unwrap_or(&path);
            let same = module.iter().zip(path).take_while(|(a, b)| a == b).count();
            if same < module.len() && same < path.len() && modules.contains(&path[..=same]) {
                edges.insert((module[..=same].to_vec(), path[..=same].to_vec()));
            }
        }
    }
    assert!(edges.len() >= 150, "only {} edges were found", edges.len());
    assert_eq!(circle(edges), BTreeSet::new(), "these modules import each other, or one that is in a circle");
}

/// The paths behind each `word` of a text, below `base`: two for `word` and `a::{B, c::D}`.
fn named(code: &str, word: &str, base: &[String]) -> Vec<Vec<String>> {
    let is_path = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
    let mut found = Vec::new();
    for (at, _) in code.match_indices(word).filter(|(at, _)| !code[..*at].ends_with(is_path)) {
        let (head, rest) = code[at + word.len()..].split_at(code[at + word.len()..].find(|c| !is_path(c)).unwrap_or(0));
        let list = rest.strip_prefix('{').and_then(|list| list.split('}').next()).unwrap_or("");
        for name in list.split(',') {
            let path = format!("{head}{}", name.split_whitespace().next().unwrap_or(""));
            let parts = path.split("::").filter(|part| !part.is_empty() && *part != "self").map(str::to_string);
            found.push(base.iter().cloned().chain(parts).collect::<Vec<_>>());
        }
    }
    found.retain(|path| path.len() > base.len());
    found
}

/// The modules that are in a circle, or import one that is.
fn circle(mut edges: BTreeSet<(Vec<String>, Vec<String>)>) -> BTreeSet<String> {
    loop {
        let from: BTreeSet<Vec<String>> = edges.iter().map(|(from, _)| from.clone()).collect();
        let before = edges.len();
        edges.retain(|(_, to)| from.contains(to));
        if edges.len() == before {
            return from.iter().map(|path| path.join("::")).collect();
        }
    }
}

#[test]
fn what_has_one_owner_is_used_by_it_alone() {
    let files = files();
    let mut wrong = Vec::new();
    for (words, places, why) in OWNERS {
        let mut used_by = BTreeSet::new();
        for file in &files {
            let path = file.path.to_string_lossy().into_owned();
            for (number, line) in &file.lines {
                let Some(word) = words.iter().find(|w| line.contains(**w)) else { continue };
                match places.iter().find(|p| path.starts_with(**p)) {
                    Some(place) => drop(used_by.insert(*place)),
                    None => wrong.push(format!("src/{path}:{number}: `{}`: {why}", word.trim())),
                }
            }
        }
        let unused: Vec<_> = places.iter().filter(|p| !used_by.contains(**p)).collect();
        assert!(unused.is_empty(), "{words:?} was not found in {unused:?}: the rule has lost its object");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    let mut folders = vec![root().join("src"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("a folder can be listed").path();
            if path.is_dir() {
                // Sources that are inputs of tests are as their tests need them.
                if !path.ends_with("tests/fixtures") && !path.ends_with("tests/cli/wrong") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "rs") {
                seen += 1;
                let text = fs::read_to_string(&path).expect("a source file");
                if !text.starts_with("//! ") {
                    wrong.push(path.display().to_string());
                }
            }
        }
    }
    assert!(seen >= 60, "only {seen} files");
    assert!(wrong.is_empty(), "a file opens with `//!` and what it is for:\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_imports_reads() {
    let at = |parts: &[&str]| parts.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(imports("use crate::diag::{Code, Span};", &at(&["sql", "plan"])), ["diag::"]);
    assert_eq!(
        imports("    let x = crate::engine::run(a, crate::config::B);", &at(&["sql"])),
        ["engine::run", "config::B"]
    );
    assert_eq!(imports("use super::table;", &at(&["sql", "plan"])), [""; 0]);
    assert_eq!(imports("use super::engine;", &at(&["sql"])), ["engine"]);
    assert_eq!(
        imports("pub(in super::super) use super::super::cli::x;", &at(&["sql", "plan"])).last().unwrap(),
        "cli::x"
    );
    assert_eq!(imports("other_crate::x; $crate::y", &at(&["sql"])), [""; 0]);
    assert!(allowed("engine", "sql::plan") && allowed("sql", "sql::x") && allowed("connectors", "formats::X"));
    assert!(!allowed("sql", "formats::json") && !allowed("formats", "connectors::kafka") && !allowed("udf", "formats"));
    assert!(!allowed("connectors", "formats_of") && !allowed("sql", "telepathy"));
    let kept = code("use a; // why\n// use crate::b\n\n#[cfg(test)]\nmod tests {\n    use crate::c;\n}\n");
    assert_eq!(kept, [(1, "use a;".to_string()), (3, String::new())]);
}
