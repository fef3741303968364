//! Places the parts of an outline in a picture: columns from the sources on, all sinks in the last one, and each part
//! in the middle of what it leads to.

use super::canvas::{Card, Line, MARGIN, Place, size};
use crate::sql::outline::{Edge, Outline, Part};

/// The space between two boxes that stand below each other.
const BELOW: f64 = 14.0;
/// The space from a column to where its lines branch, and from there to the next thing.
pub const BRANCH: f64 = 14.0;
/// The space from where lines branch to a label, and from a label to the next box.
const BESIDE: f64 = 10.0;
const HEAD: f64 = 26.0;
/// The width that a picture should not exceed.
const WIDEST: f64 = 1000.0;

/// A box of the picture. A node is one box, but a sink is one for each way that leads to it.
#[derive(Debug)]
pub struct Item<'a> {
    /// The node.
    pub node: usize,
    /// The way that leads to it.
    pub edge: Option<&'a Edge>,
    /// What it looks like.
    pub card: Card,
    /// Where it stands.
    pub place: Place,
    children: Vec<usize>,
    column: usize,
    /// The height of its label.
    label_height: f64,
}

/// A line of the picture.
#[derive(Debug)]
pub struct Way<'a> {
    /// The box from which it leads.
    pub from: usize,
    /// The box to which it leads.
    pub to: usize,
    /// What must hold.
    pub edge: &'a Edge,
    /// What is written on it.
    pub label: Vec<Line>,
    /// Where its label begins.
    pub label_x: f64,
    /// Where it turns up or down.
    pub turn: f64,
    /// Whether the box has another line to it, along which it found its place.
    pub is_second: bool,
}

/// All boxes and lines, and how large they are together.
#[derive(Debug)]
pub struct Layout<'a> {
    /// The boxes.
    pub items: Vec<Item<'a>>,
    /// The lines.
    pub ways: Vec<Way<'a>>,
    /// The width.
    pub width: f64,
    /// The height.
    pub height: f64,
}

/// Finds a place for everything below `top`.
pub fn layout<'a>(
    outline: &'a Outline,
    top: f64,
    card: &dyn Fn(&Part) -> Card,
    label: &dyn Fn(&Edge, f64) -> Vec<Line>,
) -> Layout<'a> {
    let mut builder =
        Builder { outline, card, items: Vec::new(), seen: vec![None; outline.nodes.len()], more: Vec::new() };
    let roots: Vec<usize> = outline.roots().into_iter().map(|root| builder.item(root, None)).collect();
    let Builder { mut items, more, .. } = builder;
    set_columns(outline, &mut items);
    let mut widths = vec![0.0_f64; items.iter().map(|item| item.column + 1).max().unwrap_or(0)];
    for item in &items {
        widths[item.column] = widths[item.column].max(item.card.size().0);
    }
    let mut ways: Vec<Way<'a>> = Vec::new();
    for (from, item) in items.iter().enumerate() {
        for to in &item.children {
            ways.extend(items[*to].edge.map(|edge| new_way((from, *to, edge), false)));
        }
    }
    ways.extend(more.into_iter().map(|way| new_way(way, true)));
    let mut starts = Vec::new();
    let mut width = 0.0;
    // Labels are as wide as the picture allows.
    for widest in (0..32).map(|step| 330.0 - 6.0 * f64::from(step)) {
        for way in &mut ways {
            way.label = label(way.edge, widest);
        }
        (starts, width) = columns(&widths, |column| {
            let labels = ways.iter().filter(|way| items[way.from].column == column);
            labels.map(|way| label_size(&way.label).0).fold(0.0, f64::max)
        });
        if width <= WIDEST {
            break;
        }
    }
    for way in &ways {
        // A label stands beside the box where its line is level.
        let beside = if way.is_second { way.from } else { way.to };
        let (_, height) = label_size(&way.label);
        items[beside].label_height = items[beside].label_height.max(height);
    }
    for item in &mut items {
        item.place = Place { x: starts[item.column], y: 0.0, width: widths[item.column], height: item.card.size().1 };
    }
    let mut y = top;
    for root in roots {
        y += stand(&mut items, root, y) + 2.0 * BELOW;
    }
    for way in &mut ways {
        way.turn = items[way.from].place.right() + BRANCH;
        way.label_x = way.turn + BESIDE;
        if way.is_second {
            way.turn = items[way.to].place.x - HEAD + BESIDE;
        }
    }
    Layout { items, ways, width, height: y - 2.0 * BELOW + MARGIN }
}

