package simulate

import (
	"fmt"
	"time"

	"rotatord/internal/rotate"
)

// The calls of a portal that a rotation and its retirement make, and those of a deep
// survey: docs/performance.md. A probe is one.
const (
	callsPerRotation = 11
	callsPerRetire   = 6
	callsPerSurvey   = 3
)

const (
	clientID = "SimulatedClient0"
	instance = "simulated"
)

// key is a pretended one: the planner compares fingerprints of what sinks show.
func key(slot rotate.Slot, generation int64) rotate.Secret {
	return rotate.NewSecret(fmt.Sprintf("AAPTsimulatedsimulatedsimulated%dAT%d_%s", generation, slot, clientID[len(clientID)-8:]))
}

func renamed(k rotate.KeyFacts) rotate.KeyFacts {
	if k.Fingerprint != "" {
		k.Fingerprint = key(k.Slot, k.Generation).Fingerprint()
	}
	return k
}

// pretend is the record with keys that can be shown to the planner. A rotation that
// is under way counts as not begun, or where its key is served as promoted.
func pretend(c Credential) rotate.Record {
	r := c.Record
	r.Name, r.ID, r.ClientID, r.Epoch = c.Name, c.ID, clientID, 1
	r.Live, r.Previous = renamed(r.Live), renamed(r.Previous)
	for _, s := range rotate.Slots() {
		r.Slots[s].Key, r.Slots[s].Intent = renamed(r.Slots[s].Key), nil
	}
	r.RetryAt, r.Attempts, r.LastKind, r.Revoke, r.ProofFailedAt, r.HookDue = time.Time{}, 0, "", rotate.Ladder{}, time.Time{}, nil
	r.Rotation, r.Offset, r.Refusals = nil, 0, nil
	if q := r.Request; q != nil && q.Kind != rotate.RequestRotate {
		r.Request = nil
	}
	if r.Phase.InCutOver() || r.Phase == "" {
		r.Phase = rotate.PhaseIdle
		if r.Previous.Fingerprint != "" {
			r.Phase = rotate.PhaseOverlap
		}
	}
	return r
}

// view is what a look at a world without any fault shows.
func (c *state) view(now time.Time) rotate.View {
	r := &c.rec
	v := rotate.View{Have: rotate.NeedAll | rotate.NeedEarlier | rotate.NeedOld | rotate.NeedGates, SkewKnown: true, Since: now, Errs: map[rotate.Need]error{}}
	meta := &rotate.Meta{Format: rotate.MetaFormat, Portal: c.ID.Portal, Item: c.ID.Item, Instance: instance, Key: r.Live, AdoptedAt: r.AdoptedAt}
	e := rotate.Entry{Version: "1", Ever: r.Live.Fingerprint != "", Meta: meta}
	if r.Live.Fingerprint != "" {
		e.Key = key(r.Live.Slot, r.Live.Generation)
		v.Proof = rotate.Proof{Valid: true, ClientID: clientID, Item: c.ID.Item, Expires: r.Live.Expires}
	}
	v.Sinks = []rotate.SinkView{{Name: "simulated", Entry: e}}
	v.App = rotate.App{ClientID: clientID}
	for _, s := range rotate.Slots() {
		st := &r.Slots[s]
		v.App.Active[s] = st.Active || r.Live.Slot == s && r.Live.Fingerprint != ""
		v.Item.Expires[s] = st.Expires
	}
	v.OldHad = r.Previous.Fingerprint != ""
	v.Old = rotate.Proof{Valid: true, ClientID: clientID, Item: c.ID.Item, Expires: r.Previous.Expires}
	return v
}

// decide asks the real planner. Probes and deep surveys are never due: they cost
// calls, which count counts, and find nothing.
func (s *sim) decide(c *state) rotate.Decision {
	c.rec.SurveyedAt, c.rec.ProbedAt = s.end, s.end
	in := rotate.In{Now: s.now, Portal: s.now, Record: c.rec, Policy: c.Policy, Mode: c.Mode, ID: c.ID, ConfigHold: c.Hold, Instance: instance, View: c.view(s.now)}
	in.Peers = s.fleet.May(c.rec, s.now)
	return rotate.Decide(in)
}

