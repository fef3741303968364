//! The parts of an SVG: boxes with text, arrows, and the frame with title and description.

use std::fmt::Write as _;

use super::measure::Font;
use super::style::{Theme, css};

/// The space around a picture.
pub const MARGIN: f64 = 16.0;
/// The space between the border of a box and its text.
const PADDING: (f64, f64) = (14.0, 8.0);
/// How round corners of lines are.
const BEND: f64 = 8.0;

/// A line of text.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What is written.
    pub text: String,
    /// How.
    pub font: Font,
}

/// What a box looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// What holds messages.
    Pill,
    /// What does something.
    Box,
}

/// A box with text.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// What it looks like.
    pub shape: Shape,
    /// The class that gives it its colours.
    pub class: &'static str,
    /// Its text, from top to bottom.
    pub lines: Vec<Line>,
    /// Pills at its top, for topics that only this box reads: the text, and whether the topic is written elsewhere.
    pub inboxes: Vec<(Vec<Line>, bool)>,
    /// Whether it has the mark of a model.
    pub asks: bool,
    /// Whether its border is dashed: it is elsewhere, or run by hand.
    pub is_dashed: bool,
    /// The tooltip: the whole text, with nothing cut.
    pub tooltip: String,
}

impl Card {
    /// A box of some kind, without text.
    pub fn new(shape: Shape, class: &'static str, tooltip: impl Into<String>) -> Self {
        let tooltip = tooltip.into();
        Self { shape, class, lines: Vec::new(), inboxes: Vec::new(), asks: false, is_dashed: false, tooltip }
    }

    /// Adds a text, in as many lines as it needs.
    pub fn write(&mut self, text: &str, font: Font, widest: f64) {
        self.lines.extend(font.wrap(text, widest, 4).into_iter().map(|text| Line { text, font }));
    }

    /// How wide and how high it has to be.
    pub fn size(&self) -> (f64, f64) {
        let (width, height) = size(&self.lines);
        let (inbox_width, inbox_height) = self.inbox_size();
        (width.max(inbox_width) + 2.0 * PADDING.0, height + inbox_height + 2.0 * PADDING.1)
    }

    fn inbox_size(&self) -> (f64, f64) {
        let sizes = self.inboxes.iter().map(|(lines, _)| size(lines));
        sizes.fold((0.0, 0.0), |(widest, all), (width, height)| (f64::max(widest, width + 16.0), all + height + 10.0))
    }
}

/// How wide and how high lines are.
pub fn size(lines: &[Line]) -> (f64, f64) {
    let width = lines.iter().map(|line| line.font.width(&line.text)).fold(0.0, f64::max);
    (width, lines.iter().map(|line| line.font.line_height()).sum())
}

/// Where a box is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Its left border.
    pub x: f64,
    /// Its upper border.
    pub y: f64,
    /// Its width.
    pub width: f64,
    /// Its height.
    pub height: f64,
}

impl Place {
    /// Its right border.
    pub fn right(self) -> f64 {
        self.x + self.width
    }

    /// Its lower border.
    pub fn bottom(self) -> f64 {
        self.y + self.height
    }

    /// Half its height.
    pub fn middle(self) -> f64 {
        self.y + self.height / 2.0
    }
}

/// A picture that is being drawn.
#[derive(Debug, Default)]
pub struct Canvas {
    out: String,
}