fn new_way((from, to, edge): (usize, usize, &Edge), is_second: bool) -> Way<'_> {
    Way { from, to, edge, label: Vec::new(), label_x: 0.0, turn: 0.0, is_second }
}

/// Where columns begin, and how wide the picture is: each begins behind the labels of the lines that lead to it.
fn columns(widths: &[f64], label: impl Fn(usize) -> f64) -> (Vec<f64>, f64) {
    let mut x = MARGIN;
    let mut starts = Vec::new();
    for (column, width) in widths.iter().enumerate() {
        starts.push(x);
        let label = label(column);
        x += width + BRANCH + HEAD + if label > 0.0 { BESIDE + label } else { 0.0 };
    }
    (starts, x - BRANCH - HEAD + MARGIN)
}

/// How wide and how high a label is with its border.
fn label_size(label: &[Line]) -> (f64, f64) {
    if label.is_empty() {
        return (0.0, 0.0);
    }
    let (width, height) = size(label);
    (width + 12.0, height + 6.0)
}

struct Builder<'a, 'c> {
    outline: &'a Outline,
    card: &'c dyn Fn(&Part) -> Card,
    items: Vec<Item<'a>>,
    /// The box of each node that has one.
    seen: Vec<Option<usize>>,
    /// More ways to boxes that are there already.
    more: Vec<(usize, usize, &'a Edge)>,
}

impl<'a> Builder<'a, '_> {
    fn item(&mut self, node: usize, edge: Option<&'a Edge>) -> usize {
        let outline = self.outline;
        let id = self.items.len();
        let part = &outline.nodes[node].part;
        let place = Place { x: 0.0, y: 0.0, width: 0.0, height: 0.0 };
        let card = (self.card)(part);
        self.items.push(Item { node, edge, card, place, children: Vec::new(), column: 0, label_height: 0.0 });
        if !matches!(part, Part::Sink { .. }) {
            self.seen[node] = Some(id);
        }
        for edge in &outline.nodes[node].outputs {
            if let Some(known) = self.seen[edge.to] {
                self.more.push((id, known, edge));
            } else {
                let child = self.item(edge.to, Some(edge));
                self.items[id].children.push(child);
            }
        }
        id
    }
}

/// Each part stands right of all that leads to it, and the sinks stand last.
fn set_columns(outline: &Outline, items: &mut [Item<'_>]) {
    let mut columns = vec![0; outline.nodes.len()];
    for (node, outputs) in outline.nodes.iter().map(|node| &node.outputs).enumerate() {
        for edge in outputs {
            columns[edge.to] = columns[edge.to].max(columns[node] + 1);
        }
    }
    let last = columns.iter().copied().max().unwrap_or(0);
    for item in items {
        let is_sink = matches!(outline.nodes[item.node].part, Part::Sink { .. });
        item.column = if is_sink { last } else { columns[item.node] };
    }
}

/// Places a box and all that it leads to below `top`; gives the height of all.
fn stand(items: &mut [Item<'_>], id: usize, top: f64) -> f64 {
    let own = items[id].place.height.max(items[id].label_height);
    let children = items[id].children.clone();
    let (Some(first), Some(last)) = (children.first(), children.last()) else {
        items[id].place.y = top + (own - items[id].place.height) / 2.0;
        return own;
    };
    let mut height = 0.0;
    for child in &children {
        height += stand(items, *child, top + height) + BELOW;
    }
    height -= BELOW;
    if height < own {
        for child in &children {
            shift(items, *child, (own - height) / 2.0);
        }
        height = own;
    }
    let middle = f64::midpoint(items[*first].place.middle(), items[*last].place.middle());
    let middle = middle.clamp(top + own / 2.0, top + height - own / 2.0);
    items[id].place.y = middle - items[id].place.height / 2.0;
    height
}

fn shift(items: &mut [Item<'_>], id: usize, by: f64) {
    items[id].place.y += by;
    for child in items[id].children.clone() {
        shift(items, child, by);
    }
}
