CREATE AGENT legal_review WITH (
  name = 'Legal Review Agent', description = 'd', input = 'i', output = 'o', prompt = 'p', reply = 'r'
);
