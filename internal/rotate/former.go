package rotate

import (
	"slices"
	"time"
)

// Former is the item that a credential had before: one that was replaced because
// other privileges, referrers or item access would have killed both its keys
// (arcgis-portal-contract 4.3), or one that was to take over and was given up. What
// the journal knew of it is kept until its keys are revoked.
//
// A replacement is a first key of another item that takes over the sinks of this one:
// the record of the new item stands in the old one's place from the handover on, and
// the old one's key counts as in use until an overlap after the promotion. Before the
// first sink shows the new key the old record can be put back as it was.
type Former struct {
	Record Record    `json:"record"`
	Since  time.Time `json:"since"` // of the handover
	By     string    `json:"by,omitempty"`
	Keep   bool      `json:"keep,omitempty"` // its item is kept, without keys
	// Rushed: its keys are compromised, or no consumer ever had one: no gate is asked.
	Rushed     bool      `json:"rushed,omitempty"`
	Made       bool      `json:"made,omitempty"`       // the Heir's, for the way back
	PromotedAt time.Time `json:"promoted_at,omitzero"` // every sink serves the other item's key; zero before
	RetireAt   time.Time `json:"retire_at,omitzero"`
	RotationID string    `json:"rotation_id,omitempty"` // that published the other item's key
}

// FormerMeta is what the sinks say of it, for a journal that is lost (rule 10).
type FormerMeta struct {
	Portal   PortalID  `json:"portal"`
	Item     ItemID    `json:"item"`
	ClientID string    `json:"client_id,omitempty"`
	Key      KeyFacts  `json:"key,omitzero"`
	Previous KeyFacts  `json:"previous,omitzero"` // of an overlap that was under way
	RetireAt time.Time `json:"retire_at,omitzero"`
	Keep     bool      `json:"keep,omitempty"`
}

// Heir is the item that is to take over.
type Heir struct {
	ID ID `json:"id"`
	// Made: rotatord made the item for this, and removes it where it is given up.
	Made bool `json:"made,omitempty"`
	Keep bool `json:"keep,omitempty"` // the present item is kept, without keys
	// Compromised: the present item's client secret or keys are known to others. There is no overlap.
	Compromised bool `json:"compromised,omitempty"`
}

// drop the heir of a replacement that is not wanted, or cannot be, before the handover:
// it becomes the former item, and goes if rotatord made it.
func (r *Record) drop(by string, now time.Time) {
	h := r.Request.Heir
	r.Former = &Former{Record: Record{Name: r.Name, ID: h.ID, Phase: PhaseIdle}, Since: now, By: by, Rushed: true, Keep: !h.Made, PromotedAt: now, RetireAt: now}
	r.Formerly = formerly(r.Formerly, h.ID, r.ID)
	r.Request = nil
}

// Serving is the key that the sinks serve: the former item's until the first sink
// shows one of its successor.
func (r *Record) Serving() KeyFacts {
	if r.Unserved() {
		return r.Former.Record.Live
	}
	return r.Live
}

// Unserved tells whether a replacement is under way whose new key no sink serves yet.
func (r *Record) Unserved() bool {
	return r.Former != nil && r.Former.PromotedAt.IsZero() && r.Live.Fingerprint == ""
}

// RetiresAt is when the previous key, or the item that was replaced, may go; zero if there
// is none, or it is still served.
func (r *Record) RetiresAt() time.Time {
	if r.RetireAt.IsZero() && r.Former != nil {
		return r.Former.RetireAt
	}
	return r.RetireAt
}

// Settled is the record as if a replacement that is under way were not: the one with the
// key that sinks serve, for who looks far ahead.
func (r *Record) Settled() Record {
	s := *r
	if r.Unserved() {
		s = r.Former.Record
		s.Name, s.Epoch = r.Name, r.Epoch
	}
	if q := s.Request; q != nil && (q.Kind == RequestReplace || q.Kind == RequestBack) {
		s.Request = nil
	}
	s.Former = nil
	return s
}

// Means tells whether a config that names id means this record: its own item, one that
// it replaced, or the one that is to replace it.
func (r *Record) Means(id ID) bool {
	q := r.Request
	return r.ID == id || slices.Contains(r.Formerly, id) || q != nil && q.Heir != nil && q.Heir.ID == id
}

// At is the credential with the item that the journal knows under its name, where the
// config still, or already, names the other one of a replacement; else c itself.
func (c *Credential) At(r *Record) *Credential {
	if r.Epoch == 0 || r.ID == c.ID || r.ID == (ID{}) || !r.Means(c.ID) {
		return c
	}
	other := *c
	other.ID, other.Portal = r.ID, c.portalOf(r.ID)
	if r.ID.Portal != c.ID.Portal {
		other.Grants = nil // it asks the other portal for items
	}
	return &other
}

// portalOf an item.
func (c *Credential) portalOf(id ID) Portal {
	if p := c.Portals[id.Portal]; p != nil {
		return p
	}
	return c.Portal
}

