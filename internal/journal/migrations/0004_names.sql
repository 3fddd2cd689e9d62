-- Where a credential's history began: under another name. Of that name's events those up
-- to former_seq belong to it; later ones are of somebody who took the name over.
CREATE TABLE renames (
  name       TEXT PRIMARY KEY,
  former     TEXT NOT NULL,
  former_seq INTEGER NOT NULL,
  at         INTEGER NOT NULL,
  by         TEXT NOT NULL
) STRICT;

-- Credentials that a person retired for good, by their items: a config that still has one
-- is told so, and nothing is done for it.
CREATE TABLE retired (
  portal TEXT NOT NULL,
  item   TEXT NOT NULL,
  name   TEXT NOT NULL,
  at     INTEGER NOT NULL,
  by     TEXT NOT NULL,
  PRIMARY KEY (portal, item)
) STRICT, WITHOUT ROWID;
