-- The first agent: it answers questions. Copy this file for the next one, or run `baton new agent "Its Name"`.

CREATE AGENT answer_questions WITH (
  name = 'Question Agent',
  description = 'Answers a question.',
  -- The router chooses agents by their `input`. Say what such a message is, in the words that it begins with.
  input = 'A new question that nobody has answered yet.',
  output = 'The answer to the question.',
  prompt = 'You answer questions for people who are in a hurry. Answer in at most 100 words of plain English. Say so when
    you do not know.',
  -- How the agent's own message begins. The next agent is chosen by it. Here none takes it, so it ends in unrouted.
  reply = 'Answered, nothing further to do.'
);
