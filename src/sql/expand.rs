//! Expands `CREATE AGENT` to plain SQL: a row of the table `agents`, an inbox to read, and a pipeline if a model or a
//! service does the agent's work.
//!
//! The result is text, parsed like an author's, so it is planned, drawn and rendered like all other SQL. Each text
//! keeps the statement that it comes from, and errors point to that statement.

use std::fmt::Write as _;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;

use super::agent::{AgentDef, Work};
use super::as_identifier;
use super::table::{AGENT_TOPICS, ColumnDef, TableDef};
use crate::diag::SourceText;

/// The table that has a row for each agent.
pub(super) const AGENTS: &str = "agents";
/// The table to which the router writes. The agents' topics have its options.
pub(super) const TOPICS: &str = "agent_topics";
/// The table to which agents write their answers.
pub(super) const MESSAGES: &str = "agent_messages";
/// The table for messages that an agent cannot process, and for failed calls.
pub(super) const DEAD_LETTERS: &str = "dead_letters";

/// The longest answer of a service, in bytes: its message, with the fields of the one before, has room in a topic that
/// Baton created.
const LONGEST_ANSWER: usize = 2_000_000;

/// The option under whose value a budget is counted.
const BUDGET_NAME: &str = "budget_name";

/// The answer of the offline method.
const NO_MODEL: &str = "No model was asked.";

/// The table `agents`.
pub(super) fn agents(agents: &[AgentDef]) -> Option<Arc<SourceText>> {
    let origin = agents.first()?.statement.clone();
    let mut text = format!(
        "CREATE TABLE {AGENTS} (name TEXT, topic TEXT, description TEXT, input TEXT, output TEXT, examples TEXT[]);\n\n\
         INSERT INTO {AGENTS} VALUES"
    );
    for (i, agent) in agents.iter().enumerate() {
        let examples: Vec<String> = agent.examples.iter().map(|example| quoted(example)).collect();
        let examples = match examples.as_slice() {
            [] => "CAST(NULL AS TEXT[])".to_string(),
            examples => format!("make_array({})", examples.join(", ")),
        };
        // The message of a prompt agent begins with its reply.
        let output = match &agent.work {
            Work::Prompt { reply, .. } => format!("{} {reply}", agent.output),
            Work::Elsewhere | Work::Url { .. } => agent.output.clone(),
        };
        let texts = [&agent.name, &agent.topic, &agent.description, &agent.input, &output].map(|t| quoted(t));
        let comma = if i == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}\n  ({}, {examples})", texts.join(", "));
    }
    Some(SourceText::expanded("agents", text, origin))
}

/// An agent's inbox as a pipeline reads it: its topic, its opened messages, and those of them that it can process.
pub(super) fn inbox(agent: &AgentDef, pipeline: &str, topics: &TableDef) -> Arc<SourceText> {
    let options: Vec<String> = topics.options.iter().filter(|o| is_of_a_topic(&o.key)).map(option).collect();
    let (own, inbox) = (Names::of(&agent.ident).written(), as_identifier(&agent.ident));
    let options = options.join(",\n  ");
    let name = serde_json::json!({ "agent": agent.name }).to_string();
    let text = format!(
        "CREATE TABLE {topic} (
  value BYTEA,
  topic TEXT METADATA FROM 'topic',
  partition INT METADATA FROM 'partition',
  offset_id BIGINT METADATA FROM 'offset_id',
  published_ms BIGINT METADATA FROM 'timestamp'
) WITH (
  {options},
  topic = {topic_name},
  format = 'raw_bytes',
  'source.group_id' = {group}
);

CREATE VIEW {opened} AS
SELECT open_message(value, topic, partition, offset_id, published_ms, {name}) AS opened, *
FROM {topic};

CREATE VIEW {inbox} AS
SELECT
  opened->>'message_id' AS message_id,
  opened->>'workflow_id' AS workflow_id,
  opened->>'parent_id' AS parent_id,
  CAST(opened->>'hop' AS BIGINT) AS hop,
  opened->>'sender' AS sender,
  opened->>'created_at' AS created_at,
  json_get_str(opened, 'message', 'context') AS context,
  json_get_json(opened, 'message', 'lead_data') AS lead_data,
  concat(
    json_get_str(opened, 'message', 'context'),
    chr(10) || chr(10) || 'Data: ' || nullif(json_get_json(opened, 'message', 'lead_data'), 'null')
  ) AS input,
  json_get_json(opened, 'message') AS message,
  opened->>'received_at' AS received_at,
  opened, value, topic, partition, offset_id, published_ms
FROM {opened}
WHERE opened->>'refusal' IS NULL",
        topic = own.topic,
        opened = own.opened,
        topic_name = quoted(&agent.topic),
        group = quoted(pipeline),
        name = quoted(&name),
    );
    SourceText::expanded(format!("the inbox of agent {}", agent.ident), text, agent.statement.clone())
}

