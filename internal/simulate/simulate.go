// Package simulate runs the real planner over a fleet in fake time: when each key
// will be rotated and retired, what that costs in portal calls a day, and which keys
// die before their turn, given windows, freezes, stages and limits.
//
// What is asked of the planner is what rotatord asks: rotate.Decide, with the records
// of the journal and a world in which nothing fails. What lies between a start and
// its promotion takes Options.CutOver; gates are quiet and hooks agree.
package simulate

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"rotatord/internal/fleet"
	"rotatord/internal/rotate"
)

// Credential is one of the fleet as it is now.
type Credential struct {
	Name   rotate.Name
	ID     rotate.ID
	Stage  string
	Mode   rotate.Mode
	Hold   string // the config's
	Policy rotate.Policy
	Record rotate.Record // of the journal
}

// Options of a run.
type Options struct {
	From time.Time
	Days int
	// CutOver is how long a rotation takes from its start to its promotion.
	CutOver time.Duration
	// Workers is how many credentials of a portal are rotated at the same time; a
	// portal that is not there has DefaultWorkers.
	Workers map[rotate.PortalID]int
	Fleet   fleet.Policy
}

// The defaults of Options.
const (
	DefaultCutOver = 30 * time.Second
	DefaultWorkers = 8
)

// What happens.
const (
	Rotates = "rotates" // the new key is promoted
	Retires = "retires" // the old key is invalidated
	Dies    = "dies"    // the served key expires unrotated
)

