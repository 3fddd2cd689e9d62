package rotate

import "time"

// KeyFacts is all that may be written down about a key.
type KeyFacts struct {
	Slot        Slot        `json:"slot,omitempty"`
	Fingerprint Fingerprint `json:"fingerprint,omitempty"`
	Generation  int64       `json:"generation,omitempty"`
	// Expires is the earliest of what probe, expires_in and item say, LatestExpiry
	// the latest (rule 11). Zero is unknown.
	Expires      time.Time `json:"expires,omitzero"`
	LatestExpiry time.Time `json:"latest_expiry,omitzero"`
	MintedAt     time.Time `json:"minted_at,omitzero"`
}

// Claim is a rotation's fence in the first sink: it changes no key, but its version
// makes every older write lose.
type Claim struct {
	Generation int64     `json:"generation"` // of the key that is to come
	Slot       Slot      `json:"slot"`       // target slot; NoSlot for a roll-back
	Instance   string    `json:"instance"`
	RotationID string    `json:"rotation_id"`
	At         time.Time `json:"at"`
}

// Hold stops the start of rotations and retiring (rule 13). Until zero has no end.
type Hold struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"`
}

// Active tells whether the hold binds at now.
func (h *Hold) Active(now time.Time) bool {
	return h != nil && (h.Until.IsZero() || now.Before(h.Until))
}

func (h *Hold) sentence() string { return "held by " + h.By + ": " + h.Reason }

// Meta is what rotatord writes into every sink in the same write as the key, and
// what a lost journal is rebuilt from (rule 10). Its JSON form is the value of the
// Vault secret's meta field and the content of the file sink's NAME.meta.json.
type Meta struct {
	Format     int       `json:"format"` // 1
	Portal     PortalID  `json:"portal"`
	Item       ItemID    `json:"item"`
	Instance   string    `json:"instance"` // the rotatord that wrote last
	RotationID string    `json:"rotation_id,omitempty"`
	Key        KeyFacts  `json:"key"`
	Published  time.Time `json:"published,omitzero"`
	Previous   KeyFacts  `json:"previous,omitzero"` // in use until RetireAt
	RetireAt   time.Time `json:"retire_at,omitzero"`
	Claim      *Claim    `json:"claim,omitempty"`
	AdoptedAt  time.Time `json:"adopted_at,omitzero"`
	Hold       *Hold     `json:"hold,omitempty"`
	// Former is the item that this one replaced, until nothing is left of it.
	Former *FormerMeta `json:"former,omitempty"`
	// Formerly are all items that had the name before: a config may name one.
	Formerly []ID `json:"formerly,omitempty"`
}

// MetaFormat is the format that this version writes. A higher one is refused.
const MetaFormat = 1
