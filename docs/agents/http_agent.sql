-- An agent that is an HTTP service. Copy this file to pipelines/ and change its texts and the URL.
--
-- Baton posts each message as JSON and publishes the answer. The service answers 200 with {"context": "…"}, whose first
-- words say what the message is now; further fields go into the message. It may get a message twice, with the same
-- header Idempotency-Key. A message that it does not answer goes to dead_letters, after the retries.

CREATE AGENT invoice_check WITH (
  name        = 'Invoice Check Agent',
  description = 'Compares an invoice with its order.',
  input       = 'An invoice from a supplier that nobody has checked.',
  output      = 'An invoice with the result of the check.',
  url         = 'http://localhost:8080/invoices',
  options     = '{"timeout": "30s", "retries": 2, "headers": {"Authorization": "Bearer ${INVOICE_TOKEN}"}}'
);
