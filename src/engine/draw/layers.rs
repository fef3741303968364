//! Places boxes in layers from left to right. Their lines may form circles.
//!
//! Lines back to an earlier layer are set aside first. Then each box stands right of all that lead to it, and the boxes
//! of a layer are ordered and placed so that lines are short and rarely cross.

use super::canvas::{MARGIN, Place};

/// The space between two layers, and between two boxes of one layer.
pub const GAP: (f64, f64) = (48.0, 14.0);

/// Boxes and the lines between them.
#[derive(Debug, Default)]
pub struct Graph {
    /// The width and height of each box.
    pub sizes: Vec<(f64, f64)>,
    /// From which box to which. A circle is broken where it comes back to a box with a smaller number.
    pub edges: Vec<(usize, usize)>,
    /// The boxes that stand below others of their layer, when nothing else decides.
    pub last: Vec<usize>,
}

/// Where boxes stand.
#[derive(Debug)]
pub struct Layers {
    /// The boxes. Those that only mark the way of a long line come after the graph's.
    pub places: Vec<Place>,
    /// For each edge the boxes on its way, its ends among them; `None` when it leads back.
    pub ways: Vec<Option<Vec<usize>>>,
    /// The layer of each box.
    pub layer: Vec<usize>,
    /// The boxes of each layer from top to bottom.
    pub order: Vec<Vec<usize>>,
    /// The right border of all.
    pub right: f64,
    /// The lower border of all.
    pub bottom: f64,
}

/// Finds a place for all boxes below `top`.
pub fn layout(graph: &Graph, top: f64) -> Layers {
    let back = backward(graph);
    let forward: Vec<(usize, usize)> =
        graph.edges.iter().zip(&back).filter(|(_, back)| !**back).map(|(edge, _)| *edge).collect();
    let mut layer = layers(graph.sizes.len(), &forward);
    let mut sizes = graph.sizes.clone();
    // A line over several layers has a place in each.
    let mut ways = Vec::new();
    let mut steps = Vec::new();
    for (edge, is_back) in graph.edges.iter().zip(&back) {
        if *is_back {
            ways.push(None);
            continue;
        }
        let mut way = vec![edge.0];
        for between in layer[edge.0] + 1..layer[edge.1] {
            way.push(sizes.len());
            sizes.push((0.0, 2.0));
            layer.push(between);
        }
        way.push(edge.1);
        steps.extend(way.windows(2).map(|pair| (pair[0], pair[1])));
        ways.push(Some(way));
    }
    let leads_back: Vec<bool> = (0..sizes.len())
        .map(|node| graph.edges.iter().zip(&back).any(|(edge, back)| *back && edge.0 == node))
        .collect();
    let is_target = |node| graph.edges.iter().zip(&back).any(|(edge, back)| *back && edge.1 == node);
    let order = order(&layer, &steps, |node| {
        let leads_on = steps.iter().any(|step| step.0 == node);
        // What leads back stands above what leads on, and that above what leads nowhere: so the ways back cross nothing.
        (!is_target(node), !leads_back[node], leads_back[node] == leads_on, graph.last.contains(&node))
    });
    let middles = heights(&sizes, &order, &steps);
    let first = sizes.iter().zip(&middles).map(|((_, height), middle)| middle - height / 2.0).fold(f64::MAX, f64::min);
    let mut places = vec![Place { x: 0.0, y: 0.0, width: 0.0, height: 0.0 }; sizes.len()];
    let mut x = MARGIN;
    for nodes in &order {
        let width = nodes.iter().map(|node| sizes[*node].0).fold(0.0, f64::max);
        for node in nodes {
            let height = sizes[*node].1;
            places[*node] = Place { x, y: middles[*node] - height / 2.0 - first + top, width, height };
        }
        x += width + GAP.0;
    }
    let bottom = places.iter().map(|place| place.bottom()).fold(top, f64::max);
    Layers { places, ways, layer, order, right: x - GAP.0, bottom }
}

