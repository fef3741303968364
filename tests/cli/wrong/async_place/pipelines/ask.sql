INSERT INTO best SELECT email, 'x' FROM leads WHERE ask(email) = 'yes';
INSERT INTO best SELECT ask(email) AS a, ask('b') AS b FROM leads;
INSERT INTO best SELECT CASE WHEN id > 1 THEN ask(email) END, ask(ask(email)) FROM leads;
INSERT INTO best SELECT ask(id, email), 'x' FROM leads;
