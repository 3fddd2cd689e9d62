// Package fleet decides what several credentials together allow: stages that go one
// after the other, the most rotations at once, and a stop after failed proofs. It
// knows each credential by the little of its record that this takes, so that asking
// costs the same in a fleet of ten and of ten thousand.
package fleet

import (
	"container/heap"
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

// Fleet implements rotate.Peers. One lives as long as the process; a reload gives it
// another policy and other members.
type Fleet struct {
	mu      sync.Mutex
	policy  Policy
	facts   map[rotate.Name]facts // of every record that was seen
	members map[rotate.Name]*member
	stages  []stage // by index
	running map[rotate.Name]bool
	failed  map[rotate.Name]bool // members whose new key failed its proof
	rotated int                  // members that rotate at all
}

var _ rotate.Peers = (*Fleet)(nil)

type member struct {
	name   rotate.Name
	stage  int            // -1: none
	policy *rotate.Policy // shared with all that have the same; without its calendar
	mode   rotate.Mode
	held   bool
	clear  time.Time // nothing is pending before then, if no other record of it is seen; zero: look
	at     int       // in its stage
}

// facts is the little of a record that others depend on.
type facts struct {
	phase       rotate.Phase
	live        rotate.KeyFacts
	adopted     time.Time
	promoted    time.Time
	hold        *rotate.Hold
	drift       rotate.Drift
	running     bool // between claim and promotion, and not urgent
	quarantined bool
	dead        bool
	failed      bool
}

// New makes a fleet that allows everything, from the journal's records.
func New(records []rotate.Record) *Fleet {
	f := &Fleet{facts: make(map[rotate.Name]facts, len(records))}
	f.Configure(Policy{}, nil)
	for _, r := range records {
		f.Saw(r)
	}
	return f
}

// Configure replaces policy and members. What was seen of credentials stays.
func (f *Fleet) Configure(p Policy, members []Member) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.policy, f.rotated = p, 0
	f.members = make(map[rotate.Name]*member, len(members))
	f.stages = make([]stage, len(p.Stages))
	policies := map[rotate.Policy]*rotate.Policy{}
	f.running, f.failed = map[rotate.Name]bool{}, map[rotate.Name]bool{}
	for _, m := range members {
		m.Policy.Calendar = nil // it does not bear on when a rotation is due
		policy := policies[m.Policy]
		if policy == nil {
			own := m.Policy
			policy, policies[own] = &own, &own
		}
		one := &member{name: m.Name, stage: slices.Index(p.Stages, m.Stage), policy: policy, mode: m.Mode, held: m.Held}
		f.members[m.Name] = one
		if m.Mode == rotate.ModeRotate {
			f.rotated++
		}
		if one.stage >= 0 {
			heap.Push(&f.stages[one.stage], one)
		}
		f.count(m.Name)
	}
}

// Saw keeps what a journalled record says.
func (f *Fleet) Saw(r rotate.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.facts[r.Name] = facts{phase: r.Phase, live: r.Live, adopted: r.AdoptedAt, promoted: r.PromotedAt, hold: r.Hold, drift: r.Drift, running: counts(r),
		quarantined: r.Quarantine != nil, dead: !r.DeadAt.IsZero(), failed: !r.ProofFailedAt.IsZero()}
	if m, ok := f.members[r.Name]; ok {
		f.count(r.Name)
		if m.stage >= 0 {
			m.clear = time.Time{}
			heap.Fix(&f.stages[m.stage], m.at)
		}
	}
}