impl Canvas {
    /// Draws a box.
    pub fn card(&mut self, card: &Card, place: Place) {
        let Place { x, y, width, height } = place;
        let dashed = if card.is_dashed { " dashed" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(self.out, "<g><title>{}</title>", escaped(&card.tooltip));
        self.border(place, &format!("{}{dashed}", card.class), card.shape);
        let mut top = y + PADDING.1;
        for (lines, is_dashed) in &card.inboxes {
            let (inner_width, inner_height) = size(lines);
            let inner = Place {
                x: x + (width - inner_width) / 2.0 - 8.0,
                y: top - 1.0,
                width: inner_width + 16.0,
                height: inner_height + 6.0,
            };
            self.border(inner, if *is_dashed { "topic dashed" } else { "topic" }, Shape::Pill);
            self.lines(lines, x + width / 2.0, top + 2.0, "middle");
            top += inner_height + 10.0;
        }
        let (_, text_height) = size(&card.lines);
        let left = y + height - PADDING.1 - top - text_height;
        self.lines(&card.lines, x + width / 2.0, top + left / 2.0, "middle");
        if card.asks {
            self.star(x + width - 6.0, y + 4.0);
        }
        self.out.push_str("</g>\n");
    }

    fn border(&mut self, place: Place, class: &str, shape: Shape) {
        let round = if shape == Shape::Pill { (place.height / 2.0).min(18.0) } else { 6.0 };
        let _ = write!(
            self.out,
            "<rect class=\"box {class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{}\"/>",
            number(place.x),
            number(place.y),
            number(place.width),
            number(place.height),
            number(round)
        );
    }

    /// Draws the condition on the rows that go along a line.
    pub fn label(&mut self, lines: &[Line], tooltip: &str, x: f64, middle: f64) {
        let (width, height) = size(lines);
        let place = Place { x, y: middle - height / 2.0 - 3.0, width: width + 12.0, height: height + 6.0 };
        let _ = write!(
            self.out,
            "<g><title>{}</title><rect class=\"label\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"4\"/>",
            escaped(tooltip),
            number(place.x),
            number(place.y),
            number(place.width),
            number(place.height)
        );
        // A single line is centred: a measured text is wider than a drawn one.
        match lines {
            [_] => self.lines(lines, x + place.width / 2.0, place.y + 3.0, "middle"),
            _ => self.lines(lines, x + 6.0, place.y + 3.0, "start"),
        }
        self.out.push_str("</g>\n");
    }

    /// Writes lines below each other.
    pub fn lines(&mut self, lines: &[Line], x: f64, top: f64, anchor: &str) {
        let mut y = top;
        for Line { text, font } in lines {
            let height = font.line_height();
            // The baseline is a bit above the lower border.
            let base = y + height / 2.0 + font.size * 0.36;
            let _ = write!(
                self.out,
                "<text class=\"{}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
                font.class,
                number(x),
                number(base),
                escaped(text)
            );
            y += height;
        }
    }

    /// Draws a line with round bends through points.
    pub fn line(&mut self, points: &[(f64, f64)]) {
        let _ = writeln!(self.out, "<path class=\"edge\" d=\"{}\"/>", bent(points));
    }

    /// Draws a line with round bends through points, with a head at its end.
    pub fn arrow(&mut self, points: &[(f64, f64)], is_dashed: bool) {
        let dashed = if is_dashed { " dashed" } else { "" };
        let Some((tip, before)) = points.last().zip(points.iter().rev().nth(1)) else { return };
        let (dx, dy) = (tip.0 - before.0, tip.1 - before.1);
        let (back, side) = if dx.abs() > dy.abs() {
            ((dx.signum() * 8.0, 0.0), (0.0, 4.0))
        } else {
            ((0.0, dy.signum() * 8.0), (4.0, 0.0))
        };
        // The line ends inside its head: the point of that is narrower than the line.
        let mut inner = points.to_vec();
        if let Some(last) = inner.last_mut() {
            *last = (tip.0 - back.0 / 2.0, tip.1 - back.1 / 2.0);
        }
        let _ = write!(self.out, "<path class=\"edge{dashed}\" d=\"{}\"/>", bent(&inner));
        self.head(*tip, back, side);
    }

    /// Draws a curve from a right border to a left one, through places between them, with a head at its end.
    pub fn curve(&mut self, start: (f64, f64), between: &[Place], end: (f64, f64)) {
        let mut path = format!("M{} {}", number(start.0), number(start.1));
        let mut at = start;
        let mut swing = |to: (f64, f64)| {
            let half = f64::midpoint(at.0, to.0);
            let _ = write!(
                path,
                "C{} {} {} {} {} {}",
                number(half),
                number(at.1),
                number(half),
                number(to.1),
                number(to.0),
                number(to.1)
            );
            at = to;
        };
        for place in between {
            swing((place.x, place.middle()));
            swing((place.right(), place.middle()));
        }
        swing((end.0 - 4.0, end.1));
        let _ = write!(self.out, "<path class=\"edge\" d=\"{path}\"/>");
        self.head(end, (8.0, 0.0), (0.0, 4.0));
    }

    /// Draws the head of an arrow: its tip, how far it goes back, and how far to each side.
    fn head(&mut self, tip: (f64, f64), back: (f64, f64), side: (f64, f64)) {
        let corner = |sign: f64| (tip.0 - back.0 + sign * side.0, tip.1 - back.1 + sign * side.1);
        let (a, b) = (corner(1.0), corner(-1.0));
        let _ = writeln!(
            self.out,
            "<path class=\"head\" d=\"M{} {}L{} {}L{} {}Z\"/>",
            number(tip.0),
            number(tip.1),
            number(a.0),
            number(a.1),
            number(b.0),
            number(b.1)
        );
    }

    /// Draws the mark of a model.
    pub fn star(&mut self, x: f64, y: f64) {
        let point = |dx: f64, dy: f64| format!("{} {}", number(x + dx), number(y + dy));
        let _ = write!(
            self.out,
            "<circle class=\"mark page\" cx=\"{}\" cy=\"{}\" r=\"9\"/>\
             <path class=\"star\" d=\"M{}Q{} {}Q{} {}Q{} {}Q{} {}Z\"/>",
            number(x),
            number(y),
            point(0.0, -6.0),
            point(1.0, -1.0),
            point(6.0, 0.0),
            point(1.0, 1.0),
            point(0.0, 6.0),
            point(-1.0, 1.0),
            point(-6.0, 0.0),
            point(-1.0, -1.0),
            point(0.0, -6.0)
        );
    }

    /// Draws a dot, which means the same wherever it is.
    pub fn dot(&mut self, x: f64, y: f64) {
        let _ = write!(self.out, "<circle class=\"box dead\" cx=\"{}\" cy=\"{}\" r=\"4.5\"/>", number(x), number(y));
    }

    /// Draws the frame around it all.
    pub fn finish(self, title: &str, description: &str, theme: Theme, width: f64, height: f64) -> String {
        let (width, height) = (number(width.ceil()), number(height.ceil()));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" aria-labelledby=\"baton-title baton-description\">\n\
             <title id=\"baton-title\">{}</title>\n<desc id=\"baton-description\">{}</desc>\n\
             <style>{}</style>\n\
             <rect class=\"page\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\n{}</svg>\n",
            escaped(title),
            escaped(description),
            css(theme),
            self.out
        )
    }
}

/// A path through points, its corners rounded.
fn bent(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (i, point) in points.iter().enumerate() {
        if i == 0 {
            let _ = write!(path, "M{} {}", number(point.0), number(point.1));
            continue;
        }
        let (before, after) = (points[i - 1], points.get(i + 1));
        let Some(after) = after else {
            let _ = write!(path, "L{} {}", number(point.0), number(point.1));
            continue;
        };
        let towards = |to: &(f64, f64)| {
            let (dx, dy) = (to.0 - point.0, to.1 - point.1);
            let length = dx.hypot(dy);
            let part = if length == 0.0 { 0.0 } else { (BEND.min(length / 2.0)) / length };
            (point.0 + dx * part, point.1 + dy * part)
        };
        let (start, end) = (towards(&before), towards(after));
        let _ = write!(
            path,
            "L{} {}Q{} {} {} {}",
            number(start.0),
            number(start.1),
            number(point.0),
            number(point.1),
            number(end.0),
            number(end.1)
        );
    }
    path
}

/// A coordinate, to a tenth of a pixel.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_string)
}

/// A text for XML. What XML cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => {}
            c => out.push(c),
        }
    }
    out
}
