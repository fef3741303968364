INSERT INTO best SELECT 'ü' FROM leads;