// promote ends a rotation under way as rotate's own promotion does.
func (s *sim) promote(c *state) {
	s.count(c, s.now)
	s.running[c.ID.Portal]--
	r, rot := &c.rec, c.rec.Rotation
	old := r.Live
	k := rotate.KeyFacts{Slot: rot.Target, Generation: max(r.TopGeneration, old.Generation) + 1, MintedAt: s.now, Expires: c.Policy.ExpiryFor(c.Name, s.now)}
	k.LatestExpiry = k.Expires
	k.Fingerprint = key(k.Slot, k.Generation).Fingerprint()
	r.Live, r.Previous, r.TopGeneration, r.PromotedAt, r.RetireAt, r.Phase = k, rotate.KeyFacts{}, k.Generation, s.now, time.Time{}, rotate.PhaseIdle
	r.Slots[k.Slot] = rotate.SlotState{Use: rotate.UseLive, Key: k, Active: true, Expires: k.Expires, Since: s.now}
	r.Request = nil
	if old.Fingerprint != "" && old.Slot != k.Slot {
		r.Previous, r.Phase, r.RetireAt = old, rotate.PhaseOverlap, s.now.Add(c.Policy.Overlap)
		if e := old.LatestExpiry; !e.IsZero() && e.Before(r.RetireAt) {
			r.RetireAt = e
		}
		r.Slots[old.Slot].Use = rotate.UsePrevious
	}
	if !old.Expires.IsZero() && old.Expires.Before(s.now) {
		s.tell(c, Event{At: old.Expires, What: Dies, Slot: old.Slot, Reason: rot.Reason, Detail: "its rotation began too late for what one takes"})
	}
	s.tell(c, Event{At: s.now, What: Rotates, Slot: k.Slot, Reason: rot.Reason, Left: left(old, s.now)})
	r.Rotation, c.until = nil, time.Time{}
	s.calls[dateOf(s.now)] += callsPerRotation
	s.fleet.Saw(*r)
	s.free()
	s.ask(c, s.now)
}

func left(old rotate.KeyFacts, now time.Time) int64 {
	if old.Expires.IsZero() {
		return 0
	}
	return int64(old.Expires.Sub(now) / time.Second)
}

// retire empties a slot: the old key's after its overlap, or an orphan's.
func (s *sim) retire(c *state, d rotate.Decision) {
	s.count(c, s.now)
	r := &c.rec
	r.Slots[d.Slot] = rotate.SlotState{Use: rotate.UseEmpty, Since: s.now, Expires: r.Slots[d.Slot].Expires}
	if r.Previous.Slot == d.Slot {
		r.Previous, r.RetireAt, r.Phase = rotate.KeyFacts{}, time.Time{}, rotate.PhaseIdle
	}
	if d.Step != rotate.StepFinish { // nothing is sent for a key that expired by itself
		s.tell(c, Event{At: s.now, What: Retires, Slot: d.Slot})
		s.calls[dateOf(s.now)] += callsPerRetire
	}
	s.fleet.Saw(*r)
	s.ask(c, s.now)
}

// count the probes and deep surveys since the last count, until a time.
func (s *sim) count(c *state, until time.Time) {
	perDay := callsPerSurvey * per(c.Policy.DeepEvery)
	if c.rec.Phase == rotate.PhaseOverlap {
		perDay = per(c.Policy.ProbeEvery)
	}
	for c.since.Before(until) {
		day := c.since.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
		if day.After(until) {
			day = until
		}
		s.calls[dateOf(c.since)] += perDay * day.Sub(c.since).Hours() / 24
		c.since = day
	}
}

func per(every time.Duration) float64 {
	if every <= 0 {
		return 0
	}
	return float64(24*time.Hour) / float64(every)
}

// queue is a heap of credentials by when to ask them.
type queue []*state

// The methods of container/heap.
func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].Name < q[j].Name // one run is like the other
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	c := x.(*state)
	c.index = len(*q)
	*q = append(*q, c)
}

func (q *queue) Pop() any {
	old := *q
	c := old[len(old)-1]
	c.index = -1
	*q = old[:len(old)-1]
	return c
}

// mortals is a heap of those that wait, who dies first on top.
type mortals []*state

// The methods of container/heap.
func (m mortals) Len() int { return len(m) }

func (m mortals) Less(i, j int) bool {
	a, b := m[i].rec.Live.Expires, m[j].rec.Live.Expires
	if !a.Equal(b) {
		return a.Before(b)
	}
	return m[i].Name < m[j].Name
}

func (m mortals) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m *mortals) Push(x any)   { *m = append(*m, x.(*state)) }

func (m *mortals) Pop() any {
	old := *m
	c := old[len(old)-1]
	*m = old[:len(old)-1]
	return c
}
