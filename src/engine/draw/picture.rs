//! One pipeline as an SVG.

use super::canvas::{Canvas, Card, Line, MARGIN, Shape};
use super::measure::{CODE, NAME, NOTE};
use super::style::Theme;
use super::tree::{Item, layout};
use super::{LONGEST, conditions, cut, place_name, text, title, topics_of_agents, verb};
use crate::sql::outline::{Edge, Outline, Part, in_words};

/// How wide the text of a box is at most.
const WIDEST: f64 = 170.0;
/// How many lines a label has at most.
const LABEL_LINES: usize = 4;
/// The space for the name of the pipeline.
const HEADING: f64 = 28.0;

/// Draws a pipeline.
pub fn draw(outline: &Outline, theme: Theme) -> String {
    let tree = layout(outline, MARGIN + HEADING, &card, &label);
    let mut canvas = Canvas::default();
    let by_hand = if outline.is_bounded { " (run by hand)" } else { "" };
    let heading = format!("{}{by_hand}", outline.name);
    let lines: Vec<Line> =
        NAME.wrap(&heading, tree.width - 2.0 * MARGIN, 1).into_iter().map(|text| Line { text, font: NAME }).collect();
    canvas.lines(&lines, MARGIN, MARGIN - 4.0, "start");
    for way in &tree.ways {
        let (from, to) = (tree.items[way.from].place, tree.items[way.to].place);
        let (start, end) = ((from.right(), from.middle()), (to.x, to.middle()));
        if (start.1 - end.1).abs() < 1.0 {
            canvas.arrow(&[start, (end.0, start.1)], false);
        } else {
            canvas.arrow(&[start, (way.turn, start.1), (way.turn, end.1), end], false);
        }
    }
    for way in &tree.ways {
        if let (false, Some(tooltip)) = (way.label.is_empty(), conditions(way.edge)) {
            let beside = if way.is_second { way.from } else { way.to };
            canvas.label(&way.label, &tooltip, way.label_x, tree.items[beside].place.middle());
        }
    }
    for Item { card, place, .. } in &tree.items {
        canvas.card(card, *place);
    }
    let description = text::pipeline(outline);
    let width = tree.width.max(NAME.width(&heading).min(600.0) + 2.0 * MARGIN);
    canvas.finish(&format!("Pipeline {}", outline.name), description.trim_end(), theme, width, tree.height)
}

/// The text on a line, where it is clear that it is a condition.
fn label(edge: &Edge, widest: f64) -> Vec<Line> {
    let (wheres, whens) = in_words(&edge.conditions);
    let written = [(whens.map(|words| format!("when {words}")), NOTE), (wheres, CODE)];
    let written = written.into_iter().filter_map(|(words, font)| Some((cut(&words?, LONGEST), font)));
    written
        .flat_map(|(words, font)| {
            font.wrap(&words, widest, LABEL_LINES).into_iter().map(move |text| Line { text, font })
        })
        .collect()
}

fn card(part: &Part) -> Card {
    let whole = title(part);
    match part {
        Part::Source { table, place } => {
            let mut card = Card::new(Shape::Pill, "topic", whole);
            card.write(table, NAME, WIDEST);
            let note = if place_name(place) == table { "topic" } else { place };
            card.write(note, NOTE, WIDEST);
            card
        }
        Part::Inbox { agent, place } => {
            let mut card = Card::new(Shape::Pill, "agent", whole);
            card.write(agent, NAME, WIDEST);
            card.write(&format!("inbox: {place}"), NOTE, WIDEST);
            card
        }
        Part::View { name } => {
            let mut card = Card::new(Shape::Box, "pipeline", whole);
            card.write(name, NAME, WIDEST);
            card
        }
        Part::Call { view, udf } => {
            let mut card = Card::new(Shape::Box, "call", whole);
            card.asks = verb(udf) == "asks";
            let call = format!("{} {udf}", verb(udf));
            match view {
                Some(view) => {
                    card.write(view, NAME, WIDEST);
                    card.write(&call, NOTE, WIDEST);
                }
                None => card.write(&call, NAME, WIDEST),
            }
            card
        }
        Part::Sink { table, topics, .. } if !topics.is_empty() => {
            let mut card = Card::new(Shape::Pill, "agent", whole);
            card.write(table, NAME, WIDEST);
            card.write(&format!("{}: {}", topics_of_agents(topics.len()), topics.join(", ")), NOTE, WIDEST + 30.0);
            card
        }
        Part::Sink { table, place, .. } => {
            let mut card = Card::new(Shape::Pill, if is_dead(table) { "dead" } else { "topic" }, whole);
            card.write(table, NAME, WIDEST);
            if place_name(place) != table {
                card.write(place, NOTE, WIDEST);
            }
            card
        }
    }
}

/// Whether a table or topic is for what failed.
pub fn is_dead(name: &str) -> bool {
    name.replace('-', "_").contains("dead_letter")
}
