-- The agents. Who takes a message follows from these rows alone: the router shows every agent's name, description and
-- input to the model and asks which one accepts the message.
--
--   name         what the model answers, what `sender` says, and what pipelines/route_messages.sql routes by
--   description  what the agent does
--   input        what it accepts: say what the message IS and how far the work on it has come, in the words that such a
--                message begins with, and let no two agents accept the same
--   output       what it publishes to agent_messages when it is done
--
-- A new agent: a row here, sql/<topic>.sql for its topic, a WHEN and an INSERT in pipelines/route_messages.sql, and a
-- table and an INSERT in pipelines/redrive.sql.
-- Until it has those two, what the model sends to it ends in dead_letters, and says so.

CREATE TABLE agents (name TEXT, description TEXT, input TEXT, output TEXT);

INSERT INTO agents VALUES
  (
    'Lead Ingestion Agent',
    'Looks into a raw lead: finds out who the person and the company are.',
    'A new, raw lead, just as it came from the web form. It has not been researched yet.',
    'A research report on the lead.'
  ),
  (
    'Lead Scoring Agent',
    'Judges how well a researched lead fits: gives it a score from 0 to 100, talking points and a next step.',
    'A research report on a lead, with findings on the person and the company. The lead has no score yet.',
    'A scored lead, with the next step: Actively Engage or Nurture.'
  ),
  (
    'Active Outreach Agent',
    'Writes one personal e-mail to book a meeting with one of the best leads.',
    'A scored lead whose next step is Actively Engage. No e-mail has been written yet.',
    'One finished e-mail, ready to be sent.'
  ),
  (
    'Nurture Campaign Agent',
    'Plans a nurture campaign: a sequence of three e-mails for a lead that needs more time.',
    'A scored lead whose next step is Nurture. No e-mails have been written yet.',
    'Three finished e-mails, ready to be sent.'
  ),
  (
    'Send Email Agent',
    'Sends e-mails. This ends the workflow.',
    'Finished e-mails, ready to be sent.',
    'The e-mails on their way; nothing is left to do.'
  );
