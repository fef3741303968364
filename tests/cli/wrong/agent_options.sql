CREATE AGENT legal_review WITH (
  nmae        = 'Legal Review Agent',
  description = '',
  input       = 12,
  topic       = 'legal review',
  topic       = 'legal_review',
  examples    = 'A contract',
  replay      = 'x',
  output      = lower('A review.')
);

CREATE AGENT "Second Agent" WITH (name = 'none', description = 'd', input = 'i', output = 'o');
