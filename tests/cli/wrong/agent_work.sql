CREATE AGENT both WITH (name = 'Both', description = 'd', input = 'i', output = 'o', prompt = 'p', url = 'http://localhost');
CREATE AGENT no_reply WITH (name = 'No reply', description = 'd', input = 'i', output = 'o', prompt = 'p');
CREATE AGENT no_prompt WITH (name = 'No prompt', description = 'd', input = 'i', output = 'o', reply = 'r', schema = '{}');
CREATE AGENT idle_options WITH (name = 'Idle', description = 'd', input = 'i', output = 'o', options = '{}');
CREATE AGENT own_key WITH (
  name = 'Own key', description = 'd', input = 'i', output = 'o', url = 'http://localhost', options = '{"idempotency_key": "k"}'
);
CREATE AGENT wrong_json WITH (
  name = 'Wrong', description = 'd', input = 'i', output = 'o', prompt = 'p', reply = 'r',
  schema = '{"type": ', options = '[1]'
);
CREATE AGENT two_schemas WITH (
  name = 'Two', description = 'd', input = 'i', output = 'o', prompt = 'p', reply = 'r',
  schema = '{"type": "object"}', options = '{"schema": {}}'
);
