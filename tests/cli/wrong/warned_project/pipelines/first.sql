INSERT INTO results SELECT value FROM agent_messages;
