-- What was last known of each credential's settings, by portal and item: what the portal has, what
-- was corrected, and which differences were taken as meant.
CREATE TABLE settings_state (
  key     TEXT PRIMARY KEY,
  value   TEXT NOT NULL,             -- JSON
  updated INTEGER NOT NULL
) STRICT;
