package rotate

import (
	"context"
	"slices"
	"time"
)

// ListedKey is one key as a portal's listing shows it.
type ListedKey struct {
	Present bool
	Expires time.Time
}

// Disagrees tells whether a light survey contradicts the journal, so that a deep
// look is worth its requests. Absence from a list alone is no evidence (rule 8).
func Disagrees(r Record, keys [3]ListedKey) bool {
	for _, s := range Slots() {
		k, st := keys[s], r.Slots[s]
		if k.Present && !st.Active && !st.SeenAt.IsZero() {
			return true
		}
		if k.Present && s == r.Live.Slot && !k.Expires.IsZero() && !r.Live.Expires.IsZero() &&
			k.Expires.Sub(r.Live.Expires).Abs() > dateTolerance {
			return true
		}
	}
	return false
}

// PlannedStep is one step that a rotation would take.
type PlannedStep struct {
	At     time.Time `json:"at"`
	Phase  Phase     `json:"phase"`
	Effect Effect    `json:"effect,omitempty"`
	Slot   Slot      `json:"slot,omitempty"`
	Detail string    `json:"detail"`
}

// Forecast is what would be done now and why, with nothing done.
type Forecast struct {
	Record  Record        `json:"record"`
	Step    Step          `json:"step,omitempty"`
	Due     Reason        `json:"due,omitempty"`
	DueAt   time.Time     `json:"due_at,omitzero"`
	Blocked Reason        `json:"blocked,omitempty"`
	Detail  string        `json:"detail,omitempty"`
	Drift   Drift         `json:"drift,omitempty"`
	Next    time.Time     `json:"next,omitzero"`
	Steps   []PlannedStep `json:"steps,omitempty"`
	Seen    Seen          `json:"seen"`
	Err     string        `json:"error,omitempty"` // of a look that failed
}

// Seen is what the look found, without any secret.
type Seen struct {
	Owner  string       `json:"owner,omitempty"`
	Active [3]bool      `json:"active"` // by Slot
	Dates  [3]time.Time `json:"dates"`  // item dates by Slot; zero is unknown
	Sinks  []SeenSink   `json:"sinks"`  // in order
	Served Proof        `json:"served"` // the first sink's key at the portal
	Skew   string       `json:"skew,omitempty"`
}

// SeenSink is one sink's content.
type SeenSink struct {
	Name        string      `json:"name"`
	Fingerprint Fingerprint `json:"fingerprint,omitempty"`
	Generation  int64       `json:"generation,omitempty"`
	Error       string      `json:"error,omitempty"`
}

// Forecast looks at everything afresh and changes nothing.
func (e *Engine) Forecast(ctx context.Context, c *Credential) (Forecast, error) {
	rec, err := e.o.Journal.Load(ctx, c.Name)
	if err != nil {
		return Forecast{}, err
	}
	c = c.At(&rec)
	s := &Session{}
	in, err := e.input(ctx, c, s, rec)
	if err != nil {
		return Forecast{}, err
	}
	e.gather(ctx, c, s, &in, NeedAll)
	in.Record, _ = absorb(in)
	in.Portal = in.Now.Add(in.Record.Offset)
	d := Decision{Blocked: ReasonWorking, Detail: "a rotation is under way, in phase " + string(in.Record.Phase)}
	if !in.Record.Phase.InCutOver() {
		d, _ = e.decide(ctx, c, s, &in)
	}
	f := Forecast{Record: in.Record, Step: d.Step, Due: d.Due, Blocked: d.Blocked, Detail: d.Detail, Drift: in.Record.Drift, Next: d.Next, Seen: in.seen()}
	if d.Err != nil {
		f.Err = d.Err.Error()
	}
	f.DueAt, _ = DueAt(in.Record, c.Policy)
	f.Steps = in.withFormerSteps(in.steps(d))
	return f, nil
}

// withFormerSteps adds what becomes of the item that was replaced.
func (in *In) withFormerSteps(steps []PlannedStep) []PlannedStep {
	f := in.Record.Former
	if f == nil || f.PromotedAt.IsZero() {
		return steps
	}
	id, at := string(f.Record.ID.Item), later(f.RetireAt, in.Now)
	more := []PlannedStep{{At: at, Phase: PhaseRetiring, Effect: EffectRevoke, Detail: "invalidate the keys of item " + id + ", which was replaced"}}
	if !f.Keep {
		more = append(more, PlannedStep{At: at, Phase: PhaseRetiring, Effect: EffectRemove, Detail: "delete item " + id})
	}
	all := append(more, steps...)
	slices.SortStableFunc(all, func(a, b PlannedStep) int { return a.At.Compare(b.At) })
	return all
}

