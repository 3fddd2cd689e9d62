-- Times are nanoseconds since 1970 UTC; NULL is unknown or never.

CREATE TABLE records (
  name    TEXT PRIMARY KEY,
  portal  TEXT NOT NULL,
  item    TEXT NOT NULL,
  phase   TEXT NOT NULL,
  next_at INTEGER,
  epoch   INTEGER NOT NULL CHECK (epoch > 0),
  seq     INTEGER NOT NULL,          -- number of the credential's last event
  head    BLOB NOT NULL,             -- and its hash; 32 zero bytes before the first
  format  INTEGER NOT NULL,          -- of body
  body    TEXT NOT NULL              -- rotate.Record as JSON
) STRICT;

CREATE INDEX records_identity ON records (portal, item);
CREATE INDEX records_next ON records (next_at);

CREATE TABLE events (
  name        TEXT NOT NULL REFERENCES records (name),
  seq         INTEGER NOT NULL CHECK (seq > 0),
  at          INTEGER NOT NULL,
  kind        TEXT NOT NULL,
  portal      TEXT NOT NULL,
  rotation_id TEXT NOT NULL,
  format      INTEGER NOT NULL,      -- of body
  body        TEXT NOT NULL,         -- rotate.Event as JSON
  hash        BLOB NOT NULL,         -- SHA-256 of the hash before it and body
  PRIMARY KEY (name, seq)
) STRICT;

CREATE INDEX events_kind ON events (portal, kind, at);
CREATE INDEX events_at ON events (at);

CREATE TRIGGER events_no_update BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'history is append-only: an event cannot be changed'); END;

CREATE TRIGGER events_no_delete BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'history is append-only: an event cannot be deleted'); END;

-- INSERT OR REPLACE deletes without a delete trigger.
CREATE TRIGGER events_no_replace BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE name = NEW.name AND seq = NEW.seq)
BEGIN SELECT RAISE(ABORT, 'history is append-only: the event is there already'); END;

CREATE TRIGGER records_no_delete BEFORE DELETE ON records
BEGIN SELECT RAISE(ABORT, 'a credential and its history are never deleted'); END;

CREATE TABLE alert_state (
  key     TEXT PRIMARY KEY,
  value   TEXT NOT NULL,             -- JSON
  updated INTEGER NOT NULL
) STRICT;

CREATE TABLE portal_state (
  key     TEXT PRIMARY KEY,
  value   TEXT NOT NULL,             -- JSON
  updated INTEGER NOT NULL
) STRICT;

-- What is known of the file itself: created_at, and copied_at in a backup that was
-- not opened yet.
CREATE TABLE journal_facts (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;
