//! No two modules of a crate import each other, directly or through others: modules in a cycle cannot be read, tested
//! or moved separately.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Imports = BTreeMap<String, BTreeSet<String>>;

/// The modules of a crate, each with the modules that its code names as `crate::…`. Unit tests are ignored.
fn imports(src: &Path) -> Imports {
    let mut imports = Imports::new();
    let mut open = vec![(src.to_owned(), None::<String>)];
    while let Some((folder, module)) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            // Files in a folder belong to the module of the folder.
            let module = module.clone().unwrap_or(stem);
            if path.is_dir() {
                open.push((path, Some(module)));
            } else if module != "lib" {
                let text = fs::read_to_string(&path).unwrap();
                imports.entry(module).or_default().extend(named(&text));
            }
        }
    }
    let modules: BTreeSet<String> = imports.keys().cloned().collect();
    for (module, named) in &mut imports {
        named.retain(|name| name != module && modules.contains(name));
    }
    imports
}

/// The first names after each `crate::` of a file.
fn named(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let after = code.split("crate::").skip(1).flat_map(|after| match after.strip_prefix('{') {
        Some(list) => list.split('}').next().unwrap().split(',').collect(),
        None => vec![after],
    });
    let is_name = |character: char| character.is_alphanumeric() || character == '_';
    after.map(|name| name.trim().split(|c| !is_name(c)).next().unwrap().to_owned()).collect()
}

/// The modules in a cycle, or with an import of one.
fn circle(mut imports: Imports) -> BTreeSet<String> {
    loop {
        let before = imports.len();
        let left: BTreeSet<String> = imports.keys().cloned().collect();
        imports.retain(|_, named| named.iter().any(|name| left.contains(name)));
        if imports.len() == before {
            return imports.into_keys().collect();
        }
    }
}

#[test]
fn no_crate_has_a_circle_of_modules() {
    for name in ["settings", "llm", "message"] {
        let imports = imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src"));
        assert!(imports.values().any(|named| !named.is_empty()), "{name} has no imports: this test does not see them");
        assert_eq!(circle(imports), BTreeSet::new(), "these modules of {name} import each other");
    }
}

#[test]
fn a_circle_is_found() {
    let import = |module: &str, text: &str| (module.to_owned(), named(text));
    let circle = circle(Imports::from([
        import("a", "use crate::{c, b::B};"),
        import("b", "fn f() { crate::a::f(); }\n#[cfg(test)]\nuse crate::c;"),
        import("c", "//! See [`crate::a`].\n"),
    ]));
    assert_eq!(circle, ["a", "b"].map(str::to_owned).into());
}
