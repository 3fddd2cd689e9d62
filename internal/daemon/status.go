package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// Status is what people and machines are told about one credential.
type Status struct {
	Name        rotate.Name     `json:"name"`
	Portal      rotate.PortalID `json:"portal"`
	Item        rotate.ItemID   `json:"item"`
	Owner       string          `json:"owner,omitempty"`
	Environment string          `json:"environment,omitempty"`
	Consumers   []string        `json:"consumers,omitempty"`
	Mode        rotate.Mode     `json:"mode"`
	AdoptedAt   time.Time       `json:"adopted_at,omitzero"`

	Phase      rotate.Phase       `json:"phase"`
	RotationID string             `json:"rotation_id,omitempty"`
	Due        rotate.Reason      `json:"due,omitempty"`
	DueAt      time.Time          `json:"due_at,omitzero"` // by the clock alone
	Blocked    rotate.Reason      `json:"blocked,omitempty"`
	Detail     string             `json:"detail,omitempty"`
	NextAt     time.Time          `json:"next_at,omitzero"`
	Live       rotate.KeyFacts    `json:"live,omitzero"`
	Previous   rotate.KeyFacts    `json:"previous,omitzero"`
	PromotedAt time.Time          `json:"promoted_at,omitzero"`
	RetireAt   time.Time          `json:"retire_at,omitzero"`
	Slots      [2]SlotStatus      `json:"slots"` // slot 1, slot 2
	Former     *FormerStatus      `json:"former,omitempty"`
	Request    *rotate.Request    `json:"request,omitempty"`
	Hold       *rotate.Hold       `json:"hold,omitempty"`
	Quarantine *rotate.Quarantine `json:"quarantine,omitempty"`
	Drift      rotate.Drift       `json:"drift,omitempty"`
	DriftSince time.Time          `json:"drift_since,omitzero"`
	DriftSays  string             `json:"drift_detail,omitempty"`
	Attempts   int                `json:"attempts,omitempty"`
	LastError  string             `json:"last_error,omitempty"`
	LastKind   rotate.Kind        `json:"last_kind,omitempty"`
	Dates      string             `json:"dates_differ,omitempty"`   // sources that disagree about the served key's end
	Revoke     rotate.Ladder      `json:"revoke,omitzero"`          // revocations of the old key that failed
	ProofFail  time.Time          `json:"proof_failed_at,omitzero"` // a new key failed its proof
	Orphans    []rotate.Orphan    `json:"orphans,omitempty"`        // valid keys of ours that no sink serves
	Settings   *SettingsStatus    `json:"settings,omitempty"`       // nil: the config states none
	SurveyedAt time.Time          `json:"surveyed_at,omitzero"`
	ProbedAt   time.Time          `json:"probed_at,omitzero"`
	// Attention says why a person should look, and what to do; "" if nobody needs to.
	Attention string `json:"attention,omitempty"`
	Cure      string `json:"cure,omitempty"`
}

// SettingsStatus is how a credential's settings at its portal compare with the config's.
type SettingsStatus struct {
	Differ    int       `json:"differ"`              // settings
	KillKeys  int       `json:"kill_both_keys"`      // of those, that cannot be changed in place
	Contested int       `json:"contested,omitempty"` // of those, that rotatord corrects no more: somebody changes them back
	Adopted   int       `json:"adopted,omitempty"`   // further ones, taken as meant from the portal
	CheckedAt time.Time `json:"checked_at,omitzero"` // of the last look that succeeded
	Says      string    `json:"says"`                // all of it in a sentence
}

// FormerStatus is the item that was replaced, while something of it is left.
type FormerStatus struct {
	Portal   rotate.PortalID `json:"portal"`
	Item     rotate.ItemID   `json:"item"`
	Since    time.Time       `json:"since"`
	Serves   bool            `json:"serves"`             // sinks serve its key: the new item has none in service yet
	RetireAt time.Time       `json:"retire_at,omitzero"` // zero while it serves
	Keep     bool            `json:"keep,omitempty"`     // the item stays, without keys
}

// SlotStatus is what one slot holds.
type SlotStatus struct {
	Use     rotate.SlotUse  `json:"use,omitempty"`
	Key     rotate.KeyFacts `json:"key,omitzero"`
	Active  bool            `json:"active"`
	Expires time.Time       `json:"expires,omitzero"` // by the item
	Listed  time.Time       `json:"listed,omitzero"`  // by the portal's list of keys
}

