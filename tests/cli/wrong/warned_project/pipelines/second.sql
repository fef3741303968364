INSERT INTO results SELECT upper(value) AS value FROM agent_messages;
