//! A pipeline's text and, from `sql/`, just the definitions that it uses.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{ObjectName, Query, Visit, Visitor};

use super::definition::{Definition, InsertDef, Script, read};
use super::name_of;
use super::statement::{parse, to_span};
use super::table::{DEAD_LETTERS, TableDef};
use crate::diag::{Code, Diagnostic, SourceText, Span, nearest};

/// A folder with `pipelines/`, `sql/` and `udfs/`.
#[derive(Debug, Clone)]
pub struct Project {
    /// The folder.
    pub root: PathBuf,
}

impl Project {
    /// The folder `from` or the nearest above it that has `pipelines/`.
    #[must_use]
    pub fn find(from: &Path) -> Option<Self> {
        from.ancestors().find(|d| d.join("pipelines").is_dir()).map(|root| Self { root: root.to_path_buf() })
    }

    /// Where UDFs are.
    #[must_use]
    pub fn udfs(&self) -> PathBuf {
        self.root.join("udfs")
    }

    /// Names of all pipelines.
    #[must_use]
    pub fn pipelines(&self) -> Vec<String> {
        sql_files(&self.root.join("pipelines"))
            .iter()
            .filter_map(|p| Some(p.file_stem()?.to_str()?.to_string()))
            .collect()
    }
}

/// All that a pipeline's text says and refers to, parsed and in an order in which each thing comes after what it uses.
#[derive(Debug, Clone)]
pub struct PipelineText {
    /// Its name: the file's, without `.sql`.
    pub name: String,
    /// The tables and views that it uses.
    pub definitions: Vec<Definition>,
    /// Constant tables' rows: `INSERT INTO name VALUES …`.
    pub constants: Vec<InsertDef>,
    /// What it does.
    pub inserts: Vec<InsertDef>,
}

impl PipelineText {
    /// Its tables over connectors.
    pub fn tables(&self) -> impl Iterator<Item = &TableDef> {
        self.definitions.iter().filter_map(|d| match d {
            Definition::Table(table) => Some(table),
            Definition::Memory(_) | Definition::View(_) => None,
        })
    }

    /// The names of all tables and views that its views and INSERTs read.
    #[must_use]
    pub fn tables_read(&self) -> HashSet<String> {
        let views = self.definitions.iter().filter_map(|d| match d {
            Definition::View(view) => Some((&view.query, &view.span)),
            Definition::Memory(_) | Definition::Table(_) => None,
        });
        let queries = views.chain(self.inserts.iter().map(|i| (&i.query, &i.span)));
        queries.flat_map(|(query, at)| relations(query, at)).map(|(name, _)| name).collect()
    }
}

/// Finds a pipeline by its name, or by the path of a `.sql` file, and reads it.
///
/// # Errors
/// All that is wrong with the text, the catalogue's included.
pub fn load(name_or_path: &str, cwd: &Path) -> Result<(PipelineText, Option<Project>), Vec<Diagnostic>> {
    let is_path = Path::new(name_or_path).extension().is_some_and(|e| e.eq_ignore_ascii_case("sql"));
    let (path, project) = if is_path {
        let path = cwd.join(name_or_path);
        let project = path.parent().and_then(Project::find).or_else(|| Project::find(cwd));
        (path, project)
    } else {
        let Some(project) = Project::find(cwd) else {
            return Err(vec![
                Diagnostic::new(
                    Code::NO_PROJECT,
                    format!("no folder `pipelines/` here or above, so there is no pipeline `{name_or_path}`"),
                )
                .help("run inside a project, or give the path of a .sql file"),
            ]);
        };
        (project.root.join("pipelines").join(format!("{name_or_path}.sql")), Some(project))
    };
    if !path.is_file() {
        return Err(vec![not_found(name_or_path, &path, is_path, project.as_ref())]);
    }
    let name = path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    let source = SourceText::read(&path).map_err(|e| vec![e])?;
    let mut errors = Vec::new();
    let own = script(&source, &mut errors);
    let catalogue = match &project {
        Some(project) => read_catalogue(&project.root.join("sql"), &mut errors),
        None => Script::default(),
    };
    if !errors.is_empty() {
        return Err(errors);
    }
    resolve(name, &source, own, catalogue).map(|text| (text, project))
}

