//! Colours and fonts of pictures, for light and dark pages.

use std::fmt::Write as _;

/// For which page a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Whatever the reader's system prefers.
    Auto,
    /// A light page.
    Light,
    /// A dark page.
    Dark,
}

/// What does not depend on the page.
const FONTS: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','Helvetica Neue',Arial,sans-serif;font-size:11px}\
.name{font-size:13px;font-weight:600}\
.code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace}\
.edge,.mark{fill:none;stroke-width:1.5}\
.dashed{stroke-dasharray:5 4}\
.box{stroke-width:1.5}\
.label{stroke-width:1}";

/// A class, and what it is on a light and on a dark page.
const COLOURS: [(&str, &str, &str); 15] = [
    (".page", "fill:#ffffff", "fill:#0d1117"),
    (".name", "fill:#1f2328", "fill:#f0f6fc"),
    (".note", "fill:#59636e", "fill:#9198a1"),
    (".code", "fill:#424a53", "fill:#c3cad2"),
    (".edge", "stroke:#818b98", "stroke:#6e7681"),
    (".head", "fill:#818b98", "fill:#6e7681"),
    (".label", "fill:#ffffff;stroke:#d1d9e0", "fill:#0d1117;stroke:#3d444d"),
    (".topic", "fill:#ddf4ff;stroke:#0969da", "fill:#0c2440;stroke:#4493f8"),
    (".pipeline", "fill:#f6f8fa;stroke:#59636e", "fill:#161b22;stroke:#9198a1"),
    (".call", "fill:#fbefff;stroke:#8250df", "fill:#251a3a;stroke:#ab7df8"),
    (".agent", "fill:#dafbe1;stroke:#1a7f37", "fill:#0f2a19;stroke:#3fb950"),
    (".people", "fill:#fff8c5;stroke:#9a6700", "fill:#2b2412;stroke:#d29922"),
    (".dead", "fill:#ffebe9;stroke:#cf222e", "fill:#331417;stroke:#f85149"),
    (".mark", "stroke:#8250df", "stroke:#ab7df8"),
    (".star", "fill:#8250df", "fill:#ab7df8"),
];

/// The style sheet of a picture.
pub fn css(theme: Theme) -> String {
    let rules = |is_dark: bool| {
        COLOURS.iter().fold(String::new(), |mut out, (class, light, dark)| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{class}{{{}}}", if is_dark { dark } else { light });
            out
        })
    };
    match theme {
        Theme::Light => format!("{FONTS}{}", rules(false)),
        Theme::Dark => format!("{FONTS}{}", rules(true)),
        Theme::Auto => format!("{FONTS}{}@media (prefers-color-scheme: dark){{{}}}", rules(false), rules(true)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contrast of two colours, as the Web Content Accessibility Guidelines define it.
    fn contrast(a: &str, b: &str) -> f64 {
        let light = |colour: &str| {
            let part = |at: usize| {
                let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
                if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
            };
            0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
        };
        let (a, b) = (light(a), light(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn texts_and_lines_stand_out() {
        for is_dark in [false, true] {
            let of = |class: &str, property: &str| {
                let (_, light, dark) = COLOURS.iter().find(|(c, ..)| *c == class).unwrap();
                let rule = if is_dark { dark } else { light };
                rule.split(';').find_map(|r| r.strip_prefix(property)).unwrap()[1..].to_string()
            };
            for text in [".name", ".note", ".code"] {
                for behind in [".page", ".label", ".topic", ".pipeline", ".call", ".agent", ".people", ".dead"] {
                    let contrast = contrast(&of(text, "fill"), &of(behind, "fill"));
                    assert!(contrast >= 4.5, "{text} on {behind}, dark {is_dark}: {contrast}");
                }
            }
            for line in [".edge", ".topic", ".pipeline", ".call", ".agent", ".people", ".dead"] {
                let contrast = contrast(&of(line, "stroke"), &of(".page", "fill"));
                assert!(contrast >= 3.0, "{line}, dark {is_dark}: {contrast}");
            }
        }
    }
}
