package web

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// problem is the closed set of why a person should look, in the order in which
// `rotatord status` looks for them.
type problem string

// The problems, worst first.
const (
	problemDead        problem = "dead"
	problemExpired     problem = "expired"
	problemCritical    problem = "critical"
	problemQuarantined problem = "quarantined"
	problemDrift       problem = "drift"
	problemHeld        problem = "held"
	problemFleet       problem = "fleet_stopped"
	problemRevoke      problem = "revoke_failing"
	problemGate        problem = "still_in_use"
	problemVeto        problem = "vetoed"
	problemFailing     problem = "failing"
	problemOccupied    problem = "occupied"
	problemWatchDue    problem = "watch_due"
	problemUnadopted   problem = "unadopted"
	problemOther       problem = "other"

	problemAny problem = "any" // in a query: whatever it is
)

func problems() []problem {
	return []problem{problemDead, problemExpired, problemCritical, problemFleet, problemQuarantined, problemDrift, problemFailing, problemVeto,
		problemOccupied, problemHeld, problemRevoke, problemGate, problemWatchDue, problemUnadopted, problemOther}
}

// problemOf a credential that wants a person. The words are the status's; this is
// their kind, to count by and to find the runbook's section with.
func problemOf(c *Credential, now time.Time) problem {
	r := &c.Record
	switch {
	case !r.DeadAt.IsZero():
		return problemDead
	case !r.Live.Expires.IsZero() && !r.Live.Expires.After(now):
		return problemExpired
	case r.Quarantine != nil:
		return problemQuarantined
	case r.Drift != rotate.DriftNone:
		return problemDrift
	case !r.Live.Expires.IsZero() && r.Live.Expires.Sub(now) < c.CriticalBefore:
		return problemCritical
	case c.Hold != nil && !c.DueAt.IsZero() && !now.Before(c.DueAt) && !r.Phase.InCutOver():
		return problemHeld
	case r.Blocked == rotate.ReasonFleetStop:
		return problemFleet
	case r.Revoke.Attempts > 0:
		return problemRevoke
	case r.Blocked == rotate.ReasonGate:
		return problemGate
	case r.Blocked == rotate.ReasonVeto:
		return problemVeto
	case c.Mode == rotate.ModeWatch && r.Due != "":
		return problemWatchDue
	case c.Mode == rotate.ModeRotate && r.AdoptedAt.IsZero():
		return problemUnadopted
	case r.Blocked == rotate.ReasonOccupied:
		return problemOccupied
	case r.Attempts > 0 || r.LastKind != "":
		return problemFailing
	}
	return problemOther
}

// Label is the problem for people, of many credentials.
func (p problem) Label() string {
	switch p {
	case problemDead:
		return "the served key is dead"
	case problemExpired:
		return "the served key has expired"
	case problemCritical:
		return "the served key expires very soon"
	case problemQuarantined:
		return "quarantined"
	case problemDrift:
		return "journal, sinks and portal disagree"
	case problemHeld:
		return "held although due"
	case problemFleet:
		return "the fleet is stopped"
	case problemRevoke:
		return "the old key cannot be revoked"
	case problemGate:
		return "the old key is still in use after its overlap"
	case problemVeto:
		return "a hook says no"
	case problemFailing:
		return "rotation fails"
	case problemOccupied:
		return "the spare slot is somebody else's"
	case problemWatchDue:
		return "due, and only watched"
	case problemUnadopted:
		return "never adopted"
	case problemOther:
		return "something else"
	case problemAny:
		return "something"
	}
	return string(p)
}

// section of docs/runbook.md: the Prometheus alert that says the same.
func (p problem) section() string {
	switch p {
	case problemDead:
		return "RotatordKeyDead"
	case problemExpired:
		return "RotatordKeyExpired"
	case problemCritical:
		return "RotatordKeyExpiresUnrotated"
	case problemQuarantined:
		return "RotatordQuarantined"
	case problemDrift:
		return "RotatordDrift"
	case problemHeld:
		return "RotatordHeldLong"
	case problemFleet:
		return "RotatordFleetStopped"
	case problemRevoke, problemGate:
		return "RotatordOldKeyNotRetired"
	case problemFailing, problemVeto:
		return "RotatordRotationFailing"
	case problemOccupied:
		return "RotatordSlotOccupied"
	case problemWatchDue:
		return "RotatordRotationOverdue"
	case problemUnadopted:
		return "RotatordUnadopted"
	case problemOther, problemAny:
		return ""
	}
	return ""
}

// runbookLink of a problem: the reader's own runbook, or the page that is served here.
func (s *Site) runbookLink(p problem) string {
	name := p.section()
	base := "runbook"
	if s.o.RunbookURL != "" {
		base = s.o.RunbookURL
	}
	if name == "" {
		return base
	}
	return base + "#" + strings.ToLower(name)
}

// card is one problem in full.
type card struct {
	row
	Runbook string
	Command string // to paste; "" where the cure is no command
}

func (s *Site) card(r row) card {
	c := card{row: r, Runbook: s.runbookLink(r.Kind)}
	if strings.HasPrefix(r.Cure, "rotatord ") {
		c.Command = r.Cure
	}
	return c
}

// group is how many credentials have one problem.
type group struct {
	Kind  problem
	Count int
}

// worst problems first: by what breaks, then by when.
func worst(rows []row) ([]row, []group) {
	var bad []row
	count := map[problem]int{}
	for _, r := range rows {
		if r.Kind != "" {
			bad = append(bad, r)
			count[r.Kind]++
		}
	}
	order := map[problem]int{}
	var groups []group
	for i, p := range problems() {
		order[p] = i
		if count[p] > 0 {
			groups = append(groups, group{p, count[p]})
		}
	}
	slices.SortFunc(bad, func(a, b row) int {
		return cmp.Or(cmp.Compare(order[a.Kind], order[b.Kind]), byTime(a.Expires(), b.Expires()), cmp.Compare(a.Name, b.Name))
	})
	return bad, groups
}

// byTime orders times, the unknown last.
func byTime(a, b time.Time) int {
	switch {
	case a.IsZero() && b.IsZero():
		return 0
	case a.IsZero():
		return 1
	case b.IsZero():
		return -1
	}
	return a.Compare(b)
}
