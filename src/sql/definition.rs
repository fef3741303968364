//! Turns statements into definitions: tables over connectors, memory tables, views and INSERTs.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use datafusion::sql::sqlparser::ast::{
    self, ColumnOption, CreateTable, CreateTableOptions, CreateView, Query, SetExpr, Statement, TableObject,
};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::agent::{AgentDef, read_agent};
use super::options::read_option;
use super::statement::{Ast, ParsedStatement, parse_each, to_span};
use super::table::{ColumnDef, ColumnKind, OptionEntry, TableDef};
use super::{dialect, name_as_written, name_of, types};
use crate::diag::{Code, Diagnostic, SourceText, Span};

/// A table or view that queries can name.
#[derive(Debug, Clone)]
pub enum Definition {
    /// A table over a connector.
    Table(TableDef),
    /// A table without a connector: one INSERT fills it, many queries read it.
    Memory(MemoryDef),
    /// A view.
    View(ViewDef),
}

/// `CREATE TABLE name (…)` without `WITH`.
#[derive(Debug, Clone)]
pub struct MemoryDef {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub span: Span,
    /// The whole statement.
    pub statement: Span,
    /// Its columns.
    pub columns: Vec<ColumnDef>,
}

/// `CREATE VIEW name AS …`.
#[derive(Debug, Clone)]
pub struct ViewDef {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub span: Span,
    /// The whole statement.
    pub statement: Span,
    /// Its query.
    pub query: Box<Query>,
    /// Names for its columns, if it lists any.
    pub columns: Vec<String>,
}

/// `INSERT INTO table …`.
#[derive(Debug, Clone)]
pub struct InsertDef {
    /// The table's name.
    pub table: String,
    /// Where the table's name stands.
    pub table_span: Span,
    /// The columns that it lists, if any.
    pub columns: Vec<String>,
    /// The query.
    pub query: Box<Query>,
    /// The whole statement.
    pub span: Span,
    /// Whether it is a SELECT on its own, for which Baton adds the table.
    pub is_preview: bool,
}

impl Definition {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Table(t) => &t.name,
            Self::Memory(m) => &m.name,
            Self::View(v) => &v.name,
        }
    }

    /// Where its name stands.
    #[must_use]
    pub fn span(&self) -> &Span {
        match self {
            Self::Table(t) => &t.span,
            Self::Memory(m) => &m.span,
            Self::View(v) => &v.span,
        }
    }
}

impl InsertDef {
    /// Whether it inserts constants: `VALUES (…), (…)`.
    #[must_use]
    pub fn is_values(&self) -> bool {
        matches!(*self.query.body, SetExpr::Values(_))
    }
}

/// The contents of a text, in its order.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Tables and views.
    pub definitions: Vec<Definition>,
    /// INSERTs.
    pub inserts: Vec<InsertDef>,
    /// Agents.
    pub agents: Vec<AgentDef>,
    /// The names of tables, views and agents whose definition is wrong. Statements that use them report no further
    /// error.
    pub broken: BTreeSet<String>,
    /// Whether a text cannot be split into statements, so that its definitions are unknown.
    pub unreadable: bool,
}

impl Script {
    /// Adds the contents of another text.
    pub fn extend(&mut self, other: Self) {
        self.definitions.extend(other.definitions);
        self.inserts.extend(other.inserts);
        self.agents.extend(other.agents);
        self.broken.extend(other.broken);
        self.unreadable |= other.unreadable;
    }
}

/// Reads statements as definitions.
///
/// # Errors
/// One diagnostic for each thing that a pipeline cannot contain.
pub fn read(source: &Arc<SourceText>, statements: Vec<ParsedStatement>) -> Result<Script, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let script = read_statements(source, statements, &mut errors);
    if errors.is_empty() { Ok(script) } else { Err(errors) }
}

/// Reads a text and adds its errors to `errors`.
pub fn script(source: &Arc<SourceText>, errors: &mut Vec<Diagnostic>) -> Script {
    let parsed = match parse_each(source) {
        Ok(parsed) => parsed,
        Err(error) => {
            errors.push(error);
            return Script { unreadable: true, ..Script::default() };
        }
    };
    let mut broken = BTreeSet::new();
    let mut statements = Vec::new();
    for statement in parsed {
        match statement {
            Ok(statement) => statements.push(statement),
            Err(wrong) => {
                broken.extend(wrong.defines);
                errors.push(wrong.error);
            }
        }
    }
    let mut script = read_statements(source, statements, errors);
    script.broken.extend(broken);
    script
}

