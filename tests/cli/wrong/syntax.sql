SELEC id FROM leads;
