//! The whole system as an SVG: topics and pipelines from left to right, with the agents' way back as one line.
//!
//! Dead letters, which nearly every pipeline writes, and pipelines that are run by hand stand below: lines to them
//! would hide the rest.

use std::collections::BTreeMap;

use super::canvas::{Canvas, Card, Line, MARGIN, Place, Shape};
use super::layers::{GAP, Graph, Layers, layout};
use super::measure::{NAME, NOTE};
use super::picture::is_dead;
use super::style::Theme;
use super::system::{Member, System};
use super::{place_name, text, topics_of_agents, verb};

/// How wide the text of a box is at most.
const WIDEST: f64 = 170.0;
/// How wide the name of a topic inside a box is at most.
const WIDEST_INBOX: f64 = 130.0;
/// How wide the text of a box below is at most.
const WIDEST_BELOW: [f64; 3] = [300.0, 230.0, 180.0];
/// The space between lines that run beside each other.
const LANE: f64 = 10.0;

/// Draws all pipelines.
pub fn draw(system: &System, theme: Theme) -> String {
    let map = Map::new(system);
    let mut canvas = Canvas::default();
    let targets = map.targets_of_ways_back();
    let lanes = targets.len();
    let top = MARGIN + if lanes == 0 { 0.0 } else { LANE * to_f64(lanes) + 12.0 };
    let mut layers = layout(&map.graph, top);
    if targets.iter().any(|target| layers.layer[*target] == 0 && !layers.is_first(*target)) {
        layers.shift(LANE * to_f64(lanes));
    }
    map.draw_lines(&mut canvas, &layers, top);
    for (node, card) in map.cards.iter().enumerate() {
        canvas.card(card, layers.places[node]);
        if map.fails[node] {
            let place = layers.places[node];
            canvas.dot(place.x + 16.0, place.bottom());
        }
    }
    let width = (layers.right + MARGIN + if lanes == 0 { 0.0 } else { LANE }).max(700.0);
    let below = map.draw_below(&mut canvas, &layers, width);
    let height = map.draw_legend(&mut canvas, below + 20.0, width);
    let description = text::system(system);
    canvas.finish("The system: pipelines, topics and agents", description.trim_end(), theme, width, height + MARGIN)
}

struct Map<'a> {
    system: &'a System,
    graph: Graph,
    cards: Vec<Card>,
    /// Whether a box writes dead letters.
    fails: Vec<bool>,
    /// Topics that stand below.
    below: Vec<usize>,
    /// Pipelines that stand below.
    by_hand: Vec<usize>,
}

