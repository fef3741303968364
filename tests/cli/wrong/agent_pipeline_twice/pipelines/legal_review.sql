INSERT INTO agent_messages SELECT value, 'w' FROM t;
