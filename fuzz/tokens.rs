//! Changes a text of SQL token by token: what comes out is mostly SQL still, and gets as far as the planner.

use std::sync::LazyLock;

/// Tokens to put in: the dictionary of `fuzz/run`, and what the project's own SQL is made of.
static POOL: LazyLock<Vec<String>> = LazyLock::new(|| {
    let entries = include_str!("sql.dict").lines().filter_map(|l| l.strip_prefix('"')?.strip_suffix('"'));
    let mut pool: Vec<String> = entries.map(|e| e.replace("\\\"", "\"").replace("\\\\", "\\")).collect();
    for text in [
        include_str!("../pipelines/route_messages.sql"),
        include_str!("../pipelines/score_leads.sql"),
        include_str!("../sql/dead_letters.sql"),
        include_str!("../sql/agent_messages.sql"),
    ] {
        pool.extend(split(text).into_iter().filter(|t| !t.trim().is_empty() && t.len() < 60).map(str::to_string));
    }
    pool.sort();
    pool.dedup();
    pool
});

/// Does one to four of: leave tokens out, repeat them, exchange two, put in others, wrap some.
pub fn mutate(text: &str, seed: u32) -> String {
    let mut random = Random(u64::from(seed) | 1 << 32);
    let mut tokens: Vec<String> = split(text).into_iter().map(str::to_string).collect();
    for _ in 0..=random.below(4) {
        let at = random.below(tokens.len() + 1);
        let end = (at + 1 + random.below(8)).min(tokens.len());
        match random.below(7) {
            0 if at < end => drop(tokens.drain(at..end)),
            1 if at < end => {
                let copied = tokens[at..end].to_vec();
                let to = random.below(tokens.len() + 1);
                tokens.splice(to..to, copied);
            }
            2 if at < tokens.len() => {
                let other = random.below(tokens.len());
                tokens.swap(at, other);
            }
            3 if at < tokens.len() => tokens[at] = pick(&mut random),
            4 if at < end => {
                let (open, close) = [("(", ")"), ("CAST(", " AS TEXT)"), ("(SELECT ", ")"), ("ARRAY[", "]"), ("-", "")]
                    [random.below(5)];
                tokens.insert(end, close.into());
                tokens.insert(at, open.into());
            }
            _ => {
                tokens.insert(at, " ".into());
                tokens.insert(at, pick(&mut random));
                tokens.insert(at, " ".into());
            }
        }
    }
    tokens.concat()
}

fn pick(random: &mut Random) -> String {
    POOL[random.below(POOL.len())].clone()
}

/// Words, texts in quotes, and single signs; all of them together are the text.
fn split(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if matches!(first, '\'' | '"') {
            rest[1..].find(first).map_or(rest.len(), |end| end + 2)
        } else if first.is_whitespace() {
            rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % (end.max(1) as u64)).unwrap_or(0)
    }
}
