CREATE AGENT legal_review (name = 'Legal Review Agent');
CREATE AGENT WITH (name = 'x');
CREATE AGENT scoring WITH (name = 'Scoring Agent', description = lower('D'), input = 'i', output = 'o') AS SELECT 1;
