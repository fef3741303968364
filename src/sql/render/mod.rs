//! `baton render`: a whole pipeline as one file in Arroyo's dialect.
//!
//! The statements are the authors' own, comments included, each below the statements that it uses. Features that only
//! Baton has are left out or rewritten: `baton.…` options and tables that are both read and written ([`tables`]), a
//! sink with many topics ([`topics`]), subqueries over constant tables ([`constants`]), and async calls whose arguments
//! Arroyo would not find after a restart ([`calls`]). The caller decides where the text goes.

mod calls;
mod constants;
mod tables;
mod topics;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::catalogue;
use super::definition::{Definition, InsertDef, Script};
use super::dialect::PipelineDialect;
use super::plan::PipelinePlan;
use super::resolve::{PipelineText, relations};
use super::table::TableDef;
use super::udfs::UdfSet;
use crate::diag::{Code, Diagnostic, SourceText, Span};

/// A pipeline in Arroyo's dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub sql: String,
    /// The UDFs that it calls. Their sources are not part of the text; a cluster gets them separately.
    pub udfs: Vec<String>,
    /// The variables in its options: `${NAME}`, left in place.
    pub variables: Vec<String>,
    /// Baton's own options, which are left out: table and option.
    pub left_out: Vec<(String, String)>,
}

/// The options and values that Arroyo needs explicitly if a table is used in one direction. The connector knows them.
pub type SpelledOut<'a> = &'a dyn Fn(&TableDef, Use) -> &'static [(&'static str, &'static str)];

/// The use of a table. A table in Arroyo has one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It is read.
    Source,
    /// It is written.
    Sink,
}

/// Renders a planned pipeline. `remarks` are comments to put above statements.
///
/// # Errors
/// A part that Arroyo cannot run in the same way.
pub async fn render(
    text: &PipelineText,
    plan: &PipelinePlan,
    udfs: &UdfSet,
    spelled_out: SpelledOut<'_>,
    remarks: &[(Span, String)],
) -> Result<Rendered, Vec<Diagnostic>> {
    let context = SessionContext::new_with_state(plan.state.clone());
    let mut left_out = Vec::new();
    let mut body = String::new();
    let mut errors = Vec::new();
    let mut made = BTreeSet::new();
    let uses = tables::Uses::of(text, plan);
    for piece in pieces(text) {
        let (statement, text) = match piece {
            Piece::Table(table) => (&table.statement, Ok(tables::text(table, &uses, spelled_out, plan, &mut left_out))),
            Piece::Memory(statement) => (statement, Ok(statement.text().to_string())),
            Piece::Query(owner) => {
                let renderer = Renderer { plan, udfs, uses: &uses, context: &context };
                (owner.statement, renderer.query(owner, &mut made).await)
            }
        };
        match text {
            Ok(text) => {
                let above = comments_above(statement);
                let told = remarks.iter().filter(|(about, remark)| about == statement && !above.contains(remark));
                let remarks: String = told.map(|(_, remark)| remark.as_str()).collect();
                // Remarks start on a line of their own.
                let above = if remarks.is_empty() { &above } else { above.trim_end_matches([' ', '\t']) };
                let _ = write!(body, "{above}{remarks}{text};\n\n");
            }
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let rendered = Rendered {
        sql: format!("{}{}\n", header(text, plan, &left_out), body.trim_end()),
        udfs: plan.udfs.iter().cloned().collect(),
        variables: variables(text, plan),
        left_out,
    };
    stands_alone(text, &rendered, udfs).await?;
    Ok(rendered)
}

/// Renders views and INSERTs.
struct Renderer<'a> {
    plan: &'a PipelinePlan,
    udfs: &'a UdfSet,
    uses: &'a tables::Uses,
    context: &'a SessionContext,
}

impl Renderer<'_> {
    async fn query(&self, owner: Owner<'_>, made: &mut BTreeSet<String>) -> Result<String, Diagnostic> {
        let target = owner.insert.and_then(|insert| Some((insert, self.plan.tables.get(&insert.table)?)));
        let Some((insert, table)) = target.filter(|(_, table)| !table.agent_topics.is_empty()) else {
            let renamed = target.and_then(|(insert, table)| self.uses.renamed(insert, table));
            return self.folded(owner, renamed, made).await;
        };
        let view = calls::unique(&format!("{}_rows", table.name), self.plan, made);
        let rows = Owner { name: &view, ..owner };
        let rows = self.folded(rows, Some(topics::as_view(insert, table, &view)), made).await?;
        Ok(format!("{rows};\n\n{}", topics::inserts(insert, table, &view)))
    }

    async fn folded(
        &self,
        owner: Owner<'_>,
        edit: Option<(Range<usize>, String)>,
        made: &mut BTreeSet<String>,
    ) -> Result<String, Diagnostic> {
        let edits = edit.into_iter().collect();
        let folded = constants::fold(owner.statement, edits, &self.plan.constants, self.context).await?;
        calls::arrange(&owner, folded, self.plan, self.udfs, made)
    }
}

