package web

import (
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// Credential is all that the page shows of one.
type Credential struct {
	Name        rotate.Name
	Portal      rotate.PortalID
	Product     string // location_platform, online or enterprise
	Item        rotate.ItemID
	Owner       string
	Environment string
	Consumers   []string // who breaks when the key dies
	Mode        rotate.Mode
	Links       []Link
	Record      rotate.Record
	Hold        *rotate.Hold // that binds now, a person's or the config's; nil: none
	Overlap     time.Duration
	// CriticalBefore its expiry a key is everybody's business.
	CriticalBefore time.Duration
	DueAt          time.Time // when a rotation becomes due by the clock; zero is unknown
	StartAt        time.Time // when windows and freezes let it start; zero is unknown
	NextAt         time.Time // when it is looked at next
	Detail         string    // the plan's last sentence
	Attention      string    // why a person should look; "": nobody needs to
	Cure           string    // the one command
	Sinks          []string  // in order
	Gates          []string
	Hooks          []string
}

// state is one credential in one word.
type state string

// The states, worst first.
const (
	stateBroken    state = "broken"    // consumers are refused
	stateAttention state = "attention" // somebody should look
	stateRotating  state = "rotating"  // a cut-over is under way
	stateOverlap   state = "overlap"   // both keys work
	stateWaiting   state = "waiting"   // due, and something stops it
	stateHeld      state = "held"
	stateWatched   state = "watched" // mode watch
	stateFine      state = "fine"
)

func states() []state {
	return []state{stateBroken, stateAttention, stateRotating, stateOverlap, stateWaiting, stateHeld, stateWatched, stateFine}
}

// Label is the state for people.
func (s state) Label() string {
	if s == stateAttention {
		return "needs you"
	}
	return string(s)
}

// Sign is a shape for each state, so that none is told by its colour alone.
func (s state) Sign() string {
	switch s {
	case stateBroken:
		return "✖"
	case stateAttention:
		return "▲"
	case stateRotating:
		return "↻"
	case stateOverlap:
		return "◐"
	case stateWaiting:
		return "◷"
	case stateHeld:
		return "‖"
	case stateWatched:
		return "○"
	case stateFine:
		return "✓"
	}
	return "?"
}

// row is a credential with what follows from it at one moment.
type row struct {
	*Credential
	State state
	rank  int     // of the state; lower is worse
	Kind  problem // why a person should look; "": nobody needs to
	asOf  time.Time
}

func (s *Site) rows(now time.Time) []row {
	list := s.o.Snapshot(now)
	rows := make([]row, len(list))
	order := map[state]int{}
	for i, st := range states() {
		order[st] = i
	}
	for i := range list {
		rows[i] = rowOf(&list[i], now)
		rows[i].rank = order[rows[i].State]
	}
	return rows
}

func rowOf(c *Credential, now time.Time) row {
	r := row{Credential: c, asOf: now}
	if c.Attention != "" {
		r.Kind = problemOf(c, now)
	}
	rec := &c.Record
	switch {
	case r.Kind == problemDead, r.Kind == problemExpired:
		r.State = stateBroken
	case r.Kind != "":
		r.State = stateAttention
	case rec.Phase.InCutOver():
		r.State = stateRotating
	case c.Hold != nil:
		r.State = stateHeld
	case rec.Phase == rotate.PhaseOverlap, rec.Phase == rotate.PhaseRetiring:
		r.State = stateOverlap
	case c.Mode == rotate.ModeWatch:
		r.State = stateWatched
	case rec.Due != "":
		r.State = stateWaiting
	default:
		r.State = stateFine
	}
	return r
}

// Expires is when what consumers read dies; zero is unknown.
func (r row) Expires() time.Time { return r.Record.Live.Expires }

// Phase, which is idle before the first look.
func (r row) Phase() rotate.Phase {
	if r.Record.Phase == "" {
		return rotate.PhaseIdle
	}
	return r.Record.Phase
}

// Starts is when the next rotation is expected to begin; false where none is: nothing
// known makes it due, or nobody lets it.
func (r row) Starts() (time.Time, bool) {
	rec := &r.Record
	if r.Mode != rotate.ModeRotate || rec.AdoptedAt.IsZero() || rec.Quarantine != nil || rec.Phase.InCutOver() || rec.Drift != rotate.DriftNone {
		return time.Time{}, false
	}
	if (r.Hold != nil && r.Hold.Until.IsZero()) || rec.Blocked == rotate.ReasonOccupied {
		return time.Time{}, false // until a person does something
	}
	at := r.StartAt
	if at.IsZero() {
		at = r.DueAt
	}
	if at.IsZero() {
		return time.Time{}, false
	}
	if r.Hold != nil && at.Before(r.Hold.Until) {
		at = r.Hold.Until
	}
	if at.Before(r.asOf) {
		at = r.asOf
		if rec.Due != "" && rec.Blocked != "" && r.NextAt.After(at) {
			at = r.NextAt // it was looked at, and waits
		}
	}
	return at, true
}

// Waits is the word for what it waits for; "" where that says no more than the phase.
func (r row) Waits() rotate.Reason {
	switch w := r.Record.Blocked; w {
	case rotate.ReasonNotDue, rotate.ReasonWorking, rotate.ReasonOverlap:
		return ""
	default:
		return w
	}
}

// Verdict is the plan in one line, in the words of `rotatord plan`.
func (r row) Verdict() string {
	rec := &r.Record
	word := string(rec.Blocked)
	if word == "" {
		word = "-"
	}
	switch {
	case rec.Rotation != nil && rec.Phase.InCutOver():
		return "a rotation is under way, in phase " + string(rec.Phase) + " (due: " + string(rec.Rotation.Reason) + ")"
	case rec.Phase == rotate.PhaseOverlap || rec.Phase == rotate.PhaseRetiring:
		return "both keys work; the old one is invalidated " + stampWith(rec.RetireAt, r.asOf)
	case rec.Due != "" && rec.Blocked != "":
		return "due (" + string(rec.Due) + "), waits for " + word + "; looked at again " + stampWith(r.NextAt, r.asOf)
	case rec.Due != "":
		return "due (" + string(rec.Due) + ")"
	case !r.DueAt.IsZero():
		return "nothing to do (" + word + "); due " + stampWith(r.DueAt, r.asOf)
	}
	return "nothing to do (" + word + ")"
}

// Breaks says who breaks and when.
func (r row) Breaks() string {
	who := "its consumers"
	if len(r.Consumers) > 0 {
		who = strings.Join(r.Consumers, ", ")
	}
	e := r.Expires()
	switch {
	case !r.Record.DeadAt.IsZero():
		return "Refused by the portal since " + stampWith(r.Record.DeadAt, r.asOf) + ": " + who
	case e.IsZero() && r.Record.Live.Fingerprint == "":
		return "No key was published yet for " + who
	case e.IsZero():
		return "Breaks when the key expires, and nobody knows when: " + who
	case !e.After(r.asOf):
		return "Broken since " + stampWith(e, r.asOf) + ": " + who
	}
	return "Breaks " + stampWith(e, r.asOf) + ": " + who
}

// Attempt says when rotatord tries next by itself.
func (r row) Attempt() string {
	look := "looked at again " + stampWith(r.NextAt, r.asOf)
	if r.NextAt.IsZero() {
		look = "nothing is planned"
	}
	switch {
	case r.Record.Quarantine != nil:
		return "none until somebody resumes it; " + look
	case r.Mode == rotate.ModeWatch:
		return "none in mode watch; " + look
	case r.Record.AdoptedAt.IsZero():
		return "none until it is adopted; " + look
	case r.Record.Drift != rotate.DriftNone:
		return "repairs only, while it is in drift; " + look
	case r.Hold != nil:
		return "none while it is held; " + look
	case !r.Record.RetryAt.IsZero() && r.Record.RetryAt.After(r.asOf):
		return stampWith(r.Record.RetryAt, r.asOf)
	case r.NextAt.IsZero():
		return look
	}
	return stampWith(r.NextAt, r.asOf)
}