fn read_statements(source: &Arc<SourceText>, statements: Vec<ParsedStatement>, errors: &mut Vec<Diagnostic>) -> Script {
    let mut script = Script::default();
    for ParsedStatement { ast, span } in statements {
        let statement = match ast {
            Ast::Sql(statement) => *statement,
            Ast::Agent(agent) => {
                match read_agent(source, &agent, &span) {
                    Ok(agent) => script.agents.push(agent),
                    Err(wrong) => {
                        script.broken.insert(name_of(&agent.name));
                        errors.extend(wrong);
                    }
                }
                continue;
            }
        };
        match statement {
            Statement::CreateTable(table) => match read_table(source, &table, &span) {
                Ok(definition) => script.definitions.push(definition),
                Err(wrong) => {
                    script.broken.extend(object_name(source, &table.name, &span).map(|(name, _)| name));
                    errors.extend(wrong);
                }
            },
            Statement::CreateView(view) => {
                let name = object_name(source, &view.name, &span).map(|(name, _)| name);
                match read_view(source, view, &span) {
                    Ok(definition) => script.definitions.push(Definition::View(definition)),
                    Err(wrong) => {
                        script.broken.extend(name);
                        errors.push(wrong);
                    }
                }
            }
            Statement::Insert(insert) => match read_insert(source, insert, &span) {
                Ok(insert) => script.inserts.push(insert),
                Err(wrong) => errors.push(wrong),
            },
            Statement::Query(query) if matches!(*query.body, SetExpr::Insert(_)) => errors.push(
                Diagnostic::new(Code::STATEMENT, "WITH stands before INSERT INTO")
                    .at(span)
                    .help("write `INSERT INTO table WITH … SELECT …`"),
            ),
            Statement::Query(query) => preview(&mut script, query, span),
            other => errors.push(
                Diagnostic::new(Code::STATEMENT, format!("pipelines have no {} statement", first_words(&other)))
                    .at(span)
                    .help("a pipeline is made of CREATE AGENT, CREATE TABLE, CREATE VIEW and INSERT INTO … SELECT"),
            ),
        }
    }
    script
}

fn not_understood(what: &str, parts: &str, statement: &Span) -> Diagnostic {
    Diagnostic::new(Code::SYNTAX, format!("this {what} has a clause that pipelines do not support"))
        .at(statement.clone())
        .help(format!("after the name, write only {parts}"))
}

/// A SELECT on its own writes its rows to stdout, as Arroyo sends them to its preview.
fn preview(script: &mut Script, query: Box<Query>, span: Span) {
    let table = format!("SELECT at {}", span.place());
    let option = |key: &str, value: &str| OptionEntry {
        key: key.into(),
        key_span: span.clone(),
        value: value.into(),
        quoted: true,
        value_span: span.clone(),
    };
    script.definitions.push(Definition::Table(TableDef {
        name: table.clone(),
        span: span.clone(),
        statement: span.clone(),
        columns: Vec::new(),
        options: vec![option("connector", "stdout"), option("format", "json")],
        agent_topics: Vec::new(),
    }));
    script.inserts.push(InsertDef {
        table,
        table_span: span.clone(),
        columns: Vec::new(),
        query,
        span,
        is_preview: true,
    });
}

/// The name of a kind of statement: its first word, or two if the second one names the object.
fn first_words(statement: &Statement) -> String {
    let text = statement.to_string();
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    match (first, words.next()) {
        ("CREATE" | "ALTER" | "DROP" | "SHOW", Some(second)) => format!("{first} {second}"),
        _ => first.to_string(),
    }
}

fn object_name(
    source: &Arc<SourceText>,
    name: &ast::ObjectName,
    statement: &Span,
) -> Result<(String, Span), Diagnostic> {
    match name.0.as_slice() {
        [part] => match part.as_ident() {
            Some(ident) => Ok((name_of(ident), to_span(source, ident.span).unwrap_or_else(|| statement.clone()))),
            None => Err(Diagnostic::new(Code::SYNTAX, format!("`{name}` is not a valid name")).at(statement.clone())),
        },
        _ => Err(Diagnostic::new(Code::SYNTAX, format!("`{name}` has more than one part"))
            .at(statement.clone())
            .help("tables and views have plain names, without a schema")),
    }
}