/// A statement of the text, in the order in which it is written.
enum Piece<'a> {
    Table(&'a TableDef),
    Memory(&'a Span),
    Query(Owner<'a>),
}

/// A view or an INSERT.
#[derive(Clone, Copy)]
struct Owner<'a> {
    /// The name of the view or of the table.
    name: &'a str,
    statement: &'a Span,
    /// Whether it fills a memory table.
    fills_memory: bool,
    /// Whether it is a view, whose column names others use.
    is_view: bool,
    /// The INSERT, if it is one.
    insert: Option<&'a InsertDef>,
}

/// All statements that the INSERTs need, each below the statements that it uses.
fn pieces(text: &PipelineText) -> Vec<Piece<'_>> {
    let known: BTreeMap<&str, &Definition> = text.definitions.iter().map(|d| (d.name(), d)).collect();
    let mut order = Order { text, known, done: HashSet::new(), pieces: Vec::new() };
    for insert in &text.inserts {
        if !matches!(order.known.get(insert.table.as_str()), Some(Definition::Memory(_))) {
            order.insert(insert);
        }
    }
    order.pieces
}

struct Order<'a> {
    text: &'a PipelineText,
    known: BTreeMap<&'a str, &'a Definition>,
    done: HashSet<&'a str>,
    pieces: Vec<Piece<'a>>,
}

impl<'a> Order<'a> {
    fn insert(&mut self, insert: &'a InsertDef) {
        for (name, _) in relations(&insert.query, &insert.span) {
            self.need(&name);
        }
        if !insert.is_preview {
            self.need(&insert.table);
        }
        let fills_memory = matches!(self.known.get(insert.table.as_str()), Some(Definition::Memory(_)));
        let statement = &insert.span;
        let name = if insert.is_preview { "select" } else { &insert.table };
        self.pieces.push(Piece::Query(Owner { name, statement, fills_memory, is_view: false, insert: Some(insert) }));
    }

    fn need(&mut self, name: &str) {
        let Some((name, definition)) = self.known.get_key_value(name).map(|(n, d)| (*n, *d)) else { return };
        if !self.done.insert(name) {
            return;
        }
        match definition {
            Definition::Table(table) => self.pieces.push(Piece::Table(table)),
            Definition::View(view) => {
                for (name, _) in relations(&view.query, &view.span) {
                    self.need(&name);
                }
                let statement = &view.statement;
                self.pieces.push(Piece::Query(Owner {
                    name,
                    statement,
                    fills_memory: false,
                    is_view: true,
                    insert: None,
                }));
            }
            Definition::Memory(memory) => {
                let text = self.text;
                // A constant table has no INSERT here: subqueries over it are literals.
                let filling: Vec<_> = text.inserts.iter().filter(|i| i.table == name).collect();
                if !filling.is_empty() {
                    self.pieces.push(Piece::Memory(&memory.statement));
                }
                for insert in filling {
                    self.insert(insert);
                }
            }
        }
    }
}

