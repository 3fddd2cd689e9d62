-- What each credential used of each service on each UTC day, as last told by the portal
-- or a file. The service '' says that the whole day was read.
CREATE TABLE usage (
  name     TEXT NOT NULL,
  day      INTEGER NOT NULL,           -- since 1970-01-01
  service  TEXT NOT NULL,
  requests REAL NOT NULL CHECK (requests >= 0),
  credits  REAL NOT NULL CHECK (credits >= 0),
  read_at  INTEGER NOT NULL,
  source   TEXT NOT NULL,
  PRIMARY KEY (name, day, service)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_day ON usage (day);

-- The credentials' client ids, and which budgets have cut off what.
CREATE TABLE usage_state (
  key     TEXT PRIMARY KEY,
  value   TEXT NOT NULL,             -- JSON
  updated INTEGER NOT NULL
) STRICT;
