-- NAME. Fill in the five texts; nothing else has to change.
-- `baton check` finds mistakes, and `baton demo` shows the agent at work.

CREATE AGENT IDENT WITH (
  name = 'QUOTED',
  description = 'Say in one sentence what it does.',
  -- A message goes to the agent whose `input` it is like. Say what such a message is and how far the work on it has come,
  -- in the words that it begins with.
  input = 'Say what it takes.',
  output = 'Say what it publishes.',
  prompt = 'Tell the model who it is, what it is to do with the message, and in what form it answers.',
  -- How the agent's own message begins: the next agent is chosen by it. Use words that `input` does not have.
  reply = 'Say what the message is now.'
);