impl Layers {
    /// Whether a box stands above all others of its layer.
    pub fn is_first(&self, node: usize) -> bool {
        self.order[self.layer[node]].first() == Some(&node)
    }

    /// Moves everything to the right.
    pub fn shift(&mut self, by: f64) {
        self.places.iter_mut().for_each(|place| place.x += by);
        self.right += by;
    }
}

/// The edges that close a circle, found depth first from the boxes that nothing leads to.
fn backward(graph: &Graph) -> Vec<bool> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let count = graph.sizes.len();
    let mut back = vec![false; graph.edges.len()];
    let mut state = vec![State::New; count];
    let is_fed = |node: usize| graph.edges.iter().any(|edge| edge.1 == node);
    let roots = (0..count).filter(|node| !is_fed(*node)).chain((0..count).filter(|node| is_fed(*node)));
    for root in roots {
        // The box, and the edge to look at next.
        let mut open = vec![(root, 0)];
        while let Some((node, next)) = open.pop() {
            if next == 0 {
                if state[node] != State::New {
                    continue;
                }
                state[node] = State::Open;
            }
            let following = graph.edges.iter().enumerate().skip(next).find(|(_, edge)| edge.0 == node);
            let Some((index, edge)) = following else {
                state[node] = State::Done;
                continue;
            };
            open.push((node, index + 1));
            match state[edge.1] {
                State::Open => back[index] = true,
                State::New => open.push((edge.1, 0)),
                State::Done => {}
            }
        }
    }
    back
}

/// Each box right of all that leads to it, and what nothing leads to just left of what it leads to.
fn layers(count: usize, forward: &[(usize, usize)]) -> Vec<usize> {
    let mut layer = vec![0_usize; count];
    // There is no circle, so this ends.
    for _ in 0..count {
        for (from, to) in forward {
            layer[*to] = layer[*to].max(layer[*from] + 1);
        }
    }
    for node in 0..count {
        let is_source = !forward.iter().any(|edge| edge.1 == node);
        let next = forward.iter().filter(|edge| edge.0 == node).map(|edge| layer[edge.1]).min();
        if let (true, Some(next)) = (is_source, next) {
            layer[node] = next - 1;
        }
    }
    layer
}

/// The boxes of each layer, in an order in which lines rarely cross: each near the middle of the boxes that it is
/// joined to.
fn order<K: Ord>(layer: &[usize], steps: &[(usize, usize)], rank: impl Fn(usize) -> K) -> Vec<Vec<usize>> {
    let count = layer.iter().map(|layer| layer + 1).max().unwrap_or(0);
    let mut order: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (node, layer) in layer.iter().enumerate() {
        order[*layer].push(node);
    }
    for nodes in &mut order {
        nodes.sort_by_key(|node| rank(*node));
    }
    for sweep in 0..8 {
        let forth = sweep % 2 == 0;
        let layers: Vec<usize> =
            if forth { (1..count).collect() } else { (0..count.saturating_sub(1)).rev().collect() };
        for at in layers {
            let beside = &order[if forth { at - 1 } else { at + 1 }];
            let mean = |node: usize| {
                let joined = steps.iter().filter_map(|step| match forth {
                    true if step.1 == node => Some(step.0),
                    false if step.0 == node => Some(step.1),
                    _ => None,
                });
                let places: Vec<f64> =
                    joined.filter_map(|other| beside.iter().position(|n| *n == other)).map(to_f64).collect();
                (!places.is_empty()).then(|| places.iter().sum::<f64>() / to_f64(places.len()))
            };
            let mut keyed: Vec<(f64, usize)> = Vec::new();
            let mut last = 0.0;
            for node in &order[at] {
                // A box that is joined to none of them stays where it is.
                last = mean(*node).unwrap_or(last);
                keyed.push((last, *node));
            }
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            order[at] = keyed.into_iter().map(|(_, node)| node).collect();
        }
    }
    order
}

