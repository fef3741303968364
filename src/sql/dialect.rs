//! Arroyo's SQL dialect: PostgreSQL's, with `STRUCT` types, `METADATA FROM '…'` columns and `WATERMARK FOR column`.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::{ColumnDef, ColumnOption, Expr, GeneratedAs, Ident};
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

/// The dialect that pipelines are written in.
#[derive(Debug, Clone, Copy, Default)]
pub struct PipelineDialect;

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

macro_rules! as_postgres {
    ($($flag:ident),* $(,)?) => { $(fn $flag(&self) -> bool { POSTGRES.$flag() })* };
}

impl Dialect for PipelineDialect {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_delimited_identifier_start(ch)
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        POSTGRES.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        POSTGRES.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        POSTGRES.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRES.prec_value(precedence)
    }

    as_postgres! {
        supports_unicode_string_literal, supports_filter_during_aggregation, supports_group_by_expr,
        allow_extract_custom, allow_extract_single_quotes, supports_factorial_operator,
        supports_bitwise_shift_operators, supports_empty_projections, supports_nested_comments,
        supports_string_escape_constant, supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets, supports_geometric_types, supports_interval_options,
    }

    fn supports_struct_literal(&self) -> bool {
        true
    }

    /// `METADATA FROM 'name'`, kept as its tokens; `GENERATED ALWAYS AS (…)` without PostgreSQL's `STORED`; and the
    /// rest of `WATERMARK FOR`, which the parser reads as a column of the type `FOR`.
    fn parse_column_option(
        &self,
        parser: &mut Parser,
    ) -> Result<Option<Result<Option<ColumnOption>, ParserError>>, ParserError> {
        if after_watermark_for(parser) {
            let column = parser.parse_identifier()?;
            if parser.parse_keyword(Keyword::AS) {
                parser.parse_expr()?;
            }
            return Ok(Some(Ok(Some(ColumnOption::Generated {
                generated_as: GeneratedAs::ByDefault,
                sequence_options: None,
                generation_expr: Some(Expr::Identifier(column)),
                generation_expr_mode: None,
                generated_keyword: false,
            }))));
        }
        if next_is(parser, "metadata") {
            parser.next_token();
            parser.expect_keyword(Keyword::FROM)?;
            let name = parser.next_token();
            return match name.token {
                Token::SingleQuotedString(_) => {
                    let metadata = Token::make_word("METADATA", None);
                    Ok(Some(Ok(Some(ColumnOption::DialectSpecific(vec![metadata, name.token])))))
                }
                _ => parser.expected("the name of a metadata field in quotes, such as 'offset_id'", name),
            };
        }
        if parser.parse_keywords(&[Keyword::GENERATED, Keyword::ALWAYS, Keyword::AS]) {
            parser.expect_token(&Token::LParen)?;
            let expr = parser.parse_expr()?;
            parser.expect_token(&Token::RParen)?;
            let _ = parser.parse_one_of_keywords(&[Keyword::STORED, Keyword::VIRTUAL]);
            return Ok(Some(Ok(Some(ColumnOption::Generated {
                generated_as: GeneratedAs::Always,
                sequence_options: None,
                generation_expr: Some(expr),
                generation_expr_mode: None,
                generated_keyword: true,
            }))));
        }
        Ok(None)
    }
}

/// The column of `WATERMARK FOR column`, if the parsed column is one.
#[must_use]
pub fn watermark(column: &ColumnDef) -> Option<&Ident> {
    match column.options.first().map(|o| &o.option) {
        Some(ColumnOption::Generated {
            generated_as: GeneratedAs::ByDefault,
            generation_expr: Some(Expr::Identifier(field)),
            generated_keyword: false,
            ..
        }) => Some(field),
        _ => None,
    }
}

fn after_watermark_for(parser: &mut Parser) -> bool {
    parser.prev_token();
    parser.prev_token();
    let found = next_is(parser, "watermark");
    parser.next_token();
    let found = found && next_is(parser, "for");
    parser.next_token();
    found && matches!(parser.peek_token_ref().token, Token::Word(_))
}

fn next_is(parser: &Parser, word: &str) -> bool {
    matches!(&parser.peek_token_ref().token, Token::Word(w) if w.value.eq_ignore_ascii_case(word))
}