/// The text between the previous statement and this one: usually comments.
fn comments_above(statement: &Span) -> String {
    let before = &statement.source.text[..statement.range.start];
    let Ok(tokens) = Tokenizer::new(&PipelineDialect, before).tokenize() else { return String::new() };
    let own = tokens.rsplit(|t| *t == Token::SemiColon).next().unwrap_or_default();
    let text: String = own.iter().map(ToString::to_string).collect();
    // The text after a `;` on the same line belongs to the previous statement.
    let text = if own.len() < tokens.len() { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
    // The header of a text that was already rendered.
    let text = text.trim_start();
    let text = if text.starts_with(HEADER) { text.split_once("\n\n").map_or("", |(_, rest)| rest) } else { text };
    if text.trim().is_empty() { String::new() } else { text.trim_start().to_string() }
}

const HEADER: &str = "-- Made by `baton render";

fn header(text: &PipelineText, plan: &PipelinePlan, left_out: &[(String, String)]) -> String {
    let mut header =
        format!("{HEADER} {}`: change pipelines/ and sql/, not this text.\n", text.name.replace('\n', " "));
    let mut line = |what: &str, names: &[String]| {
        if !names.is_empty() {
            let _ = writeln!(header, "-- {what} {}.", names.join(", "));
        }
    };
    line("UDFs that it calls:", &plan.udfs.iter().cloned().collect::<Vec<_>>());
    line("Variables to put in:", &variables(text, plan));
    for (option, tables) in by_option(left_out) {
        line(&format!("Left out, because only Baton has it: `{option}`; in"), &tables);
    }
    header.push('\n');
    header
}

/// The tables of each option.
#[must_use]
pub fn by_option(left_out: &[(String, String)]) -> BTreeMap<&str, Vec<String>> {
    let mut tables: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (table, option) in left_out {
        tables.entry(option).or_default().push(table.clone());
    }
    tables
}

/// The `${…}` names in the options of its tables.
fn variables(text: &PipelineText, plan: &PipelinePlan) -> Vec<String> {
    let tables = text.tables().filter(|t| plan.tables.contains_key(&t.name));
    let options = tables.flat_map(|t| t.options.iter().filter(|o| !tables::only_baton(&o.key)));
    let names: BTreeSet<String> = options.flat_map(|o| crate::config::variables(&o.value)).collect();
    names.into_iter().collect()
}

/// Checks that the rendered text is a complete pipeline.
async fn stands_alone(text: &PipelineText, rendered: &Rendered, udfs: &UdfSet) -> Result<(), Vec<Diagnostic>> {
    let source = SourceText::new(format!("rendered {}", text.name), rendered.sql.clone());
    let alone = super::plan::plan(catalogue::assemble(&text.name, &source, Script::default()), udfs).await.map(drop);
    // The author has never seen the rendered text, so places in it say nothing. The statement that it came from does.
    alone.map_err(|wrong| {
        let told = |d: Diagnostic| {
            let line = d.span.as_ref().map_or("", |s| s.source.text[..s.range.end].lines().last().unwrap_or_default());
            Diagnostic::new(Code::RENDER, format!("the rendered text would be wrong: {}", d.message))
                .help(format!("rewrite what becomes `{}`", line.trim()))
        };
        wrong.into_iter().map(told).collect()
    })
}

/// A statement's text with some parts replaced. The parts do not overlap.
fn edited(statement: &Span, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let source: &Arc<SourceText> = &statement.source;
    let mut result = String::new();
    let mut at = statement.range.start;
    for (range, text) in edits {
        result.push_str(&source.text[at..range.start]);
        result.push_str(&text);
        at = range.end;
    }
    result.push_str(&source.text[at..statement.range.end]);
    result
}

fn refused(at: &Span, message: String, help: &str) -> Diagnostic {
    Diagnostic::new(Code::RENDER, message).at(at.clone()).help(help)
}
