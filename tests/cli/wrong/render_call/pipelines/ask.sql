-- Each runs here; none has a form that Arroyo runs the same way.
INSERT INTO best SELECT id, answer FROM (SELECT id, ask(upper(email)) AS answer FROM leads) WHERE id > 1;
INSERT INTO best WITH l AS (SELECT id, email FROM leads) SELECT id, ask(email) FROM l;
INSERT INTO best SELECT id, array_to_string((SELECT array_agg(name) FROM sizes), ',') FROM leads;
INSERT INTO best SELECT id, email FROM leads WHERE email IN (SELECT name FROM sizes WHERE size > 1000);
INSERT INTO best SELECT id, email FROM leads WHERE id > (SELECT min(size) FROM sizes);