/// Reads a pipeline from a text, with a catalogue that was read before.
///
/// # Errors
/// All that is wrong with the text.
pub fn assemble(name: &str, source: &Arc<SourceText>, catalogue: Script) -> Result<PipelineText, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let own = script(source, &mut errors);
    if errors.is_empty() { resolve(name.to_string(), source, own, catalogue) } else { Err(errors) }
}

/// Reads what a project's `sql/` defines.
///
/// # Errors
/// All that is wrong with its files.
pub fn definitions(project: &Project) -> Result<Script, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let all = read_catalogue(&project.root.join("sql"), &mut errors);
    if errors.is_empty() { Ok(all) } else { Err(errors) }
}

fn script(source: &Arc<SourceText>, errors: &mut Vec<Diagnostic>) -> Script {
    parse(source).and_then(|statements| read(source, statements)).unwrap_or_else(|wrong| {
        errors.extend(wrong);
        Script::default()
    })
}

fn not_found(given: &str, path: &Path, is_path: bool, project: Option<&Project>) -> Diagnostic {
    if is_path {
        return Diagnostic::new(Code::FILE, format!("there is no file `{given}`"))
            .help("check the path, or give the name of a pipeline without .sql");
    }
    let known = project.map(Project::pipelines).unwrap_or_default();
    let help = match nearest(given, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the pipelines are {}", known.join(", ")),
    };
    Diagnostic::new(
        Code::NO_PIPELINE,
        format!("there is no pipeline `{given}` (no file `{}`)", crate::diag::display_path(path)),
    )
    .help(help)
}

fn sql_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "sql")).collect();
    files.sort();
    files
}

fn read_catalogue(folder: &Path, errors: &mut Vec<Diagnostic>) -> Script {
    let mut all = Script::default();
    for path in sql_files(folder) {
        match SourceText::read(&path) {
            Ok(source) => {
                let one = script(&source, errors);
                all.definitions.extend(one.definitions);
                all.inserts.extend(one.inserts);
            }
            Err(error) => errors.push(error),
        }
    }
    for insert in &all.inserts {
        if !insert.is_values() {
            errors.push(
                Diagnostic::new(
                    Code::STATEMENT,
                    "`sql/` says what exists; an INSERT that does something belongs in `pipelines/`",
                )
                .at(insert.span.clone())
                .help("move it to a file in pipelines/"),
            );
        }
    }
    all
}

