// Package fleet decides what several credentials together allow: stages that go one
// after the other, the most rotations at once, and a stop after failed proofs. It
// knows each credential by the little of its record that this takes, so that asking
// costs the same in a fleet of ten and of ten thousand.
package fleet

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// Policy of the whole fleet. Its zero value allows everything.
type Policy struct {
	// Stages in their order. A credential whose stage is not among them is in none:
	// it waits for nobody, and nobody waits for it.
	Stages []string
	// HealthyFor is how long every credential of the earlier stages must have been
	// healthy since its last promotion.
	HealthyFor time.Duration
	// AtOnce is the most rotations between claim and promotion; 0 is no limit.
	AtOnce int
	// FailedProofs stops scheduled starts once the new keys of so many credentials
	// failed their proof; 0 never does.
	FailedProofs int
	// FailedShare does the same for a share of the credentials, above 0 and up to 1;
	// at least two must have failed. 0 never does.
	FailedShare float64
}

// Member is a credential as the fleet sees it.
type Member struct {
	Name   rotate.Name
	Stage  string
	Policy rotate.Policy
	Mode   rotate.Mode
	Held   bool // by the config
}

// Fleet implements rotate.Peers.
type Fleet struct {
	mu      sync.Mutex
	policy  Policy
	members map[rotate.Name]*state
	stages  []map[rotate.Name]*state // by index of the stage
	running map[rotate.Name]bool     // between claim and promotion, and not urgent
	failed  map[rotate.Name]bool     // a new key failed its proof
	rotated int                      // members that rotate at all
}

var _ rotate.Peers = (*Fleet)(nil)

type state struct {
	m      Member
	stage  int // -1: none
	record rotate.Record
}

// New makes the fleet of a config; records are the journal's, in any order. Records
// of credentials that are no members are left out.
func New(p Policy, members []Member, records []rotate.Record) *Fleet {
	f := &Fleet{policy: p, members: make(map[rotate.Name]*state, len(members)), stages: make([]map[rotate.Name]*state, len(p.Stages)),
		running: map[rotate.Name]bool{}, failed: map[rotate.Name]bool{}}
	for i := range f.stages {
		f.stages[i] = map[rotate.Name]*state{}
	}
	for _, m := range members {
		s := &state{m: m, stage: slices.Index(p.Stages, m.Stage)}
		f.members[m.Name] = s
		if m.Mode == rotate.ModeRotate {
			f.rotated++
		}
		if s.stage >= 0 {
			f.stages[s.stage][m.Name] = s
		}
	}
	for _, r := range records {
		f.Saw(r)
	}
	return f
}

// Saw keeps what a journalled record says.
func (f *Fleet) Saw(r rotate.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.members[r.Name]
	if s == nil {
		return
	}
	s.record = r
	set(f.running, r.Name, counts(r))
	set(f.failed, r.Name, !r.ProofFailedAt.IsZero())
}

func set(m map[rotate.Name]bool, n rotate.Name, is bool) {
	if is {
		m[n] = true
	} else {
		delete(m, n)
	}
}

// counts tells whether the record's rotation takes a place: dead and compromised
// credentials do not count (rule 13).
func counts(r rotate.Record) bool {
	return r.Phase.InCutOver() && r.Rotation != nil && !rotate.Urgent(r.Rotation.Reason)
}

// May tells what stands against a scheduled start of r's credential.
func (f *Fleet) May(r rotate.Record, now time.Time) rotate.Block {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.may(r, now)
}

// Begin takes the place where nothing stands against it.
func (f *Fleet) Begin(r rotate.Record, now time.Time) rotate.Block {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.may(r, now)
	if b.Reason == "" {
		f.running[r.Name] = true // until the record is seen that says so, or one that does not
	}
	return b
}