fn read_table(source: &Arc<SourceText>, table: &CreateTable, statement: &Span) -> Result<Definition, Vec<Diagnostic>> {
    let (name, span) = object_name(source, &table.name, statement).map_err(|e| vec![e])?;
    let understood = CreateTableBuilder::new(table.name.clone())
        .columns(table.columns.clone())
        .constraints(table.constraints.clone())
        .table_options(table.table_options.clone())
        .query(table.query.clone())
        .build();
    if understood.to_string() != table.to_string() {
        return Err(vec![not_understood("CREATE TABLE", "columns, WITH options, or AS SELECT", statement)]);
    }
    if let Some(query) = &table.query {
        return read_table_as(table, query, name, span, statement);
    }
    let mut errors = Vec::new();
    if let Some(constraint) = table.constraints.first() {
        errors.push(
            Diagnostic::new(Code::UNSUPPORTED, format!("tables have no constraints (`{constraint}`)"))
                .at(span.clone())
                .help("remove it; a column can be NOT NULL, and a table can have a WATERMARK FOR a column"),
        );
    }
    let mut columns = Vec::new();
    let mut watermarks = Vec::new();
    for column in &table.columns {
        if let Some(field) = dialect::watermark(column) {
            watermarks.push((name_as_written(field), to_span(source, field.span).unwrap_or_else(|| span.clone())));
            continue;
        }
        match read_column(source, column, &span) {
            Ok(column) => columns.push(column),
            Err(error) => errors.push(error),
        }
    }
    errors.extend(wrong_watermarks(&watermarks, &columns, &name));
    for (i, column) in columns.iter().enumerate() {
        if columns[..i].iter().any(|c| c.name == column.name) {
            errors.push(
                Diagnostic::new(Code::COLUMN_TYPE, format!("column `{}` is declared twice in `{name}`", column.name))
                    .at(column.span.clone())
                    .help("remove one of them"),
            );
        }
    }
    let options = match &table.table_options {
        CreateTableOptions::None => None,
        CreateTableOptions::With(options) => Some(options),
        other => {
            errors.push(
                Diagnostic::new(Code::SYNTAX, format!("`{other}` is not a valid option"))
                    .at(span.clone())
                    .help("write `WITH (connector = '…', …)`"),
            );
            None
        }
    };
    let mut entries: Vec<OptionEntry> = Vec::new();
    for option in options.into_iter().flatten() {
        match read_option(source, option, &span) {
            Ok(entry) if entries.iter().any(|e| e.key == entry.key) => errors.push(
                Diagnostic::new(Code::OPTION_VALUE, format!("option `{}` is given twice", entry.key))
                    .at(entry.key_span)
                    .help("remove one of them"),
            ),
            Ok(entry) => entries.push(entry),
            Err(error) => errors.push(error),
        }
    }
    let in_memory = entries.iter().position(|e| e.key == "connector" && e.value == "memory");
    let memory = options.is_none() || in_memory.is_some();
    if memory {
        errors.extend(wrong_memory(&name, &columns, &entries));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(if memory {
        Definition::Memory(MemoryDef { name, span, statement: statement.clone(), columns })
    } else {
        Definition::Table(TableDef {
            name,
            span,
            statement: statement.clone(),
            columns,
            options: entries,
            agent_topics: Vec::new(),
        })
    })
}

/// `CREATE TABLE name AS SELECT …` is a view under another name, as on Arroyo.
fn read_table_as(
    table: &CreateTable,
    query: &Query,
    name: String,
    span: Span,
    statement: &Span,
) -> Result<Definition, Vec<Diagnostic>> {
    if !table.columns.is_empty() || !matches!(table.table_options, CreateTableOptions::None) {
        return Err(vec![
            Diagnostic::new(Code::STATEMENT, "CREATE TABLE … AS SELECT has neither columns nor options of its own")
                .at(span)
                .help("use CREATE VIEW, or CREATE TABLE with a connector and INSERT INTO"),
        ]);
    }
    let statement = statement.clone();
    Ok(Definition::View(ViewDef { name, span, statement, query: Box::new(query.clone()), columns: Vec::new() }))
}

/// Errors in `WATERMARK FOR column`. Stateless queries need no watermark, so it is checked and then ignored.
fn wrong_watermarks(watermarks: &[(String, Span)], columns: &[ColumnDef], table: &str) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    if let Some((_, at)) = watermarks.get(1) {
        let error = Diagnostic::new(Code::COLUMN_TYPE, format!("`{table}` has more than one WATERMARK"));
        errors.push(error.at(at.clone()).help("leave one"));
    }
    for (name, at) in watermarks {
        let message = match columns.iter().find(|c| c.name == *name).map(|c| &c.data_type) {
            Some(DataType::Timestamp(_, None)) => continue,
            Some(other) => format!("WATERMARK FOR `{name}`: the column is {}, not TIMESTAMP", types::to_sql(other)),
            None => format!("WATERMARK FOR `{name}`: there is no such column"),
        };
        let error = Diagnostic::new(Code::COLUMN_TYPE, message).at(at.clone());
        errors.push(error.help("name a TIMESTAMP column of this table"));
    }
    errors
}

