//! The words that the offline method knows beforehand: which say nothing, which deny, and which mean the same.
//!
//! General language alone: nothing here belongs to one catalogue of agents. How words are taken out of a text is the
//! business of `words`.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// Words that say nothing about what a text is.
const STOP_WORDS: &str = "\
    a about above after again all already also am an and any anyone anything are as ask asked asks at back be \
    because been before being best better between both but by came can come comes could did do does doing done \
    down due during each either else etc even ever every everyone few for from further get gets getting give \
    given gives go goes going good got had has have having he hello her here hers hey hi him his how i if in \
    into is it its itself just kind kindly know let like lot made make makes making many may me might mine more \
    most much must my need needed needs now of off on once one only onto or other others our ours out over own \
    per please put really same say says see shall she should since so some someone something soon still such \
    take taken takes tell than thank thanks that the their theirs them then there these they thing things this \
    those through thus to too two under until up upon us use used uses using very via want wanted wants was way \
    we well went were what when where whether which while who whom whose why will with within would yet you your \
    yours";

/// What every description of an agent has, and what speaks to the one that dispatches: no news either.
const TRADE_WORDS: &str = "\
    accept accepted accepts agent agents input message messages output outputs ignore instruction instructions \
    previous route routed forward dispatch dispatcher";

/// What denies the words after it. The second line is German, French, Spanish and Polish.
const NEGATIONS: &str = "\
    not no never without nor none neither cannot lacks lacking isn aren wasn weren hasn haven hadn don doesn \
    didn won wouldn couldn shouldn nobody nothing \
    nicht kein keine keinen niemand ohne pas aucun aucune sans sin nadie ningún ninguna nie bez nikt";

/// A sentence with one of these speaks of those who work on messages, or to them, and not of what it is itself.
const ABOUT_AGENTS: &str = "agents classifier dispatcher dispatchers router routers override";

/// How the lines at the head of an e-mail begin, in English, German, French, Spanish and Polish.
const RECIPIENT: &str = "to an à para do recipient recipients empfänger";
const SUBJECT: &str = "subject betreff objet asunto asuntos temat subjects";
const SENDER: &str = "from von de od";

/// Values that deny the field that they are in: "scored: false".
const EMPTY: &str = "false|no|none|null|n/a|open|pending|missing|outstanding|unknown|not yet|not given|-|–|—";

/// Words of one meaning, each group on a line, its first word standing for all. Irregular forms are among them, because
/// an ending is all that `words` takes off.
const SAME: &[&str] = &[
    "begin began begun start",
    "bill invoice",
    "break broke broken",
    "company firm enterprise",
    "finish complete final finalise finalize",
    "cv resume",
    "email mail",
    "employee staff",
    "examine inspect investigate research study verify",
    "holiday vacation",
    "lead prospect",
    "package parcel",
    "pay paid",
    "purchase buy bought",
    "raw fresh incoming new submit untouched unprocessed",
    "salary wage",
    "score grade point rate rating assess judge evaluate",
    "send sent dispatch",
    "teach taught",
    "think thought",
    "website site homepage",
    "write wrote written",
];

/// Words that mean one thing together, and the word that stands for them.
pub(crate) const PHRASES: &[(&[&str], &str)] = &[
    (&["look into", "looks into", "looked into", "looking into", "find out", "finds out", "found out"], "investigate"),
    (&["log in", "logged in", "logging in", "log on", "sign in", "signed in", "signing in"], "login"),
];

/// Words of other languages by how they begin, and the English ones that they stand for: the few that say what a business
/// text is and how far the work on it has come. More than that is a model's part.
const FOREIGN: &[(&str, &str)] = &[
    // German
    ("bericht", "report"),
    ("bewert", "score"),
    ("fertig", "finish"),
    ("formular", "form"),
    ("neue", "new"),
    ("nächst", "next"),
    ("punkt", "point"),
    ("recherch", "research"),
    ("schritt", "step"),
    ("verschick", "send"),
    ("versend", "send"),
    ("versand", "send"),
    ("webformular", "form"),
    // French
    ("courriel", "email"),
    ("étape", "step"),
    ("évalué", "score"),
    ("noté", "score"),
    ("nouve", "new"),
    ("prochain", "next"),
    ("rapport", "report"),
    ("terminé", "finish"),
    // Spanish
    ("correo", "email"),
    ("enviar", "send"),
    ("evaluad", "score"),
    ("formulario", "form"),
    ("informe", "report"),
    ("investigación", "research"),
    ("nuev", "new"),
    ("puntos", "point"),
    ("próxim", "next"),
    ("siguiente", "next"),
    ("terminad", "finish"),
    // Polish
    ("formularz", "form"),
    ("gotow", "finish"),
    ("kolejn", "next"),
    ("krok", "step"),
    ("następn", "next"),
    ("nowe", "new"),
    ("nowy", "new"),
    ("ocen", "score"),
    ("raport", "report"),
    ("rozpoznani", "research"),
    ("sprawdz", "research"),
    ("surow", "raw"),
    ("wysła", "send"),
];

