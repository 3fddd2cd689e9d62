-- The latest word of each consumer about the key that it runs. It is no history: what
-- counts is whether everybody runs the key that is served now.
CREATE TABLE acks (
  name        TEXT NOT NULL,
  consumer    TEXT NOT NULL,
  fingerprint TEXT NOT NULL,         -- empty: a generation that nobody knew
  generation  INTEGER NOT NULL,      -- 0: a fingerprint that nobody knew
  at          INTEGER NOT NULL,
  by          TEXT NOT NULL,         -- who said so
  PRIMARY KEY (name, consumer)
) STRICT;