/// Errors in a memory table: options, and columns that are not filled by the INSERT.
fn wrong_memory(table: &str, columns: &[ColumnDef], options: &[OptionEntry]) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    if let Some(option) = options.iter().find(|e| e.key != "connector") {
        let message = format!("`{table}` has no connector, so it has no option `{}`", option.key);
        let error = Diagnostic::new(Code::OPTION_UNKNOWN, message).at(option.key_span.clone());
        errors.push(error.help("add `connector = '…'`, or take the options out"));
    }
    for column in columns.iter().filter(|c| c.kind != ColumnKind::Data) {
        let message = format!("column `{}`: a memory table has only the columns that are inserted", column.name);
        let error = Diagnostic::new(Code::FORMAT_COLUMNS, message).at(column.span.clone());
        errors.push(error.help("compute it in the query of the INSERT"));
    }
    errors
}

fn read_column(source: &Arc<SourceText>, column: &ast::ColumnDef, table: &Span) -> Result<ColumnDef, Diagnostic> {
    let name = name_as_written(&column.name);
    let span = to_span(source, column.name.span).unwrap_or_else(|| table.clone());
    let data_type = types::to_arrow(&column.data_type).map_err(|message| {
        Diagnostic::new(Code::COLUMN_TYPE, format!("column `{name}`: {message}")).at(span.clone()).help(
            "types are TEXT, BYTEA, BOOLEAN, INT, BIGINT, DOUBLE, TIMESTAMP, DATE, DECIMAL, JSON, STRUCT<…> and T[]",
        )
    })?;
    let mut result = ColumnDef {
        name,
        span,
        data_type,
        json: matches!(column.data_type, ast::DataType::JSON),
        nullable: true,
        kind: ColumnKind::Data,
    };
    for option in &column.options {
        match &option.option {
            // Arroyo accepts a primary key but needs it only for updates, which stateless queries do not produce.
            ColumnOption::Null | ColumnOption::PrimaryKey(_) => {}
            ColumnOption::NotNull => result.nullable = false,
            ColumnOption::DialectSpecific(tokens) => {
                if let Some(Token::SingleQuotedString(field)) = tokens.last() {
                    result.kind = ColumnKind::Metadata(field.clone());
                }
            }
            ColumnOption::Generated { generation_expr: Some(expr), .. } => {
                result.kind = ColumnKind::Generated(expr.to_string());
            }
            other => {
                return Err(Diagnostic::new(
                    Code::UNSUPPORTED,
                    format!("column `{}`: `{other}` is not supported", result.name),
                )
                .at(result.span)
                .help("a column can be NOT NULL, METADATA FROM '…' or GENERATED ALWAYS AS (…)"));
            }
        }
    }
    Ok(result)
}

fn read_view(source: &Arc<SourceText>, view: CreateView, statement: &Span) -> Result<ViewDef, Diagnostic> {
    let (name, span) = object_name(source, &view.name, statement)?;
    if view.materialized || view.temporary {
        return Err(Diagnostic::new(Code::STATEMENT, "views are plain views here").at(span).help("write CREATE VIEW"));
    }
    let columns = view.columns.iter().map(|c| name_of(&c.name)).collect();
    Ok(ViewDef { name, span, statement: statement.clone(), query: view.query, columns })
}

fn read_insert(source: &Arc<SourceText>, insert: ast::Insert, statement: &Span) -> Result<InsertDef, Diagnostic> {
    let plain = ast::Insert {
        or: None,
        ignore: false,
        table_alias: None,
        overwrite: false,
        assignments: Vec::new(),
        partitioned: None,
        after_columns: Vec::new(),
        on: None,
        returning: None,
        output: None,
        replace_into: false,
        priority: None,
        insert_alias: None,
        ..insert.clone()
    };
    if plain.to_string() != insert.to_string() {
        return Err(not_understood("INSERT INTO", "a list of columns and a SELECT", statement));
    }
    let TableObject::TableName(table) = &insert.table else {
        return Err(Diagnostic::new(Code::SYNTAX, "INSERT INTO needs the name of a table").at(statement.clone()));
    };
    let (table, table_span) = object_name(source, table, statement)?;
    let Some(query) = insert.source else {
        return Err(Diagnostic::new(Code::SYNTAX, "INSERT INTO needs a SELECT").at(statement.clone()));
    };
    let columns = insert.columns.iter().filter_map(|c| c.0.last()?.as_ident().map(name_of)).collect();
    Ok(InsertDef { table, table_span, columns, query, span: statement.clone(), is_preview: false })
}
