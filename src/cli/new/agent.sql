-- NAME. Fill in the five texts; nothing else has to change.
-- `baton check` finds mistakes, and `baton demo` shows the agent at work.

CREATE AGENT IDENT WITH (
  name = 'QUOTED',
  description = 'Say in one sentence what it does.',
  -- The router chooses agents by their `input`. Say what such a message is and how far the work on it has come, in the
  -- words that it begins with.
  input = 'Say what it takes.',
  output = 'Say what it publishes.',
  prompt = 'Tell the model who it is, what it is to do with the message, and in what form it answers.',
  -- How the agent's own message begins: the next agent is chosen by it. For example: 'Review of a contract, finished.'
  reply = 'Say what the message is now.'
);