func (f *Fleet) may(r rotate.Record, now time.Time) rotate.Block {
	if b := f.stopped(r.Name); b.Reason != "" {
		return b
	}
	if b := f.earlier(r.Name, now); b.Reason != "" {
		return b
	}
	if n := f.policy.AtOnce; n > 0 && len(f.running) >= n && !f.running[r.Name] {
		return rotate.Block{Reason: rotate.ReasonLimit, Until: now.Add(retry), Text: fmt.Sprintf("%d of at most %d rotations are under way", len(f.running), n)}
	}
	return rotate.Block{}
}

// retry is how soon what ends by another credential's progress is asked again.
const retry = time.Minute

// stopped is the breaker: new keys that fail one after the other have a common cause
// more often than not.
func (f *Fleet) stopped(name rotate.Name) rotate.Block {
	n := len(f.failed)
	byCount := f.policy.FailedProofs > 0 && n >= f.policy.FailedProofs
	byShare := f.policy.FailedShare > 0 && n >= 2 && float64(n) >= f.policy.FailedShare*float64(f.rotated)
	if !byCount && !byShare {
		return rotate.Block{}
	}
	names := make([]string, 0, n)
	for one := range f.failed {
		names = append(names, string(one))
	}
	slices.Sort(names)
	return rotate.Block{Reason: rotate.ReasonFleetStop, Text: fmt.Sprintf("new keys of %d credentials failed their proof: %s; find out why, then `rotatord resume %s`",
		n, few(names), strings.Join(names[:min(n, 3)], " "))}
}

func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
}

// earlier is what an earlier stage still has to do. The stage right before is named
// last, since it is the one that ends the wait.
func (f *Fleet) earlier(name rotate.Name, now time.Time) rotate.Block {
	s := f.members[name]
	if s == nil || s.stage <= 0 {
		return rotate.Block{}
	}
	for i := range s.stage {
		if b := f.stageBlock(i, now); b.Reason != "" {
			return b
		}
	}
	return rotate.Block{}
}

func (f *Fleet) stageBlock(i int, now time.Time) rotate.Block {
	var why, name string
	var until time.Time
	for _, s := range f.stages[i] {
		text, at := s.pending(now, f.policy.HealthyFor)
		// The first by name is the one that is told, whatever order a map has.
		if text != "" && (name == "" || string(s.m.Name) < name) {
			why, name, until = text, string(s.m.Name), at
		}
	}
	if why == "" {
		return rotate.Block{}
	}
	if until.IsZero() {
		until = now.Add(retry)
	}
	return rotate.Block{Reason: rotate.ReasonStage, Until: until, Text: fmt.Sprintf("stage %s comes first: %s %s", f.policy.Stages[i], name, why)}
}

// pending says what a credential of an earlier stage still has to do; until is zero
// where nothing but its own progress ends that.
func (s *state) pending(now time.Time, healthyFor time.Duration) (text string, until time.Time) {
	r := &s.record
	switch held := s.m.Held || r.Hold.Active(now); {
	case s.m.Mode != rotate.ModeRotate || r.AdoptedAt.IsZero():
		return "", time.Time{} // it never rotates here
	case r.Phase.InCutOver():
		return "rotates right now", time.Time{}
	case r.Quarantine != nil:
		return "is quarantined", time.Time{}
	case !r.ProofFailedAt.IsZero():
		return "got a key that failed its proof", time.Time{}
	case !r.DeadAt.IsZero():
		return "serves a dead key", time.Time{}
	case r.Drift != rotate.DriftNone:
		return "is in drift (" + string(r.Drift) + ")", time.Time{}
	case held:
		return "", time.Time{} // a person keeps it where it is; the others are not meant
	case now.Before(r.PromotedAt.Add(healthyFor)):
		return "serves its new key since " + r.PromotedAt.UTC().Format(time.RFC3339) + " only", r.PromotedAt.Add(healthyFor)
	}
	if at, ok := rotate.DueAt(*r, s.m.Policy); ok && !now.Before(at) && r.Phase != rotate.PhaseOverlap && r.Phase != rotate.PhaseRetiring {
		return "is due itself", time.Time{}
	}
	return "", time.Time{}
}