/// The words that are no terms, looked up for every word of every text.
pub(crate) static SKIPPED: LazyLock<HashSet<&str>> =
    LazyLock::new(|| STOP_WORDS.split(' ').chain(TRADE_WORDS.split(' ')).collect());
pub(crate) static DENYING: LazyLock<HashSet<&str>> = LazyLock::new(|| NEGATIONS.split(' ').collect());

pub(crate) static OF_AGENTS: LazyLock<HashSet<&str>> = LazyLock::new(|| ABOUT_AGENTS.split(' ').collect());

static SYNONYMS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let mut synonyms = HashMap::new();
    for group in SAME {
        let mut words = group.split(' ').map(stem);
        let first = words.next().unwrap_or_default();
        synonyms.extend(words.map(|word| (word, first.clone())));
    }
    synonyms
});
static BEGINNINGS: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
    let mut beginnings: Vec<_> = FOREIGN.iter().map(|(word, english)| (*word, one_meaning(stem(english)))).collect();
    beginnings.sort();
    beginnings
});

/// Whether a line that begins with `key` and a colon is of an e-mail's head, and which.
pub(crate) fn heading(key: &str) -> Option<Heading> {
    let is = |keys: &str| keys.split(' ').any(|of| of == key);
    if is(RECIPIENT) {
        Some(Heading::Recipient)
    } else if is(SUBJECT) {
        Some(Heading::Subject)
    } else if is(SENDER) {
        Some(Heading::Sender)
    } else {
        None
    }
}

/// A line at the head of an e-mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heading {
    Recipient,
    Subject,
    Sender,
}

/// Whether a field with this value is not filled.
pub(crate) fn is_empty(value: &str) -> bool {
    EMPTY.split('|').any(|empty| empty == value)
}

/// What stands for `word` and for all that mean the same.
pub(crate) fn meaning(word: &str) -> String {
    let after = BEGINNINGS.partition_point(|(beginning, _)| *beginning <= word);
    match after.checked_sub(1).and_then(|index| BEGINNINGS.get(index)) {
        Some((beginning, english)) if word.starts_with(beginning) => english.clone(),
        _ => one_meaning(stem(word)),
    }
}

fn one_meaning(stem: String) -> String {
    SYNONYMS.get(&stem).cloned().unwrap_or(stem)
}

/// The form that the inflections of an English word share, near enough. Words in other scripts stay as they are.
pub(crate) fn stem(word: &str) -> String {
    if !word.is_ascii() || word.len() < 4 {
        return word.to_owned();
    }
    let mut stem = word.to_owned();
    if let Some(base) = ["ies", "ied"].iter().find_map(|end| stem.strip_suffix(end)).filter(|base| base.len() > 2) {
        stem = format!("{base}y");
    } else if stem.ends_with('s') && !["ss", "us", "is"].iter().any(|end| stem.ends_with(end)) {
        stem.pop();
    }
    for suffix in ["ization", "isation", "ation", "ition", "ing", "ed", "ment", "ion", "er", "or", "ly", "e"] {
        let Some(base) = stem.strip_suffix(suffix) else { continue };
        let has_vowel = base.bytes().any(|byte| b"aeiouy".contains(&byte));
        // "ion" belongs to the stem of "million" and "version", not to that of "ingestion".
        let least = if matches!(suffix, "ion" | "ly") { 5 } else { 3 };
        if base.len() < least || !has_vowel || (suffix == "ion" && !base.ends_with(['s', 't'])) {
            continue;
        }
        stem = base.to_owned();
        let bytes = stem.as_bytes();
        let doubled = bytes.len() > 3 && bytes[bytes.len() - 1] == bytes[bytes.len() - 2];
        if doubled && !stem.ends_with(['l', 's', 'e']) {
            stem.pop();
        }
        break;
    }
    if let Some(base) = stem.strip_suffix('y').filter(|base| base.len() > 2) {
        stem = format!("{base}i");
    } else if let Some(base) = stem.strip_suffix('e').filter(|base| base.len() > 2) {
        stem = base.to_owned();
    }
    stem
}