fn resolve(
    name: String,
    source: &Arc<SourceText>,
    own: Script,
    catalogue: Script,
) -> Result<PipelineText, Vec<Diagnostic>> {
    let mut errors = used_too_early(&own);
    let mut known: BTreeMap<String, Definition> = BTreeMap::new();
    let mut add = |definition: Definition, errors: &mut Vec<Diagnostic>, replace: bool| {
        if let Some(first) = known.get(definition.name()) {
            let same_origin = first.span().source == definition.span().source;
            if replace && !same_origin {
                known.insert(definition.name().to_string(), definition);
            } else {
                errors.push(
                    Diagnostic::new(Code::TABLE_TWICE, format!("`{}` is defined twice", definition.name()))
                        .at(definition.span().clone())
                        .help(format!("the first definition is at {}", first.span().place())),
                );
            }
        } else {
            known.insert(definition.name().to_string(), definition);
        }
    };
    for definition in catalogue.definitions {
        add(definition, &mut errors, false);
    }
    // Rows of the catalogue belong to the catalogue's table of that name.
    let catalogue_inserts: Vec<InsertDef> = catalogue
        .inserts
        .into_iter()
        .filter(|insert| !own.definitions.iter().any(|d| d.name() == insert.table))
        .collect();
    let own_names: Vec<(String, Span)> =
        own.definitions.iter().map(|d| (d.name().to_string(), d.span().clone())).collect();
    // What a pipeline defines itself wins over the catalogue.
    for definition in own.definitions {
        add(definition, &mut errors, true);
    }
    let (constants, inserts): (Vec<_>, Vec<_>) = own
        .inserts
        .into_iter()
        .chain(catalogue_inserts)
        .partition(|i| i.is_values() && matches!(known.get(&i.table), Some(Definition::Memory(_))));
    if inserts.is_empty() {
        errors.push(
            Diagnostic::new(Code::NO_INSERT, format!("pipeline `{name}` does nothing: it has no INSERT INTO"))
                .at(Span::new(source, 0..0))
                .help("add `INSERT INTO table SELECT … FROM table`"),
        );
    }
    let mut order = Order { known: &known, done: HashSet::new(), open: Vec::new(), sorted: Vec::new(), errors };
    for insert in &inserts {
        order.visit(&insert.table, &insert.table_span);
        order.visit_query(&insert.query, &insert.span);
    }
    // What the pipeline defines and nobody reads is checked all the same.
    for (name, span) in own_names {
        order.visit(&name, &span);
    }
    let sorted = std::mem::take(&mut order.sorted);
    let errors = order.errors;
    if !errors.is_empty() {
        return Err(errors);
    }
    let used: HashSet<&str> = sorted.iter().map(String::as_str).collect();
    let constants = constants.into_iter().filter(|c| used.contains(c.table.as_str())).collect();
    let definitions = sorted.iter().filter_map(|n| known.get(n).cloned()).collect();
    Ok(PipelineText { name, definitions, constants, inserts })
}

/// A file is read from top to bottom, as Arroyo reads it: what a statement uses stands above it, and so does the INSERT
/// that fills a memory table.
fn used_too_early(own: &Script) -> Vec<Diagnostic> {
    let start = |span: &Span| span.range.start;
    let defined: HashMap<&str, &Definition> = own.definitions.iter().rev().map(|d| (d.name(), d)).collect();
    let filling = own.inserts.iter().rev().filter(|i| !i.is_values());
    let filled: HashMap<&str, &InsertDef> = filling.map(|i| (i.table.as_str(), i)).collect();
    let mut errors = Vec::new();
    let mut check = |name: &str, at: &Span, reader: &Span| {
        let Some(definition) = defined.get(name) else { return };
        if start(definition.span()) > start(reader) {
            let error = Diagnostic::new(Code::TABLE_UNKNOWN, format!("`{name}` is used before it is defined"));
            let help = format!("move its definition ({}) above this statement", definition.span().place());
            errors.push(error.at(at.clone()).help(help));
        } else if matches!(definition, Definition::Memory(_))
            && let Some(filled) = filled.get(name)
            && start(&filled.span) > start(reader)
        {
            let error = Diagnostic::new(Code::TABLE_UNKNOWN, format!("`{name}` is read before anything fills it"));
            let help = format!("move the INSERT INTO it ({}) above this statement", filled.span.place());
            errors.push(error.at(at.clone()).help(help));
        }
    };
    for definition in &own.definitions {
        let Definition::View(view) = definition else { continue };
        for (name, at) in relations(&view.query, &view.span) {
            check(&name, &at, &view.span);
        }
    }
    for insert in &own.inserts {
        for (name, at) in relations(&insert.query, &insert.span) {
            check(&name, &at, &insert.span);
        }
    }
    for insert in &own.inserts {
        let Some(table) = defined.get(insert.table.as_str()) else { continue };
        if start(table.span()) > start(&insert.span) {
            let message = format!("`{}` is used before it is defined", insert.table);
            let help = format!("move its definition ({}) above this statement", table.span().place());
            errors.push(Diagnostic::new(Code::TABLE_UNKNOWN, message).at(insert.table_span.clone()).help(help));
        }
    }
    errors
}
/// How many views may stand on each other.
const MAX_VIEWS: usize = 200;

