//! `baton plan`: what it draws of small pipelines, of agents and of the reference system, in each format.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::binary::{root, run};

const TABLES: &str = "
CREATE TABLE orders (id BIGINT, name TEXT) WITH (connector = 'kafka', bootstrap_servers = 'k:9092', topic = 'orders', format = 'json', 'source.offset' = 'earliest');
CREATE TABLE returned (id BIGINT, name TEXT) WITH (connector = 'kafka', bootstrap_servers = 'k:9092', topic = 'shop.returns', format = 'json', 'source.offset' = 'earliest');
CREATE TABLE results (id BIGINT, name TEXT) WITH (connector = 'kafka', bootstrap_servers = 'k:9092', topic = 'results', format = 'json');
CREATE TABLE others (id BIGINT, name TEXT) WITH (connector = 'single_file', path = 'others.json', format = 'json');
";

/// Tables that agents need, and a pipeline that writes to their topics.
const AGENT_TABLES: &str = "
CREATE TABLE agent_messages (
  value BYTEA, workflow_id TEXT, topic TEXT METADATA FROM 'topic', partition INT METADATA FROM 'partition',
  offset_id BIGINT METADATA FROM 'offset_id', published_ms BIGINT METADATA FROM 'timestamp'
) WITH (
  connector = 'kafka', bootstrap_servers = 'k:9092', topic = 'agent_messages', format = 'raw_bytes',
  'source.offset' = 'earliest', 'sink.key_field' = 'workflow_id'
);
CREATE TABLE agent_topics (topic TEXT METADATA FROM 'topic', workflow_id TEXT, value BYTEA) WITH (
  connector = 'kafka', bootstrap_servers = 'k:9092', 'baton.topics' = 'agents', format = 'raw_bytes',
  'source.offset' = 'earliest', 'sink.key_field' = 'workflow_id'
);
CREATE TABLE dead_letters (
  workflow_id TEXT, message_id TEXT, pipeline TEXT, topic TEXT, partition INT, offset_id BIGINT, timestamp BIGINT,
  payload BYTEA, status TEXT, error TEXT, created_at TEXT
) WITH (connector = 'kafka', bootstrap_servers = 'k:9092', topic = 'dead_letters', format = 'json');
CREATE AGENT translate WITH (
  name = 'Translation Agent', description = 'Translates.', input = 'A text.', output = 'Its translation.',
  prompt = 'Translate into English.', reply = 'A translation.'
);
CREATE AGENT look_up WITH (
  name = 'Look-up Agent', description = 'Looks up a company.', input = 'A company.', output = 'What is known of it.',
  topic = 'companies', url = 'http://localhost:1/look-up'
);
CREATE AGENT legal_review WITH (
  name = 'Legal Review Agent', description = 'Reads contracts.', input = 'A contract.', output = 'A review.'
);
";

const ROUTER: &str = "
CREATE VIEW asked AS SELECT llm_classify(TRY_CAST(value AS TEXT), '[{\"name\": \"Translation Agent\"}]', '{}') AS decision, * FROM agent_messages;
INSERT INTO agent_topics (topic, workflow_id, value) SELECT decision->>'agent', TRY_CAST(value AS TEXT)->>'workflow_id', value FROM asked WHERE decision->>'status' = 'ok';
";

fn plan(folder: &Path, arguments: &[&str]) -> String {
    run(folder, &[&["plan"], arguments].concat(), &[]).expect_code(0).stdout
}

/// A folder with one pipeline, `job.sql`.
fn job(sql: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("job.sql"), format!("{TABLES}{sql}")).expect("a file");
    folder
}

fn project_of_agents() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [("sql/agents.sql", AGENT_TABLES), ("pipelines/route.sql", ROUTER)] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    folder
}