impl<'a> Map<'a> {
    fn new(system: &'a System) -> Self {
        let standing: Vec<usize> = (0..system.members.len()).filter(|i| !system.members[*i].by_hand).collect();
        // When there is nothing else, the pipelines that are run by hand are the system.
        let (drawn, by_hand): (Vec<usize>, Vec<usize>) =
            (0..system.members.len()).partition(|i| standing.is_empty() || standing.contains(i));
        let mut map =
            Self { system, graph: Graph::default(), cards: Vec::new(), fails: Vec::new(), below: Vec::new(), by_hand };
        let topics = system.topics_of_agents();
        let mut nodes: Vec<Option<usize>> = vec![None; system.places.len()];
        for (i, place) in system.places.iter().enumerate() {
            let read = place.readers.iter().any(|reader| drawn.contains(reader));
            let writers = place.writers.iter().filter(|writer| drawn.contains(writer)).count();
            // A topic that only one box reads is drawn inside it.
            let readers = place.readers.iter().filter(|reader| drawn.contains(reader)).count();
            let embedded = if topics.contains(&place.name) { readers < 2 } else { readers == 1 && writers == 0 };
            if is_dead(place_name(&place.name)) && !read && writers > 1 {
                map.below.push(i);
            } else if !embedded && (read || writers > 0) {
                let node = map.add(topic_card(place), false);
                map.graph.last.push(node);
                nodes[i] = Some(node);
            }
        }
        let mut boxes: Vec<Option<usize>> = vec![None; system.members.len()];
        for i in &drawn {
            let member = &system.members[*i];
            let embedded = member.reads.iter().filter(|read| {
                let place = system.places.iter().position(|place| place.name == **read);
                place.is_some_and(|place| nodes[place].is_none())
            });
            let inboxes: Vec<&str> = embedded.map(String::as_str).collect();
            let fails = map.below.iter().any(|place| system.places[*place].writers.contains(i));
            boxes[*i] = Some(map.add(member_card(system, member, &inboxes), fails));
        }
        let elsewhere: Vec<(String, usize)> = system
            .agents
            .iter()
            .filter(|agent| agent.pipeline.is_none())
            .map(|agent| {
                let mut card = Card::new(Shape::Box, "agent", format!("{}: a program elsewhere", agent.name));
                card.inboxes = vec![(lines(&agent.topic), false)];
                card.write(&agent.name, NAME, WIDEST);
                card.write("a program elsewhere", NOTE, WIDEST);
                card.is_dashed = true;
                (format!("topic {}", agent.topic), map.add(card, false))
            })
            .collect();
        for (i, place) in system.places.iter().enumerate() {
            let readers = place.readers.iter().filter_map(|reader| boxes[*reader]);
            let outside = elsewhere.iter().filter(|(topic, _)| *topic == place.name).map(|(_, node)| *node);
            let readers: Vec<usize> = readers.chain(outside).collect();
            let writers: Vec<usize> = place.writers.iter().filter_map(|writer| boxes[*writer]).collect();
            match nodes[i] {
                Some(node) => {
                    map.graph.edges.extend(writers.iter().map(|writer| (*writer, node)));
                    map.graph.edges.extend(readers.iter().map(|reader| (node, *reader)));
                }
                None if map.below.contains(&i) => {}
                None => {
                    let pairs = writers.iter().flat_map(|writer| readers.iter().map(move |reader| (*writer, *reader)));
                    map.graph.edges.extend(pairs);
                }
            }
        }
        map
    }

    fn add(&mut self, card: Card, fails: bool) -> usize {
        self.graph.sizes.push(card.size());
        self.cards.push(card);
        self.fails.push(fails);
        self.cards.len() - 1
    }