/// Depth first: a definition goes to the list after all that it uses.
struct Order<'a> {
    known: &'a BTreeMap<String, Definition>,
    done: HashSet<String>,
    open: Vec<String>,
    sorted: Vec<String>,
    errors: Vec<Diagnostic>,
}

impl Order<'_> {
    fn visit(&mut self, name: &str, at: &Span) {
        if self.open.iter().any(|n| n == name) {
            self.errors.push(
                Diagnostic::new(
                    Code::QUERY,
                    format!("`{name}` is defined by itself: {} → {name}", self.open.join(" → ")),
                )
                .at(at.clone())
                .help("a view can only read what is defined without it"),
            );
            return;
        }
        if self.open.len() >= MAX_VIEWS {
            let message = format!("more than {MAX_VIEWS} views stand on each other");
            if !self.errors.iter().any(|e| e.message == message) {
                let error = Diagnostic::new(Code::QUERY, message).at(at.clone());
                self.errors.push(error.help("put some of them together"));
            }
            return;
        }
        if !self.done.contains(name) {
            match self.known.get(name) {
                None => {
                    let near = nearest(name, self.known.keys().map(String::as_str));
                    let help = near.map_or_else(
                        || "define it in this file or in sql/".to_string(),
                        |near| format!("did you mean `{near}`? it is defined at {}", self.known[near].span().place()),
                    );
                    let error = Diagnostic::new(Code::TABLE_UNKNOWN, format!("there is no table or view `{name}`"))
                        .at(at.clone())
                        .help(help);
                    if !self.errors.contains(&error) {
                        self.errors.push(error);
                    }
                }
                Some(definition) => {
                    if let Definition::View(view) = definition {
                        self.open.push(name.to_string());
                        self.visit_query(&view.query, &view.span);
                        self.open.pop();
                    }
                    if self.done.insert(name.to_string()) {
                        self.sorted.push(name.to_string());
                    }
                    if let Definition::Table(table) = definition
                        && let Some(entry) = table.option(DEAD_LETTERS)
                    {
                        self.visit(&entry.value, &entry.value_span);
                    }
                }
            }
        }
    }

    fn visit_query(&mut self, query: &Query, at: &Span) {
        for (name, span) in relations(query, at) {
            self.visit(&name, &span);
        }
    }
}

/// The tables and views that a query reads. A name of its `WITH` hides a table from what comes after it, not from the
/// `WITH` itself.
#[must_use]
pub fn relations(query: &Query, at: &Span) -> Vec<(String, Span)> {
    struct Relations<'a> {
        at: &'a Span,
        /// For each open query, the names that hide tables.
        hidden: Vec<HashSet<String>>,
        found: Vec<(String, Span)>,
    }
    impl Visitor for Relations<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let mut hidden = HashSet::new();
            if let Some(with) = &query.with {
                for cte in &with.cte_tables {
                    let name = name_of(&cte.alias.name);
                    if with.recursive {
                        hidden.insert(name.clone());
                    }
                    self.hidden.push(hidden.clone());
                    // Its body is visited here, where just the names before it hide anything.
                    let _ = cte.query.visit(self);
                    self.hidden.pop();
                    hidden.insert(name);
                }
            }
            self.hidden.push(hidden);
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.hidden.pop();
            ControlFlow::Continue(())
        }
        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            if let Some(ident) = relation.0.last().and_then(|part| part.as_ident()) {
                let name = name_of(ident);
                if !self.hidden.iter().any(|names| names.contains(&name)) {
                    let span = to_span(&self.at.source, ident.span).unwrap_or_else(|| self.at.clone());
                    if !self.found.iter().any(|(known, place)| *known == name && *place == span) {
                        self.found.push((name, span));
                    }
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut visitor = Relations { at, hidden: Vec::new(), found: Vec::new() };
    let _ = query.visit(&mut visitor);
    visitor.found
}
