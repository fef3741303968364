-- The contracts that pipelines hold what they read to, as JSON Schemas. `contract_error(payload, schema)` is NULL when a
-- payload keeps its contract, else it says why not.
--
--   message       what anyone may publish to agent_messages (docs/agents/message.schema.json is the same, with comments)
--   change_event  a change event of MongoDB, as far as it matters here
--   emails        the list of finished e-mails that a message to the Send Email Agent carries
--   lead_score    what the model answers in pipelines/score_leads.sql
--   email_text    what the model answers in pipelines/write_outreach.sql
--   email_texts   what the model answers in pipelines/plan_nurture.sql

CREATE TABLE contracts (name TEXT, json_schema TEXT);

INSERT INTO contracts VALUES
  (
    'message',
    '{
      "type": "object",
      "required": ["context"],
      "properties": {
        "message_id": {"type": ["string", "null"], "maxLength": 200},
        "workflow_id": {"type": ["string", "null"], "maxLength": 200},
        "parent_id": {"type": ["string", "null"], "maxLength": 200},
        "hop": {"type": ["integer", "null"], "minimum": 0, "maximum": 1000000000},
        "sender": {"type": ["string", "null"], "maxLength": 200},
        "created_at": {"type": ["string", "null"], "maxLength": 100},
        "lead_data": {"type": ["object", "null"]},
        "context": {"type": "string", "pattern": "\\S"},
        "emails": {"type": ["array", "string", "null"]}
      }
    }'
  ),
  (
    'change_event',
    '{
      "type": "object",
      "required": ["operationType"],
      "properties": {"operationType": {"type": "string", "minLength": 1}}
    }'
  ),
  (
    'emails',
    '{
      "type": "array",
      "minItems": 1,
      "maxItems": 20,
      "items": {
        "type": "object",
        "required": ["to", "subject", "body"],
        "properties": {
          "to": {"type": "string", "pattern": "^[^@\\s,;<>\"]+@[^@\\s,;<>\"]+$", "maxLength": 320},
          "subject": {"type": "string", "pattern": "^[^\\r\\n]*\\S[^\\r\\n]*$", "maxLength": 500},
          "body": {"type": "string", "pattern": "\\S"},
          "send_at": {"type": ["string", "null"], "maxLength": 100}
        }
      }
    }'
  ),
  (
    'lead_score',
    '{
      "type": "object",
      "additionalProperties": false,
      "required": ["score", "next_step", "talking_points", "summary"],
      "properties": {
        "score": {"type": "integer", "minimum": 0, "maximum": 100},
        "next_step": {"type": "string", "enum": ["Actively Engage", "Nurture", "Close"]},
        "talking_points": {"type": "array", "items": {"type": "string"}},
        "summary": {"type": "string"}
      }
    }'
  ),
  (
    'email_text',
    '{
      "type": "object",
      "additionalProperties": false,
      "required": ["subject", "body"],
      "properties": {
        "subject": {"type": "string", "pattern": "\\S"},
        "body": {"type": "string", "pattern": "\\S"}
      }
    }'
  ),
  (
    'email_texts',
    '{
      "type": "object",
      "additionalProperties": false,
      "required": ["emails"],
      "properties": {
        "emails": {
          "type": "array",
          "minItems": 3,
          "maxItems": 3,
          "items": {
            "type": "object",
            "additionalProperties": false,
            "required": ["subject", "body"],
            "properties": {
              "subject": {"type": "string", "pattern": "\\S"},
              "body": {"type": "string", "pattern": "\\S"}
            }
          }
        }
      }
    }'
  );