// statusOf a credential by its record.
func statusOf(m Managed, r rotate.Record, now time.Time) Status {
	s := Status{Name: m.Name, Portal: m.ID.Portal, Item: m.ID.Item, Owner: m.Owner, Environment: m.Environment, Consumers: m.Consumers,
		Mode: m.Mode, AdoptedAt: r.AdoptedAt, Phase: cmp.Or(r.Phase, rotate.PhaseIdle), Due: r.Due, Blocked: r.Blocked, NextAt: r.NextAt,
		Live: r.Serving(), Previous: r.Previous, PromotedAt: r.PromotedAt, RetireAt: r.RetireAt, Request: r.Request,
		Quarantine: r.Quarantine, Drift: r.Drift, DriftSince: r.DriftSince, DriftSays: r.DriftDetail, Attempts: r.Attempts,
		LastError: r.LastError, LastKind: r.LastKind, Dates: r.DatesDiffer, Revoke: r.Revoke, ProofFail: r.ProofFailedAt, Orphans: rotate.Orphans(r, m.Policy), SurveyedAt: r.SurveyedAt, ProbedAt: r.ProbedAt}
	if r.Rotation != nil {
		s.RotationID = r.Rotation.ID
	}
	if f := r.Former; f != nil {
		s.Former = &FormerStatus{Portal: f.Record.ID.Portal, Item: f.Record.ID.Item, Since: f.Since, Serves: f.PromotedAt.IsZero(), RetireAt: f.RetireAt, Keep: f.Keep}
	}
	s.Hold = holdOf(m, r, now)
	if m.Settings != nil {
		s.Settings = m.Settings()
	}
	s.DueAt, _ = rotate.DueAt(r, m.Policy)
	for i, slot := range rotate.Slots() {
		st := r.Slots[slot]
		s.Slots[i] = SlotStatus{Use: st.Use, Key: st.Key, Active: st.Active, Expires: st.Expires, Listed: st.Listed}
	}
	s.Attention, s.Cure = attention(m, r, now)
	return s
}

func holdOf(m Managed, r rotate.Record, now time.Time) *rotate.Hold {
	switch {
	case r.Hold.Active(now):
		return r.Hold
	case m.Hold != "":
		return &rotate.Hold{Reason: m.Hold, By: "the config"}
	}
	return nil
}

// held tells whether a hold stands against a rotation that is due.
func held(m Managed, r rotate.Record, now time.Time) bool {
	at, ok := rotate.DueAt(r, m.Policy)
	return holdOf(m, r, now) != nil && ok && !now.Before(at) && !r.Phase.InCutOver()
}

// manyAttempts is how many failures in a row are worth a person's look.
const manyAttempts = 3

// attention tells why a person should look at a credential and what to do, worst first.
func attention(m Managed, r rotate.Record, now time.Time) (why, cure string) {
	name := string(m.Name)
	served := r.Serving()
	left := served.Expires.Sub(now)
	switch {
	case !r.DeadAt.IsZero():
		return "the served key is dead", "rotatord plan " + name
	case !served.Expires.IsZero() && left <= 0:
		return "the served key has expired", "rotatord plan " + name
	case r.Quarantine != nil:
		return "quarantined: " + r.Quarantine.Reason, "rotatord resume " + name
	case r.Drift != rotate.DriftNone:
		return "journal, sinks and portal disagree (" + string(r.Drift) + ")", "rotatord plan " + name
	case !served.Expires.IsZero() && left < m.Policy.CriticalBefore:
		return "the served key expires within " + span(m.Policy.CriticalBefore), "rotatord plan " + name
	case held(m, r, now):
		return "held although its rotation is due: " + holdOf(m, r, now).Reason, "rotatord resume " + name
	case r.Blocked == rotate.ReasonFleetStop:
		return "the fleet is stopped after failed proofs", "rotatord plan " + name
	case r.Revoke.Attempts >= manyAttempts:
		return fmt.Sprintf("the old key's revocation failed %d times", r.Revoke.Attempts), "rotatord history " + name
	case r.Blocked == rotate.ReasonGate:
		return "the old key outlives its overlap: a gate does not call it unused", "rotatord plan " + name
	case r.Blocked == rotate.ReasonVeto:
		return "a hook says no", "rotatord plan " + name
	case m.Mode == rotate.ModeWatch && r.Due != "":
		return "a rotation is due, and the mode is watch", "set mode: rotate for " + name
	case m.Mode == rotate.ModeRotate && r.AdoptedAt.IsZero() && r.Epoch > 0:
		return "never adopted", "rotatord adopt " + name
	case r.Blocked == rotate.ReasonOccupied:
		return "the spare slot is used by somebody unknown", "rotatord adopt " + name + " --take-slot N"
	case r.LastKind == rotate.KindAuth, r.LastKind == rotate.KindPermanent, r.Attempts >= manyAttempts:
		return fmt.Sprintf("failed %d times in a row", max(r.Attempts, 1)), "rotatord history " + name
	}
	return "", ""
}

// span for people: whole days as days, as the config has them.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if n := d / day; n > 1 && d%day == 0 {
		return fmt.Sprintf("%d days", n)
	}
	return d.String()
}

// statuses of the wanted credentials, by name; all where none is wanted.
func statuses(f *Fleet, records map[rotate.Name]kept, names []rotate.Name) ([]Status, error) {
	if err := f.known(names); err != nil {
		return nil, err
	}
	now := time.Now()
	out := []Status{}
	for _, m := range f.Credentials {
		if len(names) > 0 && !slices.Contains(names, m.Name) {
			continue
		}
		out = append(out, statusOf(m, records[m.Name].record(), now))
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}
