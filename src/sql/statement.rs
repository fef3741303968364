//! Splits a text into statements and parses each by itself, so that all syntax errors of a file are found at once and
//! each statement knows its place.

use std::ops::Range;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{Ident, SqlOption, Statement};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span as TokenSpan, Token, TokenWithSpan, Tokenizer};

use super::chains;
use super::dialect::PipelineDialect;
use crate::diag::{Code, Diagnostic, SourceText, Span};

/// A statement and where it stands.
#[derive(Debug, Clone)]
pub struct ParsedStatement {
    /// As parsed.
    pub ast: Ast,
    /// From its first to its last token.
    pub span: Span,
}

/// A SQL statement, or one that only Baton has.
#[derive(Debug, Clone)]
pub enum Ast {
    /// A statement of the SQL parser.
    Sql(Box<Statement>),
    /// `CREATE AGENT`.
    Agent(CreateAgent),
}

/// `CREATE AGENT name WITH (key = value, …)`.
#[derive(Debug, Clone)]
pub struct CreateAgent {
    /// Its name.
    pub name: Ident,
    /// Its options, in order.
    pub options: Vec<SqlOption>,
}

/// A statement that is not SQL.
#[derive(Debug, Clone)]
pub struct WrongStatement {
    /// The error.
    pub error: Diagnostic,
    /// Whether it begins with `CREATE AGENT`.
    pub is_agent: bool,
    /// The table, view or agent that it would define.
    pub defines: Option<String>,
}

/// How deep expressions and queries may nest.
const MAX_DEPTH: usize = 128;

/// Parses a file.
///
/// # Errors
/// One diagnostic for each statement that is not SQL.
pub fn parse(source: &Arc<SourceText>) -> Result<Vec<ParsedStatement>, Vec<Diagnostic>> {
    let mut statements = Vec::new();
    let mut errors = Vec::new();
    for parsed in parse_each(source).map_err(|error| vec![error])? {
        match parsed {
            Ok(statement) => statements.push(statement),
            Err(wrong) => errors.push(wrong.error),
        }
    }
    if errors.is_empty() { Ok(statements) } else { Err(errors) }
}

/// Parses a file, statement by statement.
///
/// # Errors
/// The text cannot be split into statements, because a quote or comment is not closed.
pub fn parse_each(source: &Arc<SourceText>) -> Result<Vec<Result<ParsedStatement, WrongStatement>>, Diagnostic> {
    let tokens = Tokenizer::new(&PipelineDialect, &source.text).tokenize_with_location().map_err(|error| {
        let at = source.offset(to_usize(error.location.line), to_usize(error.location.column));
        let error = Diagnostic::new(Code::SYNTAX, unclosed(&error.message)).at(Span::new(source, at..at + 1));
        error.help("close what is opened here")
    })?;
    let statements = tokens.split(|t| t.token == Token::SemiColon).filter_map(|tokens| {
        let mut words = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_)));
        let first = words.next()?;
        let second = words.next();
        let last = words.next_back().or(second).unwrap_or(first);
        let span = Span::new(source, start(source, first.span)..end(source, last.span));
        let is_agent = is_word(first, "create") && second.is_some_and(|second| is_word(second, "agent"));
        let ast = parse_one(source, tokens, &span, is_agent);
        Some(match ast {
            Ok(ast) => Ok(ParsedStatement { ast, span }),
            Err(error) => Err(WrongStatement { error, is_agent, defines: defined(tokens) }),
        })
    });
    Ok(statements.collect())
}

/// The name after `CREATE TABLE`, `CREATE VIEW` or `CREATE AGENT`.
fn defined(tokens: &[TokenWithSpan]) -> Option<String> {
    let mut words = tokens.iter().filter(|t| !matches!(t.token, Token::Whitespace(_)));
    let (create, what, name) = (words.next()?, words.next()?, words.next()?);
    let is_definition = is_word(create, "create") && ["table", "view", "agent"].iter().any(|word| is_word(what, word));
    match &name.token {
        Token::Word(word) if is_definition => Some(super::name_of(&word.to_ident(name.span))),
        _ => None,
    }
}