/// The INSERT for messages that the agent cannot process, in a pipeline that reads its inbox.
pub(super) fn refusals(agent: &AgentDef, pipeline: &str, dead_letters: &TableDef) -> Arc<SourceText> {
    let columns = Letter {
        pipeline,
        workflow_id: "opened->>'workflow_id'",
        message_id: "opened->>'message_id'",
        status: "opened->>'refusal_status'",
        error: "opened->>'refusal'",
        created_at: "opened->>'received_at'",
    };
    let text = format!(
        "{}\nFROM {}\nWHERE opened->>'refusal' IS NOT NULL",
        columns.insert(dead_letters),
        Names::of(&agent.ident).written().opened
    );
    SourceText::expanded(format!("the refusals of agent {}", agent.ident), text, agent.statement.clone())
}

/// The pipeline of an agent whose work a model or a service does; `None` for the others.
pub(super) fn work(agent: &AgentDef, pipeline: &str, dead_letters: &TableDef) -> Option<Arc<SourceText>> {
    let Parts { call, context, fields, failed, error } = match &agent.work {
        Work::Elsewhere => return None,
        Work::Prompt { prompt, reply, options, has_schema } => {
            let prompt = quoted(prompt);
            let said =
                format!("CASE WHEN answer->>'source' = 'offline' THEN {} ELSE answer->>'text' END", quoted(NO_MODEL));
            let object =
                "CASE WHEN answer->>'source' <> 'offline' THEN concat('{\"answer\": ', answer->>'text', '}') END";
            let options = quoted(&with_budget_name(options, &agent.name));
            Parts {
                call: format!("llm_complete({prompt}, input, {}, {options})", quoted(NO_MODEL)),
                context: format!("concat({}, {said})", quoted(&format!("{reply} "))),
                fields: if *has_schema { object.into() } else { "NULL".into() },
                // The offline answer does not follow the schema.
                failed:
                    "coalesce(answer->>'status', 'failed') <> 'ok' AND coalesce(answer->>'source', '') <> 'offline'"
                        .into(),
                error: "coalesce(answer->>'error', 'llm_complete ended without a result')".into(),
            }
        }
        Work::Url { url, options } => {
            let key = quoted(&format!("{}\"idempotency_key\": \"", open_object(options)));
            Parts {
                call: format!(
                    "http_call({}, message, concat({key}, encode(sha256(message_id), 'hex'), '\"}}'))",
                    quoted(url)
                ),
                context: "json_get_str(json_get_str(answer, 'body'), 'context')".into(),
                fields: "json_get_str(answer, 'body')".into(),
                failed: format!(
                    "coalesce(answer->>'status', 'failed') <> 'ok' \
                     OR coalesce(btrim(json_get_str(json_get_str(answer, 'body'), 'context')), '') = '' \
                     OR octet_length(json_get_str(answer, 'body')) > {LONGEST_ANSWER}"
                ),
                error: format!(
                    "CASE WHEN answer->>'status' <> 'ok' THEN coalesce(answer->>'error', 'http_call ended without a result') \
                     WHEN octet_length(json_get_str(answer, 'body')) > {LONGEST_ANSWER} \
                     THEN 'the service answered with more than {LONGEST_ANSWER} bytes' \
                     ELSE 'the service answered without a `context`' END"
                ),
            }
        }
    };
    let (own, inbox) = (Names::of(&agent.ident).written(), as_identifier(&agent.ident));
    let letters = Letter {
        pipeline,
        workflow_id: "workflow_id",
        message_id: "message_id",
        status: "CASE WHEN answer->>'status' = 'ok' THEN 'invalid' ELSE coalesce(answer->>'status', 'failed') END",
        error: &error,
        created_at: "received_at",
    };
    let answer = if matches!(agent.work, Work::Url { .. }) { "NULL" } else { "answer" };
    let text = format!(
        "CREATE VIEW {answers} AS
SELECT
  {call} AS answer,
  *
FROM {inbox};

INSERT INTO {MESSAGES} (workflow_id, value)
SELECT workflow_id, reply(opened, {context}, {answer}, {fields})
FROM {answers}
WHERE NOT ({failed});

{letters}
FROM {answers}
WHERE {failed}",
        answers = own.answers,
        letters = letters.insert(dead_letters),
    );
    Some(SourceText::expanded(format!("agent {}", agent.ident), text, agent.statement.clone()))
}

struct Parts {
    call: String,
    context: String,
    fields: String,
    failed: String,
    error: String,
}

/// The names made for an agent in addition to its inbox.
pub(super) struct Names {
    /// The table over its topic.
    pub topic: String,
    /// The view of its messages, opened.
    pub opened: String,
    /// The view that calls the model or the service.
    pub answers: String,
}

