//! What must hold of the SQL front end, whatever the text: it ends, the same way each time, and what it says is fit for
//! an analyst. Shared by the fuzz target and the test that replays what was found.

use std::io::Write;
use std::sync::LazyLock;

use baton::config::Environment;
use baton::diag::{Code, Diagnostic, SourceText, Style, to_json, to_text};
use baton::engine::draw::{Drawing, System, Theme};
use baton::engine::{self, Pipeline};
use baton::sql::catalogue::{Project, assemble, definitions};
use baton::sql::definition::Script;
use baton::sql::errors::INTERNAL;
use baton::sql::resolve::PipelineText;
use baton::udf::{UdfSource, discover};

/// The catalogue and the UDFs that a pipeline of this project has.
struct Known {
    catalogue: Script,
    udfs: Vec<UdfSource>,
    environment: Environment,
    runtime: tokio::runtime::Runtime,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let project = Project { root: env!("CARGO_MANIFEST_DIR").into() };
    Known {
        catalogue: definitions(&project).expect("the project's own sql/ is right"),
        udfs: discover(&project.udfs()).expect("the project's own udfs/ are right"),
        environment: Environment::only([]),
        runtime: tokio::runtime::Builder::new_current_thread().build().expect("a runtime"),
    }
});

/// Reads a text as a pipeline of this project; panics when something does not hold.
pub fn check(text: &str) {
    let first = outcome(text);
    assert_eq!(first, outcome(text), "the second time it came out differently");
}

fn outcome(text: &str) -> String {
    let known = &*KNOWN;
    let source = SourceText::new("fuzz.sql", text);
    let read = assemble("fuzz", &source, known.catalogue.clone());
    match known.runtime.block_on(engine::compile(read.clone(), &known.udfs, &known.environment)) {
        Ok(pipeline) => format!("{}{}", drawn(&pipeline), rendered(read, text)),
        Err(wrong) => told(&wrong, text),
    }
}

/// What is right has a rendered text, which `rendered` itself plans once more, or is refused by name.
fn rendered(read: PipelineText, text: &str) -> String {
    let known = &*KNOWN;
    match known.runtime.block_on(engine::rendered(read, &known.udfs, &known.environment)) {
        Ok(rendered) => rendered.sql,
        Err(wrong) => {
            let said = told(&wrong, text);
            assert!(wrong.iter().all(|w| w.code == Code::RENDER), "it runs, but its rendered text does not: {said}");
            said
        }
    }
}

fn drawn(pipeline: &Pipeline) -> String {
    assert!(!pipeline.sinks.is_empty(), "a pipeline that does nothing");
    let system = System::new([&pipeline.outline]);
    let drawings = [Drawing::Pipeline(&pipeline.outline), Drawing::System(&system)];
    drawings
        .map(|drawing| {
            let svg = drawing.svg(Theme::Auto);
            assert!(!svg.contains("NaN") && !svg.contains("inf\""), "a picture without a place: {svg}");
            format!("{}{}{}{svg}", drawing.text(), drawing.mermaid(), drawing.json())
        })
        .concat()
}

fn told(wrong: &[Diagnostic], text: &str) -> String {
    assert!(!wrong.is_empty(), "it failed and says nothing");
    for diagnostic in wrong {
        if let Some(span) = &diagnostic.span {
            let of = &span.source.text;
            assert!(
                span.range.start <= span.range.end && of.get(span.range.clone()).is_some(),
                "{:?} is no place in a text of {} bytes",
                span.range,
                of.len()
            );
        }
        let said = format!("{}\n{}", diagnostic.message, diagnostic.help.as_deref().unwrap_or_default());
        assert!(diagnostic.message.chars().any(char::is_alphanumeric), "it says nothing: {said}");
        // Words that the author wrote may be repeated to them.
        let internal = INTERNAL.iter().find(|w| said.contains(**w) && !text.contains(**w));
        if let Some(internal) = internal {
            let words = format!("it speaks of {internal:?}: {said}");
            // A wrong word is found by chance and mended by hand; a gate that opens by chance is none.
            assert!(std::env::var_os("BATON_FUZZ_WORDS").is_some_and(|set| set == "report"), "{words}");
            let _closed = writeln!(std::io::stderr(), "{words}\nthe text:\n{text}");
        }
    }
    let coloured = to_text(wrong, Style::Coloured);
    assert!(coloured.len() >= wrong.len());
    format!("{}{}", to_text(wrong, Style::Plain), to_json(wrong))
}