fn parse_one(
    source: &Arc<SourceText>,
    tokens: &[TokenWithSpan],
    span: &Span,
    is_agent: bool,
) -> Result<Ast, Diagnostic> {
    if let Some(at) = chains::too_long(tokens) {
        let limit = chains::MAX_OPERATORS;
        return Err(Diagnostic::new(
            Code::SYNTAX,
            format!("more than {limit} operators and brackets follow each other"),
        )
        .at(Span::new(source, start(source, at.span)..end(source, at.span)))
        .help("split the expression with views; for a list of values there is `IN (…)`"));
    }
    let mut parser =
        Parser::new(&PipelineDialect).with_recursion_limit(MAX_DEPTH).with_tokens_with_locations(tokens.to_vec());
    let parsed = if is_agent {
        parse_agent(&mut parser).map(Ast::Agent)
    } else {
        parser.parse_statement().map(|statement| Ast::Sql(Box::new(statement)))
    };
    let ast = parsed.map_err(|error| match syntax_error(source, span, &error) {
        error if is_agent => error.help("write `CREATE AGENT name WITH (name = '…', description = '…', …)`"),
        error => error,
    })?;
    match parser.peek_token() {
        TokenWithSpan { token: Token::EOF, .. } => Ok(ast),
        left => Err(Diagnostic::new(Code::SYNTAX, format!("`{}` is not expected here", left.token))
            .at(Span::new(source, start(source, left.span)..end(source, left.span)))
            .help("end the statement before it with `;`, or remove it")),
    }
}