func (f *Fleet) count(n rotate.Name) {
	set(f.running, n, f.facts[n].running)
	set(f.failed, n, f.facts[n].failed)
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
	if b := f.stopped(now); b.Reason != "" {
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
func (f *Fleet) stopped(now time.Time) rotate.Block {
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
	return rotate.Block{Reason: rotate.ReasonFleetStop, Until: now.Add(retry), Text: fmt.Sprintf("new keys of %d credentials failed their proof: %s; find out why, then `rotatord resume NAME` each",
		n, few(names))}
}

func few(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
}

// earlier is what the earliest unfinished stage still has to do.
func (f *Fleet) earlier(name rotate.Name, now time.Time) rotate.Block {
	m, ok := f.members[name]
	if !ok || m.stage <= 0 {
		return rotate.Block{}
	}
	for i := range m.stage {
		if b := f.stageBlock(i, now); b.Reason != "" {
			return b
		}
	}
	return rotate.Block{}
}

// stageBlock looks at members only that may have something pending: a stage of thousands
// is asked about at every start in a later one.
func (f *Fleet) stageBlock(i int, now time.Time) rotate.Block {
	st := &f.stages[i]
	if now.Before(st.seen) { // portals' clocks differ a little, and a machine's is set
		for _, m := range st.members {
			m.clear = time.Time{}
		}
		heap.Init(st)
	}
	st.seen = now
	for len(st.members) > 0 && !st.members[0].clear.After(now) {
		m := st.members[0]
		text, until := m.pending(f.facts[m.name], now, f.policy.HealthyFor)
		if text == "" {
			m.clear = until
			heap.Fix(st, 0)
			continue
		}
		if until.IsZero() {
			until = now.Add(retry)
		}
		return rotate.Block{Reason: rotate.ReasonStage, Until: until, Text: fmt.Sprintf("stage %s comes first: %s %s", f.policy.Stages[i], m.name, text)}
	}
	return rotate.Block{}
}

// never is when something becomes pending that no clock makes so.
func never() time.Time { return time.Unix(1<<40, 0) }

// pending says what a credential of an earlier stage still has to do; until is zero
// where nothing but its own progress ends that. Without a text, nothing is pending until then.
func (m *member) pending(r facts, now time.Time, healthyFor time.Duration) (text string, until time.Time) {
	switch {
	case m.mode != rotate.ModeRotate || r.adopted.IsZero():
		return "", never() // it never rotates here
	case r.phase.InCutOver():
		return "rotates right now", time.Time{}
	case r.quarantined:
		return "is quarantined", time.Time{}
	case r.failed:
		return "got a key that failed its proof", time.Time{}
	case r.dead:
		return "serves a dead key", time.Time{}
	case r.drift != rotate.DriftNone:
		return "is in drift (" + string(r.drift) + ")", time.Time{}
	case m.held:
		return "", never() // a person keeps it where it is; the others are not meant
	case r.hold.Active(now):
		if r.hold.Until.IsZero() {
			return "", never()
		}
		return "", r.hold.Until
	case now.Before(r.promoted.Add(healthyFor)):
		return "serves its new key only since " + r.promoted.UTC().Format(time.RFC3339), r.promoted.Add(healthyFor)
	case r.phase == rotate.PhaseOverlap || r.phase == rotate.PhaseRetiring:
		return "", never()
	}
	at, ok := rotate.DueAt(rotate.Record{Live: r.live, AdoptedAt: r.adopted}, *m.policy)
	switch {
	case !ok:
		return "", never()
	case !now.Before(at):
		return "is due itself", time.Time{}
	}
	return "", at
}

// stage is a heap of its members, whoever may have something pending on top.
type stage struct {
	members []*member
	seen    time.Time // the last time that was asked about
}

// The methods of container/heap.
func (s *stage) Len() int { return len(s.members) }

func (s *stage) Less(i, j int) bool {
	a, b := s.members[i], s.members[j]
	if !a.clear.Equal(b.clear) {
		return a.clear.Before(b.clear)
	}
	return a.name < b.name
}

func (s *stage) Swap(i, j int) {
	s.members[i], s.members[j] = s.members[j], s.members[i]
	s.members[i].at, s.members[j].at = i, j
}

func (s *stage) Push(x any) {
	m := x.(*member)
	m.at = len(s.members)
	s.members = append(s.members, m)
}

// Pop is never used: who leaves the config leaves with the whole stage.
func (s *stage) Pop() any { return nil }