func (in *In) seen() Seen {
	v := &in.View
	seen := Seen{Owner: v.Item.Owner, Active: v.App.Active, Dates: v.Item.Expires, Served: v.Proof}
	for _, s := range v.Sinks {
		one := SeenSink{Name: s.Name, Fingerprint: s.Entry.Key.Fingerprint()}
		if s.Entry.Meta != nil {
			one.Generation = s.Entry.Meta.Key.Generation
		}
		if s.Err != nil {
			one.Error = s.Err.Error()
		}
		seen.Sinks = append(seen.Sinks, one)
	}
	if v.SkewKnown {
		seen.Skew = v.Skew.String()
	}
	return seen
}

// steps lists what a rotation would do from here: at once if one is due, else from
// the time at which the clock makes it due.
func (in *In) steps(d Decision) []PlannedStep {
	r, p := &in.Record, &in.Policy
	if r.AdoptedAt.IsZero() || r.Quarantine != nil {
		return nil
	}
	at, from := in.Now, r.Phase
	if from == PhaseIdle && d.Due == "" {
		due, ok := DueAt(*r, *p)
		if !ok {
			return nil
		}
		at = later(due, in.Now)
	} else if from == PhaseIdle && d.Step == StepNone {
		at = later(d.Next, in.Now)
	}
	target := r.Live.Slot.Other()
	switch {
	case r.Rotation != nil && r.Phase.InCutOver():
		target = r.Rotation.Target
	case d.Step == StepStart, d.Step == StepHandover:
		target = d.Slot
	}
	if target == NoSlot {
		target = Slot1
	}
	var steps []PlannedStep
	add := func(ph Phase, ef Effect, s Slot, text string) {
		if phaseIndex(ph) >= phaseIndex(from) {
			steps = append(steps, PlannedStep{At: at, Phase: ph, Effect: ef, Slot: s, Detail: text})
		}
	}
	if from != PhaseOverlap && from != PhaseRetiring {
		add(PhaseClaiming, EffectClaim, target, "claim the first sink: compare-and-swap, the key unchanged")
		add(PhaseDating, EffectDate, target, "set the slot's expiry to "+stamp(p.ExpiryFor(r.Name, at)))
		add(PhaseMinting, EffectMint, target, "generate the key; whatever the slot held dies at once")
		add(PhaseProving, EffectProve, target, "prove the key at the portal")
		add(PhasePublishing, EffectPublish, target, "write it into "+plural(len(in.View.Sinks), "sink")+", read it back, probe it")
	}
	old := r.Live.Slot
	if from == PhaseOverlap || from == PhaseRetiring || (r.Rotation != nil && r.Rotation.Committed) {
		old = r.Previous.Slot
		at = later(r.RetireAt, in.Now)
	} else {
		at = at.Add(p.Overlap)
	}
	if old != NoSlot {
		add(PhaseRetiring, EffectRevoke, old, "invalidate the old key after the overlap, and prove that it is refused")
	}
	return steps
}

func phaseIndex(p Phase) int {
	for i, one := range Phases() {
		if one == p {
			return i
		}
	}
	return 0
}

// Command notes a person's order in the journal. A *RefusedError says why it cannot
// be accepted.
func (e *Engine) Command(ctx context.Context, c *Credential, cmd Command) (Record, error) {
	rec, err := e.o.Journal.Load(ctx, c.Name)
	if err != nil {
		return Record{}, err
	}
	if rec.Epoch == 0 {
		rec.ID, rec.Phase = c.ID, PhaseIdle
	}
	c = c.At(&rec)
	rec.Name = c.Name
	now := time.Now().UTC().Round(0)
	changed, ev, err := Apply(rec, cmd, now)
	if err != nil {
		return rec, err
	}
	ev.At, ev.Name, ev.Portal, ev.Item, ev.Phase = now, c.Name, c.ID.Portal, c.ID.Item, changed.Phase
	saved, err := e.o.Journal.Save(ctx, changed, ev)
	if err != nil {
		return rec, err
	}
	if e.o.Observer != nil {
		e.o.Observer.Observe(ev)
	}
	return saved, nil
}