#[test]
fn views_disappear_and_their_conditions_stay() {
    let folder = job("
        CREATE VIEW kept AS SELECT * FROM orders WHERE id > 0; -- one reader: its condition goes to the sink
        CREATE VIEW named AS SELECT id, upper(name) AS name FROM kept;
        INSERT INTO results SELECT * FROM named WHERE name = 'A' /* or */ OR
            name = 'B';
    ");
    insta::assert_snapshot!(plan(folder.path(), &["job.sql"]), @"
    job
    └─ orders (topic)
       └→ results, where id > 0 AND (name = 'A' OR name = 'B')
    ");
}

#[test]
fn a_view_with_a_condition_and_two_readers_is_drawn() {
    let folder = job("
        CREATE VIEW kept AS SELECT * FROM orders WHERE id > 0;
        CREATE VIEW named AS SELECT id, upper(name) AS name FROM kept;
        INSERT INTO results SELECT * FROM named WHERE name = 'A';
        INSERT INTO others SELECT * FROM named WHERE name <> 'A';
    ");
    insta::assert_snapshot!(plan(folder.path(), &["job.sql"]), @"
    job
    └─ orders (topic)
       └─ named, where id > 0
          ├→ results, where name = 'A'
          └→ others (file others.json), where name <> 'A'
    ");
}

#[test]
fn unions_subqueries_and_with_are_seen_through() {
    let folder = job("
        INSERT INTO results
        WITH small AS (SELECT * FROM orders WHERE id < 10), orders AS (SELECT * FROM returned WHERE name IS NOT NULL)
        SELECT * FROM small WHERE name <> ''
        UNION ALL
        SELECT id, name FROM (SELECT * FROM orders WHERE id = 7 OR id = 8) AS some WHERE name = 'x'
        UNION ALL
        SELECT * FROM returned;
    ");
    insta::assert_snapshot!(plan(folder.path(), &["job.sql"]), @"
    job
    ├─ orders (topic)
    │  └→ results, where id < 10 AND name <> ''
    └─ returned (topic shop.returns)
       ├→ results, where name IS NOT NULL AND (id = 7 OR id = 8) AND name = 'x'
       └→ results
    ");
}

/// Two sources that meet in a table in memory, which two others read; calls in a view, in a subquery and in an INSERT.
const MEETING: &str = "
    CREATE TABLE all_orders (id BIGINT, name TEXT);
    INSERT INTO all_orders SELECT * FROM orders WHERE id > 0 UNION ALL SELECT * FROM returned WHERE name IS NOT NULL;
    CREATE VIEW asked AS SELECT id, llm_complete('Who?', name, '', '{}') AS name FROM all_orders WHERE id < 100;
    INSERT INTO results SELECT * FROM asked WHERE name->>'status' = 'ok';
    INSERT INTO results SELECT id, name FROM (SELECT id, http_call('http://h', name, '{}') AS name FROM all_orders) AS a WHERE name <> '';
    INSERT INTO others SELECT id, llm_complete('What?', name, '', '{}') FROM asked WHERE id = 5;
";

#[test]
fn what_two_sources_lead_to_is_drawn_once() {
    let folder = job(MEETING);
    insta::assert_snapshot!(plan(folder.path(), &["job.sql"]), @"
    job
    ├─ orders (topic)
    │  └─ all_orders, where id > 0
    │     ├─ asked: asks llm_complete, where id < 100
    │     │  ├→ results, where name->>'status' = 'ok'
    │     │  └─ asks llm_complete, where id = 5
    │     │     └→ others (file others.json)
    │     └─ calls http_call
    │        └→ results, where name <> ''
    └─ returned (topic shop.returns)
       └─ all_orders, where name IS NOT NULL (see above)
    ");
    insta::assert_snapshot!(plan(folder.path(), &["job.sql", "--format", "mermaid"]), @r#"
    flowchart LR
      n0[("orders (topic)")]
      n1[("returned (topic shop.returns)")]
      n2["all_orders"]
      n3{{"asked: asks llm_complete"}}
      n4[("results")]
      n5{{"calls http_call"}}
      n6[("results")]
      n7{{"asks llm_complete"}}
      n8[("others (file others.json)")]
      n0 -->|"id #gt; 0"| n2
      n1 -->|"name IS NOT NULL"| n2
      n2 -->|"id #lt; 100"| n3
      n2 --> n5
      n3 -->|"name-#gt;#gt;'status' = 'ok'"| n4
      n3 -->|"id = 5"| n7
      n5 -->|"name #lt;#gt; ''"| n6
      n7 --> n8
    "#);
}

#[test]
fn long_conditions_are_cut_for_people_alone() {
    let many = (0..40).map(|i| format!("id <> {i}")).collect::<Vec<_>>().join(" AND ");
    let folder = job(&format!("INSERT INTO results SELECT * FROM orders WHERE {many};"));
    let text = plan(folder.path(), &["job.sql"]);
    assert!(text.contains("id <> 7") && text.contains('…') && !text.contains("id <> 39"), "{text}");
    let json: Value = serde_json::from_str(&plan(folder.path(), &["job.sql", "--format", "json"])).expect("JSON");
    assert_eq!(json["edges"][0]["where"], many);
}

#[test]
fn json_has_nodes_and_edges() {
    let folder = job("INSERT INTO results SELECT * FROM orders WHERE id > 0;");
    insta::assert_snapshot!(plan(folder.path(), &["job.sql", "--format", "json"]), @r#"
    {
      "pipeline": "job",
      "run_by_hand": false,
      "nodes": [
        {
          "id": 0,
          "kind": "source",
          "table": "orders",
          "place": "topic orders"
        },
        {
          "id": 1,
          "kind": "sink",
          "table": "results",
          "place": "topic results"
        }
      ],
      "edges": [
        {
          "from": 0,
          "to": 1,
          "where": "id > 0"
        }
      ]
    }
    "#);
}

#[test]
fn what_create_agent_makes_is_told_in_an_agents_words() {
    let folder = project_of_agents();
    insta::assert_snapshot!(plan(folder.path(), &["translate"]), @"
    translate
    └─ inbox of Translation Agent (topic translate)
       ├─ asks llm_complete
       │  ├→ agent_messages, when the call succeeds
       │  └→ dead_letters, when the call fails
       └→ dead_letters, when the message cannot be taken
    ");
    insta::assert_snapshot!(plan(folder.path(), &["look_up"]), @"
    look_up
    └─ inbox of Look-up Agent (topic companies)
       ├─ calls http_call
       │  ├→ agent_messages, when the call succeeds
       │  └→ dead_letters, when the call fails
       └→ dead_letters, when the message cannot be taken
    ");
    insta::assert_snapshot!(plan(folder.path(), &["route"]), @"
    route
    └─ agent_messages (topic)
       └─ asked: asks llm_classify
          └→ agent_topics, the topics of 3 agents (translate, companies, legal_review), where decision->>'status' = 'ok'
    ");
}

#[test]
fn the_system_has_its_pipelines_its_topics_and_its_agents() {
    let folder = project_of_agents();
    insta::assert_snapshot!(plan(folder.path(), &[]), @"
    route
    ├─ reads agent_messages
    ├─ asks llm_classify
    └─ writes the topics of 3 agents

    translate, for Translation Agent
    ├─ reads translate
    ├─ asks llm_complete
    └─ writes agent_messages, dead_letters

    look_up, for Look-up Agent
    ├─ reads companies
    ├─ calls http_call
    └─ writes agent_messages, dead_letters

    Agents
      Translation Agent   topic translate     translate
      Look-up Agent       topic companies     look_up
      Legal Review Agent  topic legal_review  a program elsewhere

    For people and programs elsewhere: dead_letters
    ");
    insta::assert_snapshot!(plan(folder.path(), &["--format", "mermaid"]), @r#"
    flowchart LR
      t0[("agent_messages")]
      t1[("translate")]
      t2[("companies")]
      t3[("legal_review")]
      t4[("dead_letters<br>for people and programs elsewhere")]
      p0{{"route<br>asks llm_classify"}}
      p1{{"translate<br>Translation Agent<br>asks llm_complete"}}
      p2{{"look_up<br>Look-up Agent<br>calls http_call"}}
      a2["Legal Review Agent<br>a program elsewhere"]
      p1 --> t0
      p2 --> t0
      t0 --> p0
      p0 --> t1
      t1 --> p1
      p0 --> t2
      t2 --> p2
      p0 --> t3
      t3 --> a2
      p1 --> t4
      p2 --> t4
    "#);
    insta::assert_snapshot!(plan(folder.path(), &["--format", "json"]), @r#"
    {
      "pipelines": [
        {
          "name": "route",
          "run_by_hand": false,
          "reads": [
            "topic agent_messages"
          ],
          "calls": [
            "llm_classify"
          ],
          "writes": [
            "topic translate",
            "topic companies",
            "topic legal_review"
          ],
          "agents": []
        },
        {
          "name": "translate",
          "run_by_hand": false,
          "reads": [
            "topic translate"
          ],
          "calls": [
            "llm_complete"
          ],
          "writes": [
            "topic agent_messages",
            "topic dead_letters"
          ],
          "agents": [
            "Translation Agent"
          ]
        },
        {
          "name": "look_up",
          "run_by_hand": false,
          "reads": [
            "topic companies"
          ],
          "calls": [
            "http_call"
          ],
          "writes": [
            "topic agent_messages",
            "topic dead_letters"
          ],
          "agents": [
            "Look-up Agent"
          ]
        }
      ],
      "places": [
        {
          "place": "topic agent_messages",
          "name": "agent_messages",
          "written_by": [
            "translate",
            "look_up"
          ],
          "read_by": [
            "route"
          ],
          "is_written_elsewhere": false,
          "is_for_people_and_programs_elsewhere": false
        },
        {
          "place": "topic translate",
          "name": "translate",
          "written_by": [
            "route"
          ],
          "read_by": [
            "translate"
          ],
          "is_written_elsewhere": false,
          "is_for_people_and_programs_elsewhere": false
        },
        {
          "place": "topic companies",
          "name": "companies",
          "written_by": [
            "route"
          ],
          "read_by": [
            "look_up"
          ],
          "is_written_elsewhere": false,
          "is_for_people_and_programs_elsewhere": false
        },
        {
          "place": "topic legal_review",
          "name": "legal_review",
          "written_by": [
            "route"
          ],
          "read_by": [],
          "is_written_elsewhere": false,
          "is_for_people_and_programs_elsewhere": false
        },
        {
          "place": "topic dead_letters",
          "name": "dead_letters",
          "written_by": [
            "translate",
            "look_up"
          ],
          "read_by": [],
          "is_written_elsewhere": false,
          "is_for_people_and_programs_elsewhere": true
        }
      ],
      "agents": [
        {
          "name": "Translation Agent",
          "topic": "translate",
          "pipeline": "translate"
        },
        {
          "name": "Look-up Agent",
          "topic": "companies",
          "pipeline": "look_up"
        },
        {
          "name": "Legal Review Agent",
          "topic": "legal_review",
          "pipeline": null
        }
      ]
    }
    "#);
}

#[test]
fn the_reference_system_is_drawn() {
    insta::assert_snapshot!(plan(&root(), &[]), @"
    copy_leads
    ├─ reads incoming-leads.stratusdb.leads (written elsewhere)
    └─ writes agent_messages, dead_letters

    route_messages
    ├─ reads agent_messages
    ├─ asks llm_classify
    └─ writes agent_predictions, unrouted, halted, dead_letters, the topics of 5 agents

    ingest_leads, for Lead Ingestion Agent
    ├─ reads lead_ingestion
    ├─ asks llm_complete
    └─ writes agent_messages, dead_letters

    plan_nurture, for Nurture Campaign Agent
    ├─ reads nurture_campaign
    ├─ asks llm_complete
    └─ writes agent_messages, dead_letters

    score_leads, for Lead Scoring Agent
    ├─ reads lead_scoring
    ├─ asks llm_complete
    └─ writes agent_messages, dead_letters

    send_emails, for Send Email Agent
    ├─ reads send_email
    └─ writes outbox, completed, dead_letters

    write_outreach, for Active Outreach Agent
    ├─ reads active_outreach
    ├─ asks llm_complete
    └─ writes agent_messages, dead_letters

    redrive (run by hand)
    ├─ reads dead_letters
    └─ writes agent_messages, incoming-leads.stratusdb.leads, the topics of 5 agents

    Agents
      Lead Ingestion Agent    topic lead_ingestion    ingest_leads
      Nurture Campaign Agent  topic nurture_campaign  plan_nurture
      Lead Scoring Agent      topic lead_scoring      score_leads
      Send Email Agent        topic send_email        send_emails
      Active Outreach Agent   topic active_outreach   write_outreach

    For people and programs elsewhere: agent_predictions, unrouted, halted, outbox, completed
    ");
    insta::assert_snapshot!(plan(&root(), &["route_messages"]), @"
    route_messages
    └─ agent_messages (topic)
       ├─ decided: asks llm_classify, where refusal IS NULL AND halted IS NULL
       │  ├→ agent_predictions
       │  ├→ agent_topics, the topics of 5 agents (lead_ingestion, nurture_campaign, lead_scoring, send_email, active_outreach), where destination NOT IN ('unrouted', 'dead_letters')
       │  ├→ unrouted, where destination = 'unrouted'
       │  └→ dead_letters, where destination = 'dead_letters'
       ├→ halted, where halted IS NOT NULL
       └→ dead_letters, where refusal IS NOT NULL
    ");
    insta::assert_snapshot!(plan(&root(), &["send_emails"]), @"
    send_emails
    └─ inbox of Send Email Agent (topic send_email)
       ├→ outbox, where broken IS NULL
       ├→ completed, where broken IS NULL
       ├→ dead_letters, where broken IS NOT NULL
       └→ dead_letters, when the message cannot be taken
    ");
}

#[test]
fn mistakes_of_all_pipelines_are_found_at_once() {
    let folder = project_of_agents();
    for (name, column) in [("one", "nme"), ("two", "idd")] {
        let sql = format!("{TABLES}INSERT INTO results SELECT id, {column} FROM orders;");
        fs::write(folder.path().join(format!("pipelines/{name}.sql")), sql).expect("a file");
    }
    let ended = run(folder.path(), &["plan"], &[]).expect_code(78);
    assert!(ended.stderr.contains("`nme`") && ended.stderr.contains("`idd`"), "{}", ended.stderr);
    assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    assert!(run(folder.path(), &["plan", "two"], &[]).expect_code(78).stderr.contains("`idd`"));
    run(folder.path(), &["plan", "route"], &[]).expect_code(0);

    let empty = tempfile::tempdir().expect("a folder");
    assert!(run(empty.path(), &["plan"], &[]).expect_code(78).stderr.contains("no pipelines"));
}

#[test]
fn pictures_are_well_formed_and_show_everything() {
    let (meeting, agents) = (job(MEETING), project_of_agents());
    let escaping = job(
        "INSERT INTO results SELECT * FROM orders WHERE name = '<a href=\"&amp;\">' AND id < 3 AND name <> '短い';",
    );
    let drawn = [
        (meeting.path().to_path_buf(), Some("job.sql")),
        (escaping.path().to_path_buf(), Some("job.sql")),
        (agents.path().to_path_buf(), Some("translate")),
        (agents.path().to_path_buf(), None),
        (root(), Some("route_messages")),
        (root(), Some("copy_leads")),
        (root(), None),
    ];
    for (folder, name) in &drawn {
        let json: Value =
            serde_json::from_str(&plan(folder, &[name.as_slice(), &["--format", "json"]].concat())).expect("JSON");
        for theme in ["auto", "light", "dark"] {
            let svg = plan(folder, &[name.as_slice(), &["--format", "svg", "--theme", theme]].concat());
            let texts = texts_of(&svg);
            assert!(svg.contains("role=\"img\"") && svg.contains("<title") && svg.contains("<desc"), "{svg}");
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert_eq!(svg.contains("prefers-color-scheme"), theme == "auto");
            for shown in shown(&json) {
                assert!(texts.iter().any(|text| text.contains(&shown)), "{name:?} does not show {shown}: {texts:?}");
            }
            inside(&svg);
        }
    }
}

/// What a picture shows of a drawing: its sinks and conditions, or its pipelines, topics and agents.
fn shown(json: &Value) -> BTreeSet<String> {
    let texts = |list: &str, key: &str| -> Vec<String> {
        let items = json[list].as_array().into_iter().flatten();
        items.filter_map(|item| item[key].as_str().map(str::to_string)).collect()
    };
    let all = [
        texts("nodes", "table"),
        texts("nodes", "function"),
        texts("nodes", "agent"),
        texts("edges", "where"),
        texts("edges", "when"),
        texts("pipelines", "name"),
        texts("places", "name"),
        texts("agents", "name"),
    ];
    let all: BTreeSet<String> = all.concat().into_iter().collect();
    assert!(all.len() >= 3, "{json}");
    all
}

/// The texts of an XML document; fails when it is none.
fn texts_of(xml: &str) -> Vec<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut texts = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        assert!(!text.contains('>'), "{text}");
        if !text.trim().is_empty() {
            assert!(!open.is_empty(), "a text outside of all: {text}");
            texts.push(unescaped(text));
        }
        let end = rest.find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "it is closed, but not open");
            continue;
        }
        let is_empty = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut left = attributes.trim();
        let mut seen = BTreeSet::new();
        while !left.is_empty() {
            let (key, value) = left.split_once("=\"").expect("an attribute");
            let (value, after) = value.split_once('"').expect("the end of an attribute");
            assert!(seen.insert(key), "{key} twice in {tag}");
            unescaped(value);
            left = after.trim();
        }
        if !is_empty {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} is not closed");
    texts
}

fn unescaped(text: &str) -> String {
    let mut out = text.to_string();
    for (entity, sign) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\"")] {
        out = out.replace(entity, sign);
    }
    assert!(out.replace("&amp;", "").chars().all(|c| c != '&'), "{text}");
    out.replace("&amp;", "&")
}

/// Nothing stands outside of the picture, and no two boxes stand on each other.
fn inside(svg: &str) {
    let number = |tag: &str, key: &str| -> f64 {
        let (_, value) = tag.split_once(&format!(" {key}=\"")).unwrap_or_else(|| panic!("no {key} in {tag}"));
        value.split('"').next().and_then(|v| v.parse().ok()).unwrap_or_else(|| panic!("no number in {tag}"))
    };
    let head = svg.split('>').next().expect("a tag");
    let (width, height) = (number(head, "width"), number(head, "height"));
    let boxes = svg.split("<rect ").skip(1).filter(|rect| !rect.starts_with("class=\"page\" width"));
    let boxes: Vec<[f64; 4]> =
        boxes.map(|rect| ["x", "y", "width", "height"].map(|key| number(&format!(" {rect}"), key))).collect();
    assert!(boxes.len() >= 2, "{svg}");
    for [x, y, w, h] in &boxes {
        assert!(*x >= 0.0 && *y >= 0.0 && x + w <= width && y + h <= height, "{x} {y} {w} {h} in {width} {height}");
    }
    for (i, a) in boxes.iter().enumerate() {
        for b in &boxes[..i] {
            let apart = |at: usize| a[at] + a[at + 2] <= b[at] + 0.2 || b[at] + b[at + 2] <= a[at] + 0.2;
            let within =
                |a: &[f64; 4], b: &[f64; 4]| (0..2).all(|at| a[at] >= b[at] && a[at] + a[at + 2] <= b[at] + b[at + 2]);
            assert!(apart(0) || apart(1) || within(a, b) || within(b, a), "{a:?} and {b:?} overlap");
        }
    }
}
