-- Another pipeline's mistakes are no matter here, but its agents are.
SELEC 1;
CREATE AGENT scoring WITH (name = 'Scoring Agent', description = 'd', output = 'o');
