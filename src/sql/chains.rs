//! Limits the length of an expression. The parser limits how deep brackets nest, but turns `a + a + a + …` into a tree
//! just as deep.
//!
//! All code that visits such a tree needs stack for each level, and so does dropping it. So the check reads the tokens,
//! before there is a tree.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// How many operators may follow each other.
pub(super) const MAX_OPERATORS: usize = 500;

/// The part between two brackets that has been read so far.
#[derive(Default)]
struct Level {
    /// AND and OR. The text between two of them is an expression of its own.
    conditions: usize,
    /// Other operators since the last condition or comma.
    operators: usize,
    /// UNION, JOIN and the like.
    queries: usize,
}

impl Level {
    fn end_expression(&mut self) {
        (self.conditions, self.operators) = (0, 0);
    }

    fn depth(&self) -> usize {
        self.conditions + self.operators + self.queries
    }
}

/// The token at which a statement becomes too deep.
pub(super) fn too_long(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let mut levels = vec![Level::default()];
    // The depth of all open levels except the last.
    let mut outside = 0;
    for token in tokens {
        let level = levels.last_mut()?;
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => open(&mut levels, &mut outside),
            Token::RParen | Token::RBracket | Token::RBrace => close(&mut levels, &mut outside),
            Token::Comma => level.end_expression(),
            Token::Word(word) => match word.keyword {
                Keyword::NoKeyword => {}
                Keyword::CASE => open(&mut levels, &mut outside),
                Keyword::END => close(&mut levels, &mut outside),
                Keyword::AND | Keyword::OR => {
                    level.conditions += 1;
                    level.operators = 0;
                }
                Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT | Keyword::JOIN => {
                    level.queries += 1;
                    level.end_expression();
                }
                Keyword::SELECT
                | Keyword::FROM
                | Keyword::WHERE
                | Keyword::ON
                | Keyword::WHEN
                | Keyword::THEN
                | Keyword::ELSE => level.end_expression(),
                _ => level.operators += 1,
            },
            Token::Whitespace(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::UnicodeStringLiteral(_)
            | Token::DollarQuotedString(_) => {}
            _ => level.operators += 1,
        }
        if outside + levels.last().map_or(0, Level::depth) > MAX_OPERATORS {
            return Some(token);
        }
    }
    None
}

/// An opening bracket counts as one more operator: `a[1][1][1]`.
fn open(levels: &mut Vec<Level>, outside: &mut usize) {
    if let Some(level) = levels.last_mut() {
        level.operators += 1;
        *outside += level.depth();
    }
    levels.push(Level::default());
}

fn close(levels: &mut Vec<Level>, outside: &mut usize) {
    if levels.len() > 1 {
        levels.pop();
        *outside -= levels.last().map_or(0, Level::depth);
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;
    use crate::sql::dialect::PipelineDialect;

    fn is_too_long(text: &str) -> bool {
        let tokens = Tokenizer::new(&PipelineDialect, text).tokenize_with_location().unwrap();
        too_long(&tokens).is_some()
    }

    #[test]
    fn chains_are_limited_and_lists_are_not() {
        let many = MAX_OPERATORS + 1;
        for link in [
            " + a",
            " AND a",
            " OR a = b",
            " || 'x'",
            "::TEXT",
            " -> 'a'",
            "[1]",
            ".a",
            " IS NULL",
            " UNION ALL SELECT a",
            " JOIN u ON a = b",
            "[]",
            " + CASE WHEN a THEN b END",
            " + f(a, b)",
            " AND f(a, b) = (SELECT 1)",
        ] {
            assert!(is_too_long(&format!("SELECT a{} FROM t", link.repeat(many))), "{link}");
            assert!(!is_too_long(&format!("SELECT a{} FROM t", link.repeat(200))), "{link}");
        }
        for opened in ["- ", "NOT ", "STRUCT<a ", "(1 + ", "f(", "CASE WHEN a THEN b ELSE 1 + "] {
            assert!(is_too_long(&format!("SELECT {}a", opened.repeat(many))), "{opened}");
        }
        for item in [", a + b", ", CASE WHEN a = 1 THEN 'x' ELSE b END AS c", ", f(a, b) AND c"] {
            assert!(!is_too_long(&format!("SELECT a{} FROM t", item.repeat(20_000))), "{item}");
        }
        assert!(!is_too_long(&format!("SELECT CASE {} END", "WHEN a = 1 AND b = 2 THEN c + 1 ".repeat(20_000))));
        assert!(!is_too_long(&format!("INSERT INTO t VALUES (1, 'a'){}", ", (1 + 2, - 3)".repeat(20_000))));
        assert!(!is_too_long(&") END ".repeat(20)), "what closes nothing is for the parser to tell");
    }
}