/// `CREATE AGENT name WITH (…)`, from its first word on.
fn parse_agent(parser: &mut Parser<'_>) -> Result<CreateAgent, ParserError> {
    parser.next_token();
    parser.next_token();
    let name = match parser.peek_token() {
        // If the name is missing, WITH would be read as the name.
        token if is_word(&token, "with") => return parser.expected("the agent's name", token),
        _ => parser.parse_identifier()?,
    };
    if !parser.peek_keyword(Keyword::WITH) {
        return parser.expected("WITH (name = '…', …)", parser.peek_token());
    }
    Ok(CreateAgent { name, options: parser.parse_options(Keyword::WITH)? })
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// The span of tokens or of a piece of AST as a range of the text; `None` if the AST does not know it.
#[must_use]
pub fn to_span(source: &Arc<SourceText>, span: TokenSpan) -> Option<Span> {
    (span != TokenSpan::empty()).then(|| Span::new(source, start(source, span)..end(source, span)))
}

/// The tokens of a statement, without white space and comments, each with its place in the file.
#[must_use]
pub fn tokens(statement: &Span) -> Vec<(Token, Range<usize>)> {
    let local = SourceText::new("", statement.text());
    let found = Tokenizer::new(&PipelineDialect, statement.text()).tokenize_with_location().unwrap_or_default();
    let base = statement.range.start;
    let place = |t: &TokenWithSpan| {
        let span = to_span(&local, t.span)?;
        Some((t.token.clone(), span.range.start + base..span.range.end + base))
    };
    found.iter().filter(|t| !matches!(t.token, Token::Whitespace(_))).filter_map(place).collect()
}

fn start(source: &SourceText, span: TokenSpan) -> usize {
    offset(source, span.start)
}

fn end(source: &SourceText, span: TokenSpan) -> usize {
    offset(source, span.end)
}

fn offset(source: &SourceText, location: Location) -> usize {
    source.offset(to_usize(location.line), to_usize(location.column))
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// The parser puts the place at the end of its message: `… at Line: 4, Column: 8`.
fn syntax_error(source: &Arc<SourceText>, statement: &Span, error: &ParserError) -> Diagnostic {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => {
            return Diagnostic::new(Code::SYNTAX, "the statement nests too deeply")
                .at(statement.clone())
                .help(format!("split it with views; {MAX_DEPTH} levels are the limit"));
        }
    };
    let (message, place) = match text.rsplit_once(" at Line: ") {
        Some((message, place)) => (message, place.split_once(", Column: ")),
        None => (text, None),
    };
    let at = place.and_then(|(line, column)| Some(source.offset(line.parse().ok()?, column.parse().ok()?)));
    let span = match at {
        Some(at) => Span::new(source, at..at + token_length(&source.text[at..])),
        None => Span::new(source, statement.range.end..statement.range.end),
    };
    let message = message.strip_prefix("sql parser error: ").unwrap_or(message);
    let parts = message.strip_prefix("Expected").and_then(|m| m.rsplit_once(" found: "));
    let message = match parts.map(|(expected, found)| (expected.trim_matches([',', ':', ' ']), found)) {
        Some((expected, "EOF")) => format!("expected {}, but the statement ends", quoted_sign(expected)),
        Some((expected, found)) => format!("expected {}, found `{found}`", quoted_sign(expected)),
        None => lower_first(message),
    };
    Diagnostic::new(Code::SYNTAX, message).at(span).help("the dialect is Arroyo's, which is close to PostgreSQL's")
}

/// Nearly every error of the tokenizer is something that is not closed.
fn unclosed(message: &str) -> String {
    match message.strip_prefix("Unterminated ").map(|what| what.split(',').next().unwrap_or(what)) {
        Some(what) if what.ends_with("string literal") => "a text is opened here with ' and never closed".into(),
        Some(what) => format!("a {what} is opened here and never closed"),
        None => lower_first(message),
    }
}

/// Quotes a bracket or a comma, which is hard to see otherwise.
fn quoted_sign(expected: &str) -> String {
    if expected.chars().any(char::is_alphanumeric) { expected.into() } else { format!("`{expected}`") }
}

fn token_length(text: &str) -> usize {
    let word = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    word.max(text.chars().next().map_or(0, char::len_utf8))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{Style, to_text};

    #[test]
    fn statements_know_where_they_stand() {
        let source = SourceText::new(
            "a.sql",
            "-- first\nCREATE VIEW v AS SELECT 1; \n\n/* x; */ INSERT INTO t SELECT ';' FROM v",
        );
        let statements = parse(&source).unwrap();
        let texts: Vec<_> = statements.iter().map(|s| s.span.text()).collect();
        assert_eq!(texts, ["CREATE VIEW v AS SELECT 1", "INSERT INTO t SELECT ';' FROM v"]);
    }

    #[test]
    fn every_wrong_statement_is_reported() {
        let source = SourceText::new(
            "a.sql",
            "SELEC 1;\nSELECT a FROM t;\nINSERT INTO t SELECT (1 FROM t;\nCREATE VIEW v SELECT 1",
        );
        let errors = parse(&source).unwrap_err();
        insta::assert_snapshot!(to_text(&errors, Style::Plain), @r"
        error[S001]: expected an SQL statement, found `SELEC`
         --> a.sql:1:1
          |
        1 | SELEC 1;
          | ^^^^^
          |
        help: the dialect is Arroyo's, which is close to PostgreSQL's

        error[S001]: expected `)`, found `FROM`
         --> a.sql:3:25
          |
        3 | INSERT INTO t SELECT (1 FROM t;
          |                         ^^^^
          |
        help: the dialect is Arroyo's, which is close to PostgreSQL's

        error[S001]: expected AS, found `SELECT`
         --> a.sql:4:15
          |
        4 | CREATE VIEW v SELECT 1
          |               ^^^^^^
          |
        help: the dialect is Arroyo's, which is close to PostgreSQL's
        ");
    }

    #[test]
    fn deep_nesting_is_refused_without_a_crash() {
        let source = SourceText::new("a.sql", format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000)));
        assert!(parse(&source).unwrap_err()[0].message.contains("follow each other"));
        let source = SourceText::new("a.sql", format!("SELECT {}1{}", "(".repeat(300), ")".repeat(300)));
        assert!(parse(&source).unwrap_err()[0].message.contains("nests too deeply"));
    }

    #[test]
    fn arroyo_words_are_understood() {
        let text = "CREATE TABLE t (value BYTEA, off BIGINT METADATA FROM 'offset_id', s STRUCT<a TEXT, b STRUCT<c INT> >, \
                    tags TEXT[], j JSON, g BIGINT GENERATED ALWAYS AS (off + 1)) WITH (connector = 'kafka', 'source.offset' = 'group')";
        parse(&SourceText::new("a.sql", text)).unwrap();
    }
}