/// All tables and views that CREATE AGENT defines for an identifier.
pub fn names_of(ident: &str) -> [String; 4] {
    let Names { topic, opened, answers } = Names::of(ident);
    [ident.to_string(), topic, opened, answers]
}

impl Names {
    /// The names of an agent, by its identifier.
    pub fn of(ident: &str) -> Self {
        let name = |what: &str| format!("{ident}_{what}");
        Self { topic: name("topic"), opened: name("opened"), answers: name("answers") }
    }

    /// The same names, quoted if queries need it.
    fn written(&self) -> Self {
        let [topic, opened, answers] = [&self.topic, &self.opened, &self.answers].map(|name| as_identifier(name));
        Self { topic, opened, answers }
    }
}

/// The values of a dead letter, as SQL over rows that have the columns of a topic.
struct Letter<'a> {
    pipeline: &'a str,
    workflow_id: &'a str,
    message_id: &'a str,
    status: &'a str,
    error: &'a str,
    created_at: &'a str,
}

impl Letter<'_> {
    /// `INSERT INTO dead_letters (…) SELECT …`, limited to columns that the table has.
    fn insert(&self, target: &TableDef) -> String {
        let values =
            target.columns.iter().filter_map(|column| Some((as_identifier(&column.name), self.value(column)?)));
        let (columns, values): (Vec<String>, Vec<String>) = values.unzip();
        format!(
            "INSERT INTO {} ({})\nSELECT\n  {}",
            as_identifier(&target.name),
            columns.join(", "),
            values.join(",\n  ")
        )
    }

    fn value(&self, column: &ColumnDef) -> Option<String> {
        let is_time = matches!(column.data_type, DataType::Timestamp(..));
        Some(match column.name.as_str() {
            "workflow_id" => self.workflow_id.into(),
            "message_id" => self.message_id.into(),
            "pipeline" => quoted(self.pipeline),
            "topic" | "partition" | "offset_id" => column.name.clone(),
            "timestamp" if is_time => "to_timestamp_millis(published_ms)".into(),
            "timestamp" => "published_ms".into(),
            "payload" if column.data_type == DataType::Binary => "value".into(),
            // `encode` omits the padding, which other decoders need.
            "payload" => "rpad(encode(value, 'base64'), (octet_length(value) + 2) / 3 * 4, '=')".into(),
            "status" => self.status.into(),
            "error" => self.error.into(),
            "created_at" if is_time => format!("CAST({} AS TIMESTAMP)", self.created_at),
            "created_at" => self.created_at.into(),
            _ => return None,
        })
    }
}

/// Whether an option of `agent_topics` applies to an agent's topic when it is read.
fn is_of_a_topic(key: &str) -> bool {
    !key.starts_with("sink.") && !matches!(key, AGENT_TOPICS | "topic" | "type" | "format" | "source.group_id")
}

fn option(entry: &super::table::OptionEntry) -> String {
    let value = if entry.quoted { quoted(&entry.value) } else { entry.value.clone() };
    if entry.key.contains('.') { format!("'{}' = {value}", entry.key) } else { format!("{} = {value}", entry.key) }
}

/// The options of a model's call. A budget in them is counted under the agent's name, unless they give another one.
/// Without a budget the text stays as written, so that an error found later can point to its place.
fn with_budget_name(options: &str, agent: &str) -> String {
    let Ok(serde_json::Value::Object(given)) = serde_json::from_str(options) else { return options.to_string() };
    let is_budget = |key: &String| key.starts_with("budget_");
    if !given.keys().any(is_budget) || given.contains_key(BUDGET_NAME) {
        return options.to_string();
    }
    format!("{}\"{BUDGET_NAME}\": {}}}", open_object(options), serde_json::Value::from(agent))
}

/// A JSON object without its end, so that a field can follow.
fn open_object(object: &str) -> String {
    let head = object.trim_end();
    let head = head.strip_suffix('}').unwrap_or(head).trim_end();
    let comma = if head.ends_with('{') { "" } else { ", " };
    format!("{head}{comma}")
}

/// A text as an SQL literal.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::with_budget_name;

    #[test]
    fn a_budget_is_counted_under_the_agents_name() {
        for (given, expected) in [
            (r#"{"budget_cost_per_day": 5 }"#, r#"{"budget_cost_per_day": 5, "budget_name": "The \"A\""}"#),
            (r#"{"budget_tokens": 5, "budget_name": "both"}"#, r#"{"budget_tokens": 5, "budget_name": "both"}"#),
            (r#"{ "temperature": 0 }"#, r#"{ "temperature": 0 }"#),
            ("{}", "{}"),
            ("no JSON", "no JSON"),
        ] {
            assert_eq!(with_budget_name(given, "The \"A\""), expected);
        }
    }
}