/// The height of each box's middle: near the middle of the boxes that it is joined to, and clear of its neighbours.
fn heights(sizes: &[(f64, f64)], order: &[Vec<usize>], steps: &[(usize, usize)]) -> Vec<f64> {
    let mut middles = vec![0.0; sizes.len()];
    for nodes in order {
        stack(nodes, sizes, &mut middles, |_| 0.0);
    }
    for sweep in 0..12 {
        let forth = sweep % 2 == 0;
        let layers: Vec<&Vec<usize>> = if forth { order.iter().collect() } else { order.iter().rev().collect() };
        for nodes in layers {
            let now = middles.clone();
            stack(nodes, sizes, &mut middles, |node| {
                let joined = steps.iter().filter_map(|step| match forth {
                    true if step.1 == node => Some(now[step.0]),
                    false if step.0 == node => Some(now[step.1]),
                    _ => None,
                });
                let heights: Vec<f64> = joined.collect();
                if heights.is_empty() { now[node] } else { heights.iter().sum::<f64>() / to_f64(heights.len()) }
            });
        }
    }
    middles
}

/// Puts the boxes of a layer as near to where they want to be as their neighbours allow (the least sum of squares).
fn stack(nodes: &[usize], sizes: &[(f64, f64)], middles: &mut [f64], wanted: impl Fn(usize) -> f64) {
    // Without the space that each box needs, the only condition left is that heights must not fall.
    let mut offset = 0.0;
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    let mut offsets = Vec::new();
    for (i, node) in nodes.iter().enumerate() {
        if let Some(before) = i.checked_sub(1).map(|before| nodes[before]) {
            offset += f64::midpoint(sizes[before].1, sizes[*node].1) + GAP.1;
        }
        offsets.push(offset);
        blocks.push((wanted(*node) - offset, 1));
        while let [.., (a, n), (b, m)] = blocks.as_slice()
            && a > b
        {
            let joined = ((a * to_f64(*n) + b * to_f64(*m)) / to_f64(n + m), n + m);
            blocks.truncate(blocks.len() - 2);
            blocks.push(joined);
        }
    }
    let levels = blocks.into_iter().flat_map(|(level, count)| std::iter::repeat_n(level, count));
    for ((node, offset), level) in nodes.iter().zip(offsets).zip(levels) {
        middles[*node] = level + offset;
    }
}

#[expect(clippy::cast_precision_loss, reason = "the number of boxes in a picture")]
fn to_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_way_back_is_the_last_edge_of_its_circle() {
        let graph =
            Graph { sizes: vec![(10.0, 10.0); 4], edges: vec![(0, 1), (1, 2), (2, 3), (3, 1)], last: Vec::new() };
        let layers = layout(&graph, 0.0);
        assert_eq!(layers.layer, [0, 1, 2, 3]);
        assert_eq!(layers.ways.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, true, false]);
    }

    proptest! {
        #[test]
        fn boxes_stand_apart_and_lines_lead_to_the_right(
            heights in prop::collection::vec(10.0..200.0_f64, 1..12),
            edges in prop::collection::vec((0..12_usize, 0..12_usize), 0..30),
        ) {
            let count = heights.len();
            let edges = edges.into_iter().map(|(from, to)| (from % count, to % count)).collect();
            let graph = Graph { sizes: heights.into_iter().map(|height| (80.0, height)).collect(), edges, last: vec![0] };
            let layers = layout(&graph, 20.0);
            for nodes in &layers.order {
                for pair in nodes.windows(2) {
                    let (above, below) = (layers.places[pair[0]], layers.places[pair[1]]);
                    prop_assert!(above.bottom() + GAP.1 <= below.y + 0.01, "{above:?} {below:?}");
                }
            }
            for place in &layers.places {
                prop_assert!(place.y >= 19.99 && place.bottom() <= layers.bottom && place.right() <= layers.right);
            }
            for way in layers.ways.iter().flatten() {
                for pair in way.windows(2) {
                    prop_assert_eq!(layers.layer[pair[0]] + 1, layers.layer[pair[1]]);
                }
            }
        }
    }
}