    /// The boxes that lines lead back to: those lines need space above everything.
    fn targets_of_ways_back(&self) -> Vec<usize> {
        let ways = layout(&self.graph, 0.0).ways;
        let back = self.graph.edges.iter().zip(ways).filter(|(_, way)| way.is_none()).map(|(edge, _)| edge.1);
        let mut targets: Vec<usize> = back.collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    fn draw_lines(&self, canvas: &mut Canvas, layers: &Layers, top: f64) {
        let targets = self.targets_of_ways_back();
        let mut back: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for ((from, to), way) in self.graph.edges.iter().zip(&layers.ways) {
            let (start, end) = (layers.places[*from], layers.places[*to]);
            if let Some(way) = way {
                let between: Vec<Place> = way[1..way.len() - 1].iter().map(|node| layers.places[*node]).collect();
                canvas.curve((start.right(), start.middle()), &between, (end.x, end.middle()));
            } else {
                back.entry((layers.layer[*from], *to)).or_default().push(*from);
            }
        }
        // Up behind its layer, back above everything, and down into the topic: all ways of a layer to one topic share that.
        for ((layer, to), mut starts) in back {
            let end = layers.places[to];
            let lane = to_f64(targets.iter().position(|target| *target == to).unwrap_or(0) + 1) * LANE;
            let right = layers.order[layer].iter().map(|node| layers.places[*node].right()).fold(0.0, f64::max);
            let (up, level) = (right + 4.0 + lane, top - 4.0 - lane);
            starts.sort_by(|a, b| layers.places[*b].y.total_cmp(&layers.places[*a].y));
            for (i, start) in starts.iter().map(|node| layers.places[*node]).enumerate() {
                let (begin, turn) = ((start.right(), start.middle()), (up, start.middle()));
                if i > 0 {
                    canvas.line(&[begin, turn, (up, start.middle() - 16.0)]);
                } else if layers.is_first(to) {
                    let middle = end.x + end.width / 2.0;
                    canvas.arrow(&[begin, turn, (up, level), (middle, level), (middle, end.y)], false);
                } else {
                    let left = end.x - 8.0 - lane;
                    canvas.arrow(
                        &[begin, turn, (up, level), (left, level), (left, end.middle()), (end.x, end.middle())],
                        false,
                    );
                }
            }
            if starts.iter().all(|node| self.cards[*node].class == "agent") {
                let label = Line { text: "results of the agents".into(), font: NOTE };
                let middle = f64::midpoint(end.x + end.width / 2.0, up);
                canvas.label(&[label], "what the agents publish", middle - 66.0, level);
            }
        }
    }

    /// Draws what stands below. Returns where it ends.
    fn draw_below(&self, canvas: &mut Canvas, layers: &Layers, width: f64) -> f64 {
        // The width that keeps the picture lowest.
        let drafts = WIDEST_BELOW.map(|widest| {
            let cards = self.cards_below(widest);
            let (places, bottom) = places_below(&cards, layers, width);
            (cards, places, bottom)
        });
        let lowest = drafts.into_iter().reduce(|best, next| if next.2 < best.2 { next } else { best });
        let Some((cards, places, bottom)) = lowest else { return layers.bottom };
        for (i, (card, place)) in cards.iter().zip(&places).enumerate() {
            canvas.card(card, *place);
            if i < self.below.len() {
                canvas.dot(place.x + 16.0, place.bottom());
                continue;
            }
            let member = &self.system.members[self.by_hand[i - self.below.len()]];
            // The last topic and the first of those who read it stand beside each other.
            if let Some(last) = self.below.last().filter(|_| i == self.below.len())
                && member.reads.contains(&self.system.places[*last].name)
                && places[i - 1].right() < place.x
            {
                let middle = place.middle();
                canvas.arrow(&[(places[i - 1].right(), middle), (place.x, middle)], true);
            }
        }
        bottom
    }

    fn cards_below(&self, widest: f64) -> Vec<Card> {
        let topics = self.below.iter().map(|place| &self.system.places[*place]).map(|place| {
            let mut card = Card::new(Shape::Pill, "dead", &place.name);
            card.write(place_name(&place.name), NAME, widest);
            let writers = place.writers.iter().filter(|writer| !self.by_hand.contains(writer)).count();
            card.write(&format!("from the {writers} pipelines with this dot"), NOTE, widest);
            card
        });
        let by_hand = self.by_hand.iter().map(|member| &self.system.members[*member]).map(|member| {
            let mut card = member_card(self.system, member, &[]);
            let reads: Vec<&str> = member.reads.iter().map(|read| place_name(read)).collect();
            let mut writes: Vec<String> = member.writes.iter().map(|place| place_name(place).to_string()).collect();
            if member.agent_topics > 0 {
                writes.push(topics_of_agents(member.agent_topics));
            }
            card.write(&format!("run by hand: from {} to {}", reads.join(", "), writes.join(", ")), NOTE, widest);
            card
        });
        topics.chain(by_hand).collect()
    }

    /// Draws the legend. Returns where it ends.
    fn draw_legend(&self, canvas: &mut Canvas, top: f64, width: f64) -> f64 {
        let cards = || self.cards.iter();
        let mut entries: Vec<(&str, Card)> = Vec::new();
        let swatch = |shape, class, is_dashed| {
            let mut card = Card::new(shape, class, "");
            card.is_dashed = is_dashed;
            card
        };
        let is_outside =
            |card: &Card| card.class == "topic" && card.is_dashed || card.inboxes.iter().any(|inbox| inbox.1);
        if cards().any(is_outside) {
            entries.push(("topic, written elsewhere", swatch(Shape::Pill, "topic", true)));
        }
        entries.push(("topic", swatch(Shape::Pill, "topic", false)));
        if cards().any(|card| card.class == "people") {
            entries.push(("for people and programs elsewhere", swatch(Shape::Pill, "people", false)));
        }
        entries.push(("pipeline", swatch(Shape::Box, "pipeline", false)));
        if cards().any(|card| card.class == "agent") {
            entries.push(("agent with its inbox", swatch(Shape::Box, "agent", false)));
        }
        if cards().any(|card| card.asks) {
            let mut card = swatch(Shape::Box, "page", false);
            card.asks = true;
            entries.push(("asks a model", card));
        }
        let (mut x, mut y) = (MARGIN, top);
        for (words, card) in &entries {
            let wide = 30.0 + NOTE.width(words) + 16.0;
            if x > MARGIN && x + wide > width {
                (x, y) = (MARGIN, y + 22.0);
            }
            if card.asks {
                canvas.star(x + 11.0, y + 7.0);
            } else {
                canvas.card(card, Place { x, y, width: 22.0, height: 14.0 });
            }
            canvas.lines(&[Line { text: (*words).to_string(), font: NOTE }], x + 30.0, y - 0.5, "start");
            x += wide;
        }
        y + 14.0
    }
}

/// Places boxes in rows, each below what stands above it and no lower. Returns where they end.
fn places_below(cards: &[Card], layers: &Layers, width: f64) -> (Vec<Place>, f64) {
    let sizes: Vec<(f64, f64)> = cards.iter().map(Card::size).collect();
    let mut rows: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut right = f64::MAX;
    for size in sizes {
        if right + GAP.0 + size.0 > width - MARGIN {
            rows.push(Vec::new());
            right = MARGIN - GAP.0;
        }
        right += GAP.0 + size.0;
        rows.last_mut().into_iter().for_each(|row| row.push(size));
    }
    let mut places = Vec::new();
    let mut bottom = 0.0_f64;
    for row in rows {
        let right = MARGIN - GAP.0 + row.iter().map(|size| size.0 + GAP.0).sum::<f64>();
        let height = row.iter().map(|size| size.1).fold(0.0, f64::max);
        let above = layers.places.iter().filter(|place| place.x - GAP.0 < right);
        let top = above.map(|place| place.bottom() + 36.0).fold(bottom + GAP.1, f64::max);
        let mut x = MARGIN;
        for (card_width, card_height) in row {
            places.push(Place { x, y: top + (height - card_height) / 2.0, width: card_width, height: card_height });
            x += card_width + GAP.0;
        }
        bottom = top + height;
    }
    (places, bottom.max(layers.bottom))
}

fn topic_card(place: &super::system::Place) -> Card {
    let name = place_name(&place.name);
    let class = if is_dead(name) {
        "dead"
    } else if place.is_for_people() {
        "people"
    } else {
        "topic"
    };
    let mut card = Card::new(Shape::Pill, class, &place.name);
    card.write(name, NAME, WIDEST);
    card.is_dashed = place.is_written_elsewhere();
    card
}

fn member_card(system: &System, member: &Member, inboxes: &[&str]) -> Card {
    let calls: Vec<String> = member.calls.iter().map(|udf| format!("{} {udf}", verb(udf))).collect();
    let tooltip = std::iter::once(member.name.clone()).chain(calls.iter().cloned()).collect::<Vec<_>>().join(", ");
    let class = if member.inboxes.is_empty() { "pipeline" } else { "agent" };
    let mut card = Card::new(Shape::Box, class, tooltip);
    card.inboxes = inboxes
        .iter()
        .map(|name| {
            (lines(place_name(name)), system.place(name).is_some_and(super::system::Place::is_written_elsewhere))
        })
        .collect();
    card.asks = calls.iter().any(|call| call.starts_with("asks"));
    card.is_dashed = member.by_hand;
    for agent in &member.inboxes {
        card.write(agent, NAME, WIDEST);
    }
    card.write(&member.name, if member.inboxes.is_empty() { NAME } else { NOTE }, WIDEST);
    for call in calls.iter().filter(|call| member.inboxes.is_empty() || !call.starts_with("asks")) {
        card.write(call, NOTE, WIDEST);
    }
    card
}

fn lines(text: &str) -> Vec<Line> {
    NOTE.wrap(text, WIDEST_INBOX, 3).into_iter().map(|text| Line { text, font: NOTE }).collect()
}

#[expect(clippy::cast_precision_loss, reason = "the number of lines in a picture")]
fn to_f64(count: usize) -> f64 {
    count as f64
}
