//! The closed list of error codes; `docs/errors.md` is made from it.

/// A code, as in `error[Q101]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(pub &'static str);

/// A code and its meaning.
#[derive(Debug, Clone, Copy)]
pub struct CodeDoc {
    /// The code.
    pub code: Code,
    /// What it means, in one sentence.
    pub title: &'static str,
}

macro_rules! codes {
    ($($(#[$attr:meta])* $name:ident = $code:literal, $title:literal;)*) => {
        impl Code {
            $(#[doc = $title] $(#[$attr])* pub const $name: Code = Code($code);)*
        }
        /// Every code, in order.
        #[must_use]
        pub fn all() -> &'static [CodeDoc] {
            &[$(CodeDoc { code: Code($code), title: $title }),*]
        }
    };
}

codes! {
    // P: project, files, command line
    FILE = "P001", "A file cannot be read.";
    NO_PIPELINE = "P002", "No pipeline of that name exists.";
    NO_PROJECT = "P003", "No project folder (one with `pipelines/` and `sql/`) was found.";
    ENVIRONMENT = "P004", "An environment variable is missing or has a wrong value.";
    LABELLED = "P005", "A file of labelled messages is wrong.";
    EVAL = "P006", "A pipeline cannot be evaluated.";
    // S: syntax
    SYNTAX = "S001", "The text is not SQL.";
    STATEMENT = "S002", "Pipelines cannot contain this kind of statement.";
    // T: tables, their columns and options
    TABLE_TWICE = "T001", "A table or view is defined twice.";
    TABLE_UNKNOWN = "T002", "A table is used that is not defined.";
    COLUMN_TYPE = "T003", "A column has a type that does not exist or cannot be used here.";
    OPTION_UNKNOWN = "T101", "An option is not known to the connector or format.";
    OPTION_MISSING = "T102", "A required option is missing.";
    OPTION_VALUE = "T103", "An option has a value that it does not take.";
    CONNECTOR_UNKNOWN = "T104", "No connector has that name.";
    FORMAT_COLUMNS = "T105", "The columns do not fit the format.";
    METADATA = "T106", "A metadata column is unknown to the connector or has the wrong type.";
    TABLE_DIRECTION = "T107", "A source is written to, or a sink is read from.";
    DEAD_LETTERS = "T108", "A table cannot take the messages that another table cannot read.";
    AGENT_TWICE = "T109", "Two agents have the same name or topic, or an agent has the topic of a table.";
    // Q: queries
    COLUMN_UNKNOWN = "Q101", "A column does not exist where it is used.";
    FUNCTION_UNKNOWN = "Q102", "A function does not exist.";
    TYPE_MISMATCH = "Q103", "A value has a type that does not fit where it is used.";
    INSERT_COLUMNS = "Q104", "An INSERT gives more or fewer columns than its table has.";
    UNSUPPORTED = "Q105", "The embedded engine cannot run this, another engine can.";
    REFUSED = "Q106", "No engine runs this on a stream.";
    ASYNC_PLACE = "Q107", "An async UDF is called where it cannot be.";
    QUERY = "Q108", "A query cannot be planned.";
    NO_INSERT = "Q109", "A pipeline has no INSERT, so it would do nothing.";
    CONSTANT = "Q110", "A constant table or a query over it cannot be computed.";
    RENDER = "Q111", "A query has no form that Arroyo runs the same way.";
    // U: UDFs
    UDF_SOURCE = "U001", "A UDF's source does not have the form of a UDF.";
    UDF_TYPE = "U002", "A UDF takes or returns a type that UDFs cannot have.";
    UDF_COMPILE = "U003", "A UDF does not compile.";
    UDF_LOAD = "U004", "A compiled UDF cannot be loaded.";
    UDF_TOOLCHAIN = "U005", "UDFs cannot be compiled because a tool is missing.";
    UDF_OPTIONS = "U006", "The options of `llm_classify` or `llm_complete`, or the URL or options of `http_call`, are wrong.";
    // W: what may be a mistake
    AGENTS_OVERLAP = "W101", "Two agents take nearly the same input.";
    AGENT_NOT_EXPECTED = "W102", "No labelled message expects an agent.";
    TABLE_UNUSED = "W103", "No pipeline reads or writes a table of `sql/`.";
    SECRET_IN_SQL = "W104", "SQL contains a secret.";
    VARIABLE_UNKNOWN = "W105", "An environment variable looks like a setting of Baton and is not one.";
    READ_TWICE = "W106", "Two pipelines read the same messages.";
    AGENT_NOT_FILLED_IN = "W107", "An agent has a text of `baton new agent` that nobody has filled in.";
    // R: while running
    SOURCE_FAILED = "R001", "A source stopped with an error.";
    SINK_FAILED = "R002", "A sink could not deliver.";
    BAD_DATA = "R003", "A message could not be decoded.";
    ROW_FAILED = "R004", "A row could not be computed.";
    BROKER = "R005", "The Kafka broker cannot be reached or refuses the connection.";
    TOPIC_MISSING = "R006", "A Kafka topic does not exist.";
    UDF_REJECTED = "R007", "A UDF cannot answer any row: the service that it calls refuses its key or its settings.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique() {
        let mut seen = std::collections::HashSet::new();
        for doc in all() {
            assert!(seen.insert(doc.code), "{} is there twice", doc.code.0);
        }
    }
}
