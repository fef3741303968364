//! The LLM functions through the whole engine: `baton` as a process, on files, with a model that is played. What a single
//! call does about each fault is tested with the library.

mod crashes;
mod examples;
mod faults;
mod http;
mod limits;
mod outages;
mod refused;
mod secrets;
mod slow;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::{Running, root};
use crate::played::{Call, Model, Reply, names};

/// How long a machine that is busy with other things may take for what is called a few seconds elsewhere.
const LONG: Duration = Duration::from_mins(5);

/// The first run compiles the UDF.
const COMPILING: Duration = Duration::from_mins(15);

const AGENTS: [&str; 3] = ["Billing", "Support", "Sales"];

/// Every row is asked about, and what came of it is taken apart.
const PIPELINE: &str = r#"
CREATE TABLE asked (id TEXT, text TEXT)
WITH (connector = 'single_file', path = 'asked.json', format = 'json', type = 'source');
CREATE TABLE answered (
  id TEXT, agent TEXT, status TEXT, error TEXT, attempts BIGINT, source TEXT, model TEXT, decision TEXT
) WITH (connector = 'single_file', path = 'answered.json', format = 'json', type = 'sink');
CREATE TABLE failed (
  id TEXT, agent TEXT, status TEXT, error TEXT, attempts BIGINT, source TEXT, model TEXT, decision TEXT
) WITH (connector = 'single_file', path = 'failed.json', format = 'json', type = 'sink');

CREATE VIEW decisions AS
SELECT
  llm_classify(
    text,
    '[{"name": "Billing", "input": "an invoice"}, {"name": "Support", "input": "a fault"}, {"name": "Sales"}]',
    '{}'
  ) AS decision,
  id
FROM asked;

CREATE VIEW decided AS
SELECT
  id,
  json_get_str(decision, 'agent') AS agent,
  json_get_str(decision, 'status') AS status,
  json_get_str(decision, 'error') AS error,
  json_get_int(decision, 'attempts') AS attempts,
  json_get_str(decision, 'source') AS source,
  json_get_str(decision, 'model') AS model,
  decision
FROM decisions;

INSERT INTO answered SELECT id, agent, status, error, attempts, source, model, decision FROM decided WHERE status = 'ok';
INSERT INTO failed
SELECT id, agent, status, error, attempts, source, model, decision FROM decided WHERE status <> 'ok' OR status IS NULL;
"#;

/// A folder with the pipeline, and with the rows that it reads.
struct Project {
    folder: TempDir,
}

/// A row of `answered` or `failed`.
#[derive(Debug, Clone)]
struct Decision(Value);

impl Decision {
    /// A text column; `-` when it is NULL.
    fn text(&self, column: &str) -> &str {
        self.0[column].as_str().unwrap_or("-")
    }

    fn attempts(&self) -> usize {
        self.0["attempts"].as_u64().map_or(0, |attempts| usize::try_from(attempts).expect("a few"))
    }
}

impl Project {
    /// So many rows.
    fn with_rows(rows: usize) -> Self {
        Self::with_texts((0..rows).map(text))
    }

    fn with_texts(texts: impl IntoIterator<Item = String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ask.sql"), PIPELINE).expect("a file");
        let line = |(id, text): (usize, String)| format!("{}\n", json!({ "id": id.to_string(), "text": text }));
        let lines: Vec<String> = texts.into_iter().enumerate().map(line).collect();
        fs::write(folder.path().join("asked.json"), lines.concat()).expect("a file");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// `baton run` on the rows, with this model and these settings.
    fn run(&self, model: &Model, settings: &[(&str, &str)]) -> Running {
        self.start(&["run", "ask.sql", "--ready-file", "ready"], model, settings)
    }

    fn start(&self, arguments: &[&str], model: &Model, settings: &[(&str, &str)]) -> Running {
        static BUILT: Once = Once::new();
        let udfs = root().join("udfs");
        let udfs = udfs.to_str().expect("a path in UTF-8");
        BUILT.call_once(|| {
            let building = Running::start(self.path(), &["build", "llm_classify", "--udfs", udfs], &[]);
            building.wait(COMPILING).expect_code(0);
        });
        let url = model.url();
        let mut all = vec![("BATON_LLM_BASE_URL", url.as_str()), ("BATON_LLM_MODEL", "stub")];
        all.retain(|(name, _)| !settings.iter().any(|(set, _)| set == name));
        all.extend(settings);
        Running::start(self.path(), &[arguments, &["--udfs", udfs]].concat(), &all)
    }

    /// The whole lines of a file that is written.
    fn rows(&self, name: &str) -> Vec<Decision> {
        let text = self.read(name);
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| Decision(serde_json::from_str(line).expect("a row in JSON"))).collect()
    }

    /// What became of every row so far; fails when a row is there twice.
    #[track_caller]
    fn decisions(&self) -> BTreeMap<usize, Decision> {
        let mut all = BTreeMap::new();
        for decision in self.rows("answered.json").into_iter().chain(self.rows("failed.json")) {
            let id = decision.text("id").parse().expect("a number");
            let before = all.insert(id, decision.clone());
            assert!(before.is_none(), "twice: {before:?} {decision:?}");
        }
        all
    }

    fn ready(&self) -> String {
        self.read("ready").trim_end().to_owned()
    }
}

/// What row `id` says.
fn text(id: usize) -> String {
    format!(
        "[{id:05}] Dear team, since this morning the report that you made for us shows no figures for the last quarter, and \
         the invoice of {} is not among those that I can see. Please have a look at it, or tell me who does.",
        id * 7
    )
}

/// A number that is the same for the same things.
fn number(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// A number below `below` that is the same for the same things.
fn drawn(of: impl Hash, below: usize) -> usize {
    usize::try_from(number(of) % below as u64).expect("it is below a usize")
}

/// The agent that the model names for a text.
fn agent(text: &str) -> &'static str {
    AGENTS[drawn(text, AGENTS.len())]
}

/// A model without faults.
fn good(call: &Call) -> Reply {
    names(agent(&call.text))
}
