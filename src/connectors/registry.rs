//! The list of connectors.

use super::Connector;
use super::blackhole::Blackhole;
use super::kafka::Kafka;
use super::single_file::SingleFile;
use super::stdout::Stdout;

static ALL: &[&dyn Connector] = &[&Blackhole, &Kafka, &SingleFile, &Stdout];

/// All connectors, by name.
#[must_use]
pub fn all() -> &'static [&'static dyn Connector] {
    ALL
}

/// The connector of that name.
#[must_use]
pub fn connector(name: &str) -> Option<&'static dyn Connector> {
    ALL.iter().copied().find(|c| c.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::FORMAT_OPTIONS;

    #[test]
    fn connectors_are_found_by_name_and_documented() {
        for one in all() {
            assert!(std::ptr::addr_eq(connector(one.name()).expect("found"), *one));
            assert!(one.description().ends_with('.'));
            for doc in one.options().iter().chain(FORMAT_OPTIONS) {
                assert!(!doc.description.is_empty(), "{} {}", one.name(), doc.key);
                assert!(
                    doc.choices.is_empty() || doc.default.is_none_or(|d| doc.choices.contains(&d)),
                    "{} {}: the default is none of the choices",
                    one.name(),
                    doc.key
                );
            }
        }
        assert!(all().is_sorted_by_key(|c| c.name()));
        assert!(connector("carrier_pigeon").is_none());
    }
}
