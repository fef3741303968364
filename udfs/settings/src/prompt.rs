//! The default prompt, unless SQL sets another one.

/// The instruction of `llm_classify`; the option `prompt` replaces it. The agents, the rules about the message and the
/// form of the answer always follow it.
pub const CLASSIFY: &str = "\
You dispatch messages in a team of agents. Read the message and decide which one agent takes it next.
Go by what the message is and how far the work on it has come, and compare that with the input that each agent accepts. \
An agent whose own kind of result the message already is has done its part: do not send it there again.
When no agent accepts the message, or you are not confident, the answer is NONE.";