// Event of the coming time.
type Event struct {
	At     time.Time       `json:"at"`
	Name   rotate.Name     `json:"credential"`
	Portal rotate.PortalID `json:"portal"`
	What   string          `json:"what"`
	Slot   rotate.Slot     `json:"slot,omitempty"`
	Reason rotate.Reason   `json:"reason,omitempty"`
	// Left is how long the old key would still have lived, in seconds.
	Left   int64  `json:"left_seconds,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Day is one UTC day.
type Day struct {
	Date    string `json:"date"`
	Rotates int    `json:"rotates"`
	Retires int    `json:"retires"`
	Dies    int    `json:"dies"`
	Calls   int    `json:"calls"` // of the portals: rotations, probes, deep surveys
}

// Result of a run. Events are in the order of time, Late and Dying by date.
type Result struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	Events []Event   `json:"events"`
	Days   []Day     `json:"days"`
	// Dying are the keys that end unrotated, Late those that are replaced only within
	// critical_before of their end.
	Dying []Event `json:"dying"`
	Late  []Event `json:"late"`
	// Unknown are credentials with keys whose end nobody knows.
	Unknown []rotate.Name `json:"unknown,omitempty"`
}

// Run simulates the fleet. It changes nothing and reads no clock.
func Run(all []Credential, o Options) Result {
	s := newSim(all, o)
	for s.queue.Len() > 0 && s.queue[0].at.Before(s.end) {
		c := heap.Pop(&s.queue).(*state)
		s.now = c.at
		s.step(c)
	}
	return s.result()
}

// state is one credential on its way.
type state struct {
	*Credential // the caller's, which is not changed
	rec         rotate.Record
	at          time.Time // when to ask again
	blocks      string    // the planner's last word against a rotation that is due
	due         rotate.Reason
	// A rotation under way: promoted at until; zero is none.
	until time.Time
	since time.Time // of the calls that were not counted yet
	index int
	// waits for a place; woken because one is free.
	waits, woken bool
}

type sim struct {
	o       Options
	now     time.Time
	end     time.Time
	fleet   *fleet.Fleet
	queue   queue
	all     []*state
	running map[rotate.PortalID]int
	waiting mortals // for a place
	events  []Event
	calls   map[string]float64 // by date
	unknown []rotate.Name
}

func newSim(all []Credential, o Options) *sim {
	s := &sim{o: o, now: o.From, end: o.From.AddDate(0, 0, o.Days), fleet: fleet.New(nil), running: map[rotate.PortalID]int{}, calls: map[string]float64{}}
	if s.o.CutOver <= 0 {
		s.o.CutOver = DefaultCutOver
	}
	var members []fleet.Member
	for i := range all {
		c := &all[i]
		if c.Record.Former != nil || c.Record.Request != nil {
			settled := *c // the caller's stays as it is
			settled.Record = c.Record.Settled()
			c = &settled
		}
		one := &state{Credential: c, rec: pretend(*c), at: o.From, since: o.From}
		members = append(members, fleet.Member{Name: c.Name, Stage: c.Stage, Policy: c.Policy, Mode: c.Mode, Held: c.Hold != ""})
		s.all = append(s.all, one)
		s.fleet.Saw(one.rec)
	}
	s.fleet.Configure(o.Fleet, members)
	for _, one := range s.all {
		if why := stuck(one); why != "" {
			s.strand(one, why)
			continue
		}
		heap.Push(&s.queue, one)
	}
	return s
}

// stuck says why nothing rotates a credential until a person does something.
func stuck(c *state) string {
	r := &c.Record
	switch {
	case c.Mode != rotate.ModeRotate:
		return "it is only watched"
	case r.AdoptedAt.IsZero():
		return "it was never adopted"
	case r.Quarantine != nil:
		return "it is quarantined: " + r.Quarantine.Reason
	case c.Hold != "":
		return "the config holds it: " + c.Hold
	case r.Hold != nil && r.Hold.Until.IsZero():
		return "it is held by " + r.Hold.By + ": " + r.Hold.Reason
	case r.Drift != rotate.DriftNone:
		return "it is in drift (" + string(r.Drift) + ")"
	}
	return ""
}

// strand notes the end of a key that nobody replaces.
func (s *sim) strand(c *state, why string) {
	end := c.Record.Live.Expires
	if c.Record.Live.Fingerprint == "" {
		for _, slot := range rotate.Slots() {
			if st := c.Record.Slots[slot]; st.Active && !st.Expires.IsZero() && (end.IsZero() || st.Expires.Before(end)) {
				end = st.Expires
			}
		}
	}
	if end.IsZero() {
		if c.Record.Live.Fingerprint != "" {
			s.unknown = append(s.unknown, c.Name)
		}
		return
	}
	if end.Before(s.end) {
		s.tell(c, Event{At: end, What: Dies, Detail: why})
	}
}

func (s *sim) tell(c *state, e Event) {
	e.Name, e.Portal = c.Name, c.ID.Portal
	s.events = append(s.events, e)
}

// step takes one credential on.
func (s *sim) step(c *state) {
	switch {
	case !c.until.IsZero():
		s.promote(c)
		return
	case c.rec.Live.Fingerprint != "" && !c.rec.Live.Expires.IsZero() && !s.now.Before(c.rec.Live.Expires):
		s.tell(c, Event{At: c.rec.Live.Expires, What: Dies, Slot: c.rec.Live.Slot, Reason: c.due, Detail: cmp.Or(c.blocks, "nothing made it due in time")})
		return
	}
	c.waits = false
	d := s.decide(c)
	c.due, c.blocks = d.Due, d.Detail
	if c.woken && d.Step != rotate.StepStart {
		s.free() // it cannot use the place that was meant for it
	}
	c.woken = false
	switch d.Step {
	case rotate.StepStart:
		s.start(c, d)
	case rotate.StepRetire, rotate.StepFinish, rotate.StepRevoke:
		s.retire(c, d)
	case rotate.StepMark, rotate.StepSurvey, rotate.StepProbe:
		c.rec.MarkDue = false
		s.ask(c, s.now.Add(time.Minute))
	default:
		next := d.Next
		if !next.After(s.now) {
			next = s.now.Add(c.Policy.ProbeEvery)
		}
		if d.Blocked == rotate.ReasonLimit {
			s.wait(c)
			return
		}
		s.ask(c, next)
	}
}

// ask again at a time, and not later than the key's end.
func (s *sim) ask(c *state, at time.Time) {
	if e := c.rec.Live.Expires; c.until.IsZero() && e.After(s.now) && e.Before(at) {
		at = e
	}
	c.at = at
	heap.Push(&s.queue, c)
}

// start takes a place among those under way.
func (s *sim) start(c *state, d rotate.Decision) {
	waits := s.running[c.ID.Portal] >= s.limit(c)
	if !waits && !rotate.Urgent(d.Due) && !critical(c, s.now) {
		waits = s.fleet.Begin(c.rec, s.now).Reason != ""
	}
	if waits {
		c.blocks = "as many rotations are under way as may be"
		s.wait(c)
		return
	}
	s.running[c.ID.Portal]++
	c.until = s.now.Add(s.o.CutOver)
	c.rec.Phase = rotate.PhaseClaiming
	c.rec.Rotation = &rotate.Rotation{ID: "simulated", Reason: d.Due, Target: d.Slot}
	s.fleet.Saw(c.rec)
	s.ask(c, c.until)
}

func critical(c *state, now time.Time) bool {
	e := c.rec.Live.Expires
	return !e.IsZero() && !now.Before(e.Add(-c.Policy.CriticalBefore))
}

// wait for a place, until its key becomes critical or ends.
func (s *sim) wait(c *state) {
	c.waits = true
	heap.Push(&s.waiting, c)
	at := s.end
	if from := c.rec.Live.Expires.Add(-c.Policy.CriticalBefore); from.After(s.now) {
		at = from
	}
	s.ask(c, at)
}

// free gives the place that a rotation left to whoever dies first and can use it.
func (s *sim) free() {
	var skipped []*state
	for s.waiting.Len() > 0 {
		c := heap.Pop(&s.waiting).(*state)
		if !c.waits || c.index < 0 {
			continue // it went on, or died
		}
		if s.running[c.ID.Portal] >= s.limit(c) {
			skipped = append(skipped, c)
			continue
		}
		c.waits, c.woken, c.at = false, true, s.now
		heap.Fix(&s.queue, c.index)
		break
	}
	for _, c := range skipped {
		heap.Push(&s.waiting, c)
	}
}

func (s *sim) limit(c *state) int { return cmp.Or(s.o.Workers[c.ID.Portal], DefaultWorkers) }

func (s *sim) result() Result {
	res := Result{From: s.o.From, To: s.end, Events: s.events, Unknown: s.unknown}
	slices.SortStableFunc(res.Events, func(a, b Event) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Name, b.Name)) })
	for _, c := range s.all {
		s.count(c, s.end)
	}
	days := map[string]*Day{}
	for at := s.o.From; at.Before(s.end); at = at.AddDate(0, 0, 1) {
		date := dateOf(at)
		res.Days = append(res.Days, Day{Date: date, Calls: int(s.calls[date] + 0.5)})
	}
	for i := range res.Days {
		days[res.Days[i].Date] = &res.Days[i]
	}
	policies := map[rotate.Name]time.Duration{}
	for _, c := range s.all {
		policies[c.Name] = c.Policy.CriticalBefore
	}
	for _, e := range res.Events {
		d := days[dateOf(e.At)]
		if d == nil {
			d = &Day{} // a key that had ended before the first day
		}
		switch e.What {
		case Rotates:
			d.Rotates++
			if left := time.Duration(e.Left) * time.Second; e.Left != 0 && left < policies[e.Name] {
				res.Late = append(res.Late, e)
			}
		case Retires:
			d.Retires++
		case Dies:
			d.Dies++
			res.Dying = append(res.Dying, e)
		}
	}
	return res
}

func dateOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }
