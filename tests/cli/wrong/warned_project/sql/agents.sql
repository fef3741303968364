CREATE AGENT refund WITH (
  name = 'Refund Agent', description = 'Pays back.', input = 'An order of a customer that arrived broken.',
  output = 'A refund.'
);
CREATE AGENT exchange WITH (
  name = 'Exchange Agent', description = 'Sends another.', input = 'An order of a customer that has arrived broken.',
  output = 'Say what it publishes.'
);
