//! The names of all environment variables that the functions in `udfs/` read.

/// The names, sorted.
pub const VARIABLES: &[&str] = &[
    "BATON_HTTP_CA_FILE",
    "BATON_HTTP_CONCURRENCY",
    "BATON_HTTP_DEADLINE",
    "BATON_HTTP_RETRIES",
    "BATON_HTTP_TIMEOUT",
    "BATON_LLM_API_KEY",
    "BATON_LLM_API_KEY_FILE",
    "BATON_LLM_BASE_URL",
    "BATON_LLM_BREAKER",
    "BATON_LLM_BUDGET_COST",
    "BATON_LLM_BUDGET_COST_PER_DAY",
    "BATON_LLM_BUDGET_TOKENS",
    "BATON_LLM_BUDGET_TOKENS_PER_DAY",
    "BATON_LLM_CA_FILE",
    "BATON_LLM_CONCURRENCY",
    "BATON_LLM_DEADLINE",
    "BATON_LLM_DECISION_LOG",
    "BATON_LLM_DECISION_LOG_AGE",
    "BATON_LLM_DECISION_LOG_SIZE",
    "BATON_LLM_EFFORT",
    "BATON_LLM_HEADERS",
    "BATON_LLM_MAX_TOKENS",
    "BATON_LLM_MODEL",
    "BATON_LLM_PRICES",
    "BATON_LLM_PROVIDER",
    "BATON_LLM_REQUESTS_PER_MINUTE",
    "BATON_LLM_RETRIES",
    "BATON_LLM_STATE_DIR",
    "BATON_LLM_TEMPERATURE",
    "BATON_LLM_TIMEOUT",
    "BATON_LLM_TOKENS_PER_MINUTE",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_variable_that_the_source_names_is_in_the_list() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut named = BTreeSet::new();
        for folder in ["src", "../llm/src", "../llm/src/provider"] {
            for entry in fs::read_dir(root.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() || path.ends_with("variables.rs") {
                    continue;
                }
                let text = fs::read_to_string(path).unwrap();
                let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let wanted = words
                    .filter(|w| ["BATON_LLM_", "BATON_HTTP_"].iter().any(|p| w.starts_with(p) && w.len() > p.len()));
                named.extend(wanted.map(str::to_owned));
            }
        }
        let listed: BTreeSet<String> = VARIABLES.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(named, listed);
        assert!(VARIABLES.is_sorted());
    }
}
