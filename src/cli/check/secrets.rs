//! Finds secrets in SQL. A finding shows a secret's place, never its line.

use std::path::Path;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::tokenizer::Token;
use regex::Regex;

use crate::diag::{Code, Diagnostic, SourceText, Span};
use crate::sql::statement::{parse_each, tokens};

/// The forms that secrets usually have.
static FORMS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let forms = [
        // Settings of librdkafka.
        r"(?i)\b(?:sasl\.password|ssl\.key\.password|ssl\.keystore\.password|client\.secret)\s*=\s*([^,]+)",
        // Headers and fields of JSON.
        r#"(?i)"[\w-]*(?:authorization|api[-_]?key|secret|password|token)"\s*:\s*"([^"]{8,})""#,
        // Keys of well-known services.
        r"\b((?:sk|pk|rk)-[A-Za-z0-9_-]{16,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{20,}|xox[bap]-[A-Za-z0-9-]{10,})",
        r"(-----BEGIN [A-Z ]*PRIVATE KEY)",
        // A password in a URL, or a long name, which is one; and what its query gives.
        r"[a-z][a-z0-9+.-]*://[^/\s:@]*:([^/\s@]+)@",
        r"[a-z][a-z0-9+.-]*://([^/\s:@]{16,})@",
        r"(?i)[?&](?:[\w.-]*(?:key|token|secret|password|passwd|signature)|sig|auth)=([^&#\s]{6,})",
    ];
    forms.iter().filter_map(|form| Regex::new(form).ok()).collect()
});

/// The secrets in the files of a folder.
pub fn in_folder(folder: &Path) -> Vec<Diagnostic> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "sql")).collect();
    paths.sort();
    paths.iter().flat_map(|path| in_file(path)).collect()
}

/// Keeps all other findings from showing a line that contains a secret.
pub fn hide(findings: &mut [Diagnostic]) {
    let lines = |span: &Span| {
        let span = span.written();
        let line = |offset| span.source.line_column(offset).0;
        (span.source.name.clone(), line(span.range.start)..=line(span.range.end))
    };
    let secret = findings.iter().filter(|finding| finding.code == Code::SECRET_IN_SQL);
    let secret: Vec<_> = secret.filter_map(|finding| finding.span.as_ref()).map(lines).collect();
    for finding in findings {
        let Some((name, shown)) = finding.span.as_ref().map(lines) else { continue };
        let is_there = |(file, hidden): &(String, std::ops::RangeInclusive<usize>)| {
            *file == name && hidden.start() <= shown.end() && shown.start() <= hidden.end()
        };
        finding.is_secret |= secret.iter().any(is_there);
    }
}

/// The secrets in a file.
pub fn in_file(path: &Path) -> Vec<Diagnostic> {
    SourceText::read(path).map_or_else(|_| Vec::new(), |source| in_text(&source))
}

fn in_text(source: &std::sync::Arc<SourceText>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for statement in parse_each(source).into_iter().flatten().flatten() {
        let tokens = tokens(&statement.span);
        for (i, (token, range)) in tokens.iter().enumerate() {
            let Token::SingleQuotedString(text) = token else { continue };
            let is_password = i >= 2 && tokens[i - 1].0 == Token::Eq && is_password(&tokens[i - 2].0);
            if (is_password && is_literal(text)) || FORMS.iter().any(|form| holds(form, text)) {
                let message = "a secret stands in SQL, where everybody reads it";
                let at = Span::new(source, range.clone());
                let help = "take it from the environment: write `${NAME}` in its place";
                found.push(Diagnostic::warning(Code::SECRET_IN_SQL, message).at(at).help(help).secret());
            }
        }
    }
    found
}

/// The key of an option whose value is a secret.
fn is_password(key: &Token) -> bool {
    let name = match key {
        Token::SingleQuotedString(name) => name,
        Token::Word(word) => &word.value,
        _ => return false,
    };
    let name = name.to_lowercase();
    name.ends_with("password") || name.ends_with("secret") || name.ends_with("token")
}

fn holds(form: &Regex, text: &str) -> bool {
    form.captures_iter(text).any(|found| found.get(1).is_some_and(|secret| is_literal(secret.as_str())))
}

/// Whether a value is written out rather than taken from the environment.
fn is_literal(value: &str) -> bool {
    !value.trim().is_empty() && !value.contains("${")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_and_what_the_environment_gives_is_none() {
        let found = |option: &str| {
            let text = format!("CREATE TABLE t (a TEXT) WITH ({option})");
            in_text(&SourceText::new("t.sql", text)).len()
        };
        for secret in [
            "'auth.password' = 'hunter2'",
            "client_configs = 'a=b,sasl.password=hunter2'",
            r#"options = '{"headers": {"Authorization": "Bearer abcdefgh"}}'"#,
            r#"options = '{"headers": {"x-api-key": "12345678"}}'"#,
            "comment = 'my key is sk-abcdefghijklmnopqrst'",
            "url = 'https://user:secret@host/'",
            "url = 'https://0123456789abcdef@host/'",
            "url = 'https://host/x?api_key=sk-abc&a=b'",
            "url = 'https://host/x?a=b&X-Amz-Signature=0123456789'",
        ] {
            assert_eq!(found(secret), 1, "{secret}");
        }
        for other in [
            "'auth.password' = '${KAFKA_PASSWORD}'",
            "client_configs = 'sasl.username=${USER},sasl.password=${PASSWORD:-}'",
            r#"options = '{"headers": {"Authorization": "Bearer ${TOKEN}"}}'"#,
            r#"options = '{"max_tokens": 4000}'"#,
            "topic = 'tokens', url = 'http://localhost:8080/a@b'",
            "url = 'https://user:${PASSWORD}@host/x?api_key=${API_KEY}&max_tokens=100&page=12345678'",
            "url = 'https://reader@host/x?key=id'",
        ] {
            assert_eq!(found(other), 0, "{other}");
        }
    }
}