// otherID is the item that NeedOther looks at: the former one, or the heir.
func (in *In) otherID() ID {
	switch q := in.Record.Request; {
	case in.Record.Former != nil:
		return in.Record.Former.Record.ID
	case q != nil && q.Heir != nil:
		return q.Heir.ID
	}
	return ID{}
}

// formerKey tells whether a sink's entry holds a key of an item that this credential
// had before.
func (in *In) formerKey(e Entry) bool {
	r, fp := &in.Record, e.Key.Fingerprint()
	if fp == "" {
		return false
	}
	if f := r.Former; f != nil {
		old := &f.Record
		known := fp == old.Live.Fingerprint || fp == old.Previous.Fingerprint
		itsClient := fp.Slot() != NoSlot && old.ClientID != "" && fp.ClientTail() == tailOf(old.ClientID) && tailOf(old.ClientID) != tailOf(r.ClientID)
		if known || itsClient {
			return true
		}
	}
	m := e.Meta
	return m != nil && m.Key.Fingerprint == fp && in.formerMeta(m)
}

// formerMeta tells whether a sink's facts are of an item that this credential had before.
func (in *In) formerMeta(m *Meta) bool {
	return slices.Contains(in.Record.Formerly, ID{Portal: m.Portal, Item: m.Item})
}

// successor tells whether a sink's facts, written by this rotatord, are of an item that
// replaced the one that the journal knows: the journal is older (rule 10).
func (in *In) successor(m *Meta) bool {
	return m.Instance == in.Instance && slices.Contains(m.Formerly, in.Record.ID)
}

// former as the sinks' facts have it, for a journal that is rebuilt. What the journal knows
// of that item is more.
func (m *Meta) former(r *Record, overlapTo time.Time) *Former {
	f := m.Former
	if f == nil {
		return nil
	}
	out := Former{Since: m.Published, Keep: f.Keep, PromotedAt: m.Published, RetireAt: later(f.RetireAt, overlapTo), RotationID: m.RotationID}
	out.Record = Record{Name: r.Name, ID: ID{Portal: f.Portal, Item: f.Item}, ClientID: f.ClientID, AdoptedAt: m.AdoptedAt, Phase: PhaseIdle, Live: f.Key, Previous: f.Previous}
	for _, k := range []KeyFacts{f.Previous, f.Key} {
		if k.Slot.Valid() {
			out.Record.Slots[k.Slot] = SlotState{Use: UseLive, Key: k}
		}
	}
	if known := r.Former; known != nil && known.Record.ID == out.Record.ID {
		out.Record, out.By, out.Rushed = known.Record, known.By, known.Rushed
	}
	return &out
}

// ours tells whether what a slot of the former item holds is ours to revoke (rule 2), as far
// as the journal knows.
func (f *Former) ours(s Slot) bool {
	st := &f.Record.Slots[s]
	switch st.Use {
	case UseLive, UsePrevious, UseOwn:
		return true
	case UseEmpty, UseUnknown:
		return st.Taken
	}
	return false
}

// key of ours that the slot held.
func (f *Former) key(s Slot) Fingerprint {
	for _, k := range []KeyFacts{f.Record.Slots[s].Key, f.Record.Live, f.Record.Previous} {
		if k.Slot == s && k.Fingerprint != "" {
			return k.Fingerprint
		}
	}
	return ""
}

// formerOurs tells the same from a look at the item: our key still works there, or, where
// nobody has it any more, the slot has the date that we set.
func (in *In) formerOurs(s Slot) bool {
	f, held := in.Record.Former, in.View.OtherHeld[s]
	if !f.ours(s) || f.Record.Slots[s].Taken || held.Valid {
		return f.ours(s)
	}
	return !held.Asked && !in.thatItem().foreignDate(s)
}

// thatItem is the former item as if it were the present one, as far as dates go.
func (in *In) thatItem() *In {
	return &In{Portal: in.Portal, Record: in.Record.Former.Record, View: View{Have: NeedItem, Item: in.View.OtherItem}}
}

// latestExpiry of the keys that consumers may still use; zero if one is unknown.
func (f *Former) latestExpiry() time.Time {
	live, prev := f.Record.Live, f.Record.Previous
	if prev.Fingerprint == "" {
		return live.LatestExpiry
	}
	if prev.LatestExpiry.IsZero() || live.LatestExpiry.IsZero() {
		return time.Time{}
	}
	return later(live.LatestExpiry, prev.LatestExpiry)
}

// named notes which items had the name before this one.
func (m *Meta) named(r *Record, retireAt time.Time) {
	m.Formerly = r.Formerly
	if f := r.Former; f != nil {
		old := &f.Record
		m.Former = &FormerMeta{Portal: old.ID.Portal, Item: old.ID.Item, ClientID: old.ClientID, Key: old.Live, Previous: old.Previous, RetireAt: retireAt, Keep: f.Keep}
	}
}

func (f *Former) retireAt() time.Time {
	if f == nil {
		return time.Time{}
	}
	return f.RetireAt
}
