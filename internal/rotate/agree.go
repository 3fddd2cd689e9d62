package rotate

import (
	"fmt"
	"time"
)

// showing is what one sink shows, compared with the journal.
type showing string

const (
	showsLive      showing = "live"
	showsNew       showing = "new"      // the rotation's new key, not yet journalled as committed
	showsPrevious  showing = "previous" // an older key of ours
	showsNever     showing = "never"    // never had a version, or only a claim
	showsVanished  showing = "vanished"
	showsAhead     showing = "ahead"
	showsForeign   showing = "foreign"
	showsOtherItem showing = "other_item"
	showsNewFormat showing = "new_format"
	showsFormer    showing = "former" // a key of an item that this credential had before
)

// show compares one entry with the record. It decides by the fingerprint of the
// key that is really there (rule 3); the meta only explains it.
func (in *In) show(e Entry) showing {
	r, m := &in.Record, e.Meta
	if m != nil && m.Format > MetaFormat {
		return showsNewFormat
	}
	fp := e.Key.Fingerprint()
	if in.formerKey(e) {
		return showsFormer
	}
	if m != nil && m.Item != "" && m.Item != r.ID.Item && !in.formerMeta(m) {
		if in.successor(m) && m.Key.Fingerprint == fp {
			return showsAhead
		}
		return showsOtherItem
	}
	if fp == "" {
		if r.Live.Fingerprint == "" && (!e.Ever || r.Former != nil || (m != nil && m.Key.Fingerprint == "")) {
			return showsNever
		}
		return showsVanished
	}
	if rot := r.Rotation; rot != nil && rot.New.Fingerprint == fp && fp != r.Live.Fingerprint {
		return showsNew
	}
	if m != nil && m.Key.Generation > r.Live.Generation && m.Key.Fingerprint == fp {
		return showsAhead
	}
	switch {
	case fp == r.Live.Fingerprint:
		return showsLive
	case fp == r.Previous.Fingerprint:
		return showsPrevious
	case m != nil && m.Key.Fingerprint == fp && m.Key.Generation > 0:
		return showsPrevious
	case r.ClientID != "" && fp.Slot() != NoSlot && fp.ClientTail() != tailOf(r.ClientID):
		return showsOtherItem
	}
	return showsForeign
}

func tailOf(clientID string) string {
	if len(clientID) < 8 {
		return ""
	}
	return clientID[len(clientID)-8:]
}

// foreignInstance tells whether another rotatord wrote last.
func (in *In) foreignInstance(e Entry) bool {
	return e.Meta != nil && e.Meta.Instance != "" && e.Meta.Instance != in.Instance
}

func driftOf(s showing) Drift {
	switch s {
	case showsVanished, showsNever:
		return DriftSinkEmpty
	case showsAhead:
		return DriftSinkAhead
	case showsPrevious, showsFormer:
		return DriftSinkBehind
	case showsOtherItem:
		return DriftSinkOtherItem
	case showsNewFormat:
		return DriftMalformed
	case showsLive, showsNew, showsForeign:
		return DriftSinkForeign
	}
	return DriftSinkForeign
}

// sinkDrift compares every sink with the journal, outside of publishing.
func (in *In) sinkDrift() (Drift, string) {
	for i, s := range in.View.Sinks {
		if s.Err != nil {
			if CauseOf(s.Err) == CauseMalformed {
				return DriftMalformed, "sink " + s.Name + ": " + s.Err.Error()
			}
			continue
		}
		sh := in.show(s.Entry)
		if sh == showsLive || ((sh == showsNever || sh == showsFormer) && in.Record.Live.Fingerprint == "") {
			if i == 0 && in.foreignInstance(s.Entry) {
				return DriftForeignInstance, fmt.Sprintf("sink %s was last written by rotatord instance %s; this one is %s",
					s.Name, s.Entry.Meta.Instance, in.Instance)
			}
			continue
		}
		if i > 0 && (sh == showsNever || wentBack(sh)) {
			return DriftSinksDiffer, "sink " + s.Name + " does not show the key that " + in.View.Sinks[0].Name + " serves"
		}
		return driftOf(sh), fmt.Sprintf("sink %s shows %s (%s)", s.Name, orNothing(s.Entry.Key.Fingerprint()), sh)
	}
	return DriftNone, ""
}

func orNothing(f Fingerprint) string {
	if f == "" {
		return "no key"
	}
	return string(f)
}

// dateTolerance is how far two sources of one key's expiry may lie apart: the
// portal rounds to days.
const dateTolerance = 48 * time.Hour

// portalDrift compares the served key's proof with app, item and journal.
func (in *In) portalDrift() (Drift, string) {
	r, v := &in.Record, &in.View
	if r.Live.Fingerprint == "" || v.Have&NeedProof == 0 || v.err(NeedProof) != nil {
		return DriftNone, ""
	}
	if !v.Proof.Valid {
		return DriftKeyRefused, "the portal refuses the served key " + string(r.Live.Fingerprint)
	}
	if v.Proof.Item != "" && v.Proof.Item != r.ID.Item || r.ClientID != "" && v.Proof.ClientID != "" && v.Proof.ClientID != r.ClientID {
		return DriftKeyOther, "the served key belongs to item " + string(v.Proof.Item)
	}
	if v.Have&NeedApp != 0 && v.err(NeedApp) == nil && !v.App.Active[r.Live.Slot] {
		return DriftFlag, "slot " + r.Live.Slot.String() + " is flagged inactive while its key works"
	}
	if v.Have&NeedItem != 0 && v.err(NeedItem) == nil {
		item := v.Item.Expires[r.Live.Slot]
		if !item.IsZero() && !v.Proof.Expires.IsZero() && item.Sub(v.Proof.Expires).Abs() > dateTolerance {
			return DriftDates, "the item says " + stamp(item) + ", the key itself " + stamp(v.Proof.Expires)
		}
	}
	return DriftNone, ""
}

// agreement is rule 1: every sink shows the journal's key and generation, and that
// exact key was just probed valid with fitting flags and dates.
func (in *In) agreement() (Drift, string) {
	for _, s := range in.View.Sinks {
		if s.Err == nil && s.Entry.Meta != nil && s.Entry.Key.Fingerprint() == in.Record.Live.Fingerprint &&
			s.Entry.Meta.Key.Generation != in.Record.Live.Generation {
			return DriftSinkBehind, fmt.Sprintf("sink %s says generation %d, the journal %d", s.Name, s.Entry.Meta.Key.Generation, in.Record.Live.Generation)
		}
	}
	if d, why := in.sinkDrift(); d != DriftNone {
		return d, why
	}
	return in.portalDrift()
}

// sinkErr is the first later sink's read error; the first sink's is lookedAt's.
func (in *In) sinkErr() error {
	for _, s := range in.View.Sinks {
		if s.Err != nil {
			return s.Err
		}
	}
	return nil
}
