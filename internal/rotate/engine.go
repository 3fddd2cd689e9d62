package rotate

import (
	"context"
	"errors"
	"reflect"
	"time"
)

// Credential is one configured credential with its adapters.
type Credential struct {
	Name     Name
	ID       ID
	Policy   Policy
	Mode     Mode
	Hold     string // the config's reason to hold it; "" is none
	Referrer string // sent with probes; the first of the app's own if empty
	Portal   Portal
	// Portals are those that its items may be on, by id, for one that moves from one to
	// another; nil: all are on Portal.
	Portals map[PortalID]Portal
	Sinks   []Sink // the first is the commit point
	Parity  Parity // nil: no probe URLs
	Grants  Grants // nil: grants are not proved
	Gates   []Gate // what must call the old key unused before it is retired
	Hooks   []Hook // what is called before and after phases, and may veto
	Peers   Peers  // what the other credentials allow; nil: everything
}

// Session is what the driver keeps in memory for one credential between two calls
// of Advance, and hands to no second caller at the same time: the minted key until
// the first sink's commit, and the claim's age. Its zero value is a fresh start.
type Session struct {
	minted     Secret
	facts      KeyFacts // of the minted key
	old        Secret   // the key that the claim saw, for the proof of its end
	privileges []string // of the app when the key was minted, as far as a probe shows them
	granted    []string // all of them
	claimedAt  time.Duration
	claim      Version // the first sink's version that claimedAt belongs to
	provedAt   time.Duration
	sentAt     [3]time.Duration // by Slot: last mint or revoke sent; 0 is never
	look       bool
	listed     [3]ListedKey
}

// HoldsKey tells whether a minted key is in memory and in no sink: a graceful stop
// waits for it (rule 13).
func (s *Session) HoldsKey() bool { return !s.minted.IsZero() }

// Look asks the next Advance for a deep look even if none is due.
func (s *Session) Look() { s.look = true }

// Listed notes what a listing says of the credential's keys; the next deep look
// compares it.
func (s *Session) Listed(keys [3]ListedKey) { s.listed = keys }

// Options of an Engine.
type Options struct {
	Journal  Journal
	Observer Observer // nil: nobody
	Instance string   // this rotatord's own id, kept in the state directory
	// Elapsed is a clock that never jumps and counts sleep (CLOCK_BOOTTIME); nil
	// takes the wall clock. It is never 0.
	Elapsed func() time.Duration
	// NewID makes rotation ids; nil makes ULIDs with crypto/rand.
	NewID func(now time.Time) string
}

// AdvanceResult is what one Advance did.
type AdvanceResult struct {
	Record  Record    // as journalled
	Step    Step      // "" if nothing was done
	Effect  Effect    // "" if there was no external effect
	Due     Reason    // why a rotation is due, "" if none is
	Blocked Reason    // why nothing more happens now
	Detail  string    // the same for people
	Next    time.Time // when to call again; now or earlier: at once
	Err     error     // the effect's or the journal's error; the former is journalled
	Healthy bool      // nothing is due, or it advanced, or it is knowingly held
}

// Engine advances credentials. It owns no goroutine, no timer and no lock; the
// caller gives each credential to one Advance at a time. It is safe for concurrent
// use on different credentials.
type Engine struct{ o Options }

// New checks the options.
func New(o Options) (*Engine, error) {
	if o.Journal == nil || o.Instance == "" {
		return nil, errors.New("rotate: an engine needs a journal and an instance id")
	}
	if o.Elapsed == nil {
		start := time.Now()
		o.Elapsed = func() time.Duration { return time.Now().Round(0).Sub(start.Round(0)) + time.Second }
	}
	if o.NewID == nil {
		o.NewID = ulid
	}
	return &Engine{o: o}, nil
}

// lookRounds bounds how often one decision may ask for another look.
const lookRounds = 8

// Advance takes one credential at most one external effect further, journals it,
// and says when to call again. Start-up, retry and schedule all come through here.
func (e *Engine) Advance(ctx context.Context, c *Credential, s *Session) AdvanceResult {
	rec, err := e.o.Journal.Load(ctx, c.Name)
	if err != nil {
		return AdvanceResult{Err: err, Next: time.Now().Add(c.Policy.RetryBase), Blocked: ReasonUnreachable}
	}
	c = c.At(&rec)
	in, err := e.input(ctx, c, s, rec)
	if err != nil {
		return AdvanceResult{Err: err, Next: time.Now().Add(c.Policy.RetryBase), Blocked: ReasonUnreachable, Record: rec}
	}
	d, events := e.decide(ctx, c, s, &in)
	return e.act(ctx, &work{e: e, c: c, s: s, in: &in, d: d, rec: in.Record, before: rec, events: events})
}

// input gathers what is known without looking.
func (e *Engine) input(ctx context.Context, c *Credential, s *Session, rec Record) (In, error) {
	now := time.Now().UTC().Round(0)
	rec.Name = c.Name
	if rec.Epoch == 0 || rec.ID == (ID{}) {
		rec.ID = c.ID
	}
	if rec.Phase == "" {
		rec.Phase = PhaseIdle
	}
	in := In{Now: now, Portal: now.Add(rec.Offset), Record: rec, Policy: c.Policy, Mode: c.Mode, ConfigHold: c.Hold, ID: c.ID, Instance: e.o.Instance}
	elapsed := e.o.Elapsed()
	in.Gated, in.Hooks = len(c.Gates) > 0, hookSet(c.Hooks)
	in.Mem = Memory{
		ProofFresh: s.provedAt > 0 && elapsed-s.provedAt <= proofFor,
		Look:       s.look,
		Listed:     s.listed,
	}
	if rot := rec.Rotation; rot != nil && s.facts.Slot == rot.Target && s.facts.Generation == rot.Generation {
		in.Mem.Minted = s.minted.Fingerprint()
	}
	if rot := rec.Rotation; rot != nil && s.claim != "" && s.claim == rot.ClaimAt {
		in.Mem.ClaimFresh = elapsed-s.claimedAt <= c.Policy.EffectHorizon/2
	}
	for _, slot := range Slots() {
		in.Mem.InFlight[slot] = s.sentAt[slot] > 0 && elapsed-s.sentAt[slot] < c.Policy.EffectHorizon
	}
	if due, _ := in.due(); c.Peers != nil && due != "" && !urgent(due) && !rec.Phase.InCutOver() {
		in.Peers = c.Peers.May(rec, now)
	}
	if !rec.DeadAt.IsZero() {
		n, err := e.o.Journal.Deaths(ctx, c.ID.Portal, now.Add(-time.Hour))
		if err != nil {
			return in, err
		}
		in.Deaths = n
	}
	return in, nil
}

// decide alternates between deciding and looking until a decision stands.
func (e *Engine) decide(ctx context.Context, c *Credential, s *Session, in *In) (Decision, []Event) {
	var events []Event
	var d Decision
	for range lookRounds {
		d = Decide(*in)
		if d.Need == 0 {
			return d, events
		}
		e.gather(ctx, c, s, in, d.Need)
		rec, ev := absorb(*in)
		in.Record, events = rec, append(events, ev...)
		in.Portal = in.Now.Add(rec.Offset)
	}
	err := &Error{Op: "decide", Kind: KindPermanent}
	return Decision{Step: StepFail, Blocked: ReasonUnreachable, Err: err, Detail: "the plan asks for looks without end"}, events
}

// work is one Advance under way. Its methods change rec and events; nothing else.
type work struct {
	e      *Engine
	c      *Credential
	s      *Session
	in     *In
	d      Decision
	rec    Record
	before Record // as loaded
	events []Event
	effect Effect
	sink   string
	err    error
	// unsaved: the intent could not be journalled, so nothing was sent and nothing is
	// written any more.
	unsaved bool
	// next, if set, is when to call again; the zero time is at once.
	next    time.Time
	nextSet bool
	began   time.Time
}

// act performs the decision and journals what came of it.
func (e *Engine) act(ctx context.Context, w *work) AdvanceResult {
	w.began = time.Now()
	if w.d.Step == StepNone {
		next := w.d.Next
		if !next.IsZero() && !next.After(w.in.Now) {
			next = w.in.Now.Add(w.c.Policy.ProbeEvery) // what it waits for is by the portal's clock, and that is behind
		}
		w.wait(next)
	} else {
		w.perform(ctx)
	}
	if w.unsaved {
		return AdvanceResult{Record: w.before, Step: w.d.Step, Due: w.d.Due, Detail: w.d.Detail, Next: time.Now().Add(w.c.Policy.RetryBase), Err: w.err}
	}
	w.settle()
	res := AdvanceResult{Step: w.d.Step, Effect: w.effect, Due: w.d.Due, Blocked: w.d.Blocked, Detail: w.d.Detail, Next: w.rec.NextAt, Err: w.err}
	saved, err := w.save(ctx)
	if err != nil {
		if w.c.Peers != nil {
			w.c.Peers.Saw(w.before) // a place that was taken for nothing
		}
		res.Record, res.Err, res.Next, res.Healthy = w.before, errors.Join(w.err, err), time.Now().Add(w.c.Policy.RetryBase), false
		return res
	}
	res.Record = saved
	res.Healthy = healthy(res)
	return res
}

func healthy(r AdvanceResult) bool {
	if r.Err != nil {
		return false
	}
	if r.Step != StepNone && r.Step != StepSurvey && r.Step != StepProbe {
		return true
	}
	switch r.Blocked {
	case ReasonOccupied:
		return r.Due == "" // a spare slot that is in use is no trouble before a rotation wants it
	case ReasonDrift, ReasonQuarantined, ReasonForeignClaim, ReasonUnreachable, ReasonDeathStop, ReasonClock:
		return false
	case ReasonBackoff:
		return r.Record.LastFailure.IsZero() && r.Record.Revoke.Attempts == 0
	default:
		return true
	}
}

// settle writes what the plan said into the record.
func (w *work) settle() {
	r := &w.rec
	r.Due, r.Blocked = w.d.Due, w.d.Blocked
	if KindOf(w.err) == KindVeto {
		r.Blocked = ReasonVeto
	} else if w.err != nil && w.d.Step != StepNone {
		r.Blocked = ReasonBackoff
	}
	switch {
	case w.nextSet:
		r.NextAt = w.next
	case w.err != nil:
		r.NextAt = r.RetryAt
	default:
		r.NextAt = time.Now().UTC().Round(0)
	}
	if d := w.d.Drift; d != DriftNone && d != r.Drift {
		r.Drift, r.DriftSince, r.DriftDetail = d, w.in.Now, w.d.Detail
		w.event(Event{Kind: EventDrift, Drift: d, Detail: w.d.Detail})
	}
	if w.d.Blocked != "" && w.d.Due != "" && w.d.Blocked != w.before.Blocked && w.d.Step == StepNone && !r.Phase.InCutOver() {
		w.event(Event{Kind: EventBlocked, Reason: w.d.Blocked, Detail: w.d.Detail})
	}
}

// save journals the record if anything in it changed, and tells the observer. A wait
// that only grows is not written: looked at too early after a restart, it is found again.
func (w *work) save(ctx context.Context) (Record, error) {
	waits := w.rec
	if waits.NextAt.After(w.before.NextAt) && w.d.Step == StepNone {
		waits.NextAt = w.before.NextAt
	}
	if len(w.events) == 0 && reflect.DeepEqual(waits, w.before) {
		return w.rec, nil
	}
	for i := range w.events {
		w.stampEvent(&w.events[i])
	}
	// An effect that ran out of time is journalled all the same.
	saved, err := w.e.o.Journal.Save(context.WithoutCancel(ctx), w.rec, w.events...)
	if err != nil {
		return Record{}, err
	}
	if o := w.e.o.Observer; o != nil {
		for _, ev := range w.events {
			o.Observe(ev)
		}
	}
	w.before, w.rec, w.events = saved, saved, nil
	if w.c.Peers != nil {
		w.c.Peers.Saw(saved)
	}
	return saved, nil
}

func (w *work) stampEvent(ev *Event) {
	ev.At, ev.Name, ev.Portal, ev.Item = w.in.Now, w.c.Name, w.c.ID.Portal, w.c.ID.Item
	if ev.Phase == "" {
		ev.Phase = w.rec.Phase
	}
	if rot := w.rec.Rotation; rot != nil && ev.RotationID == "" {
		ev.RotationID = rot.ID
	}
	if ev.Reason == "" {
		ev.Reason = w.d.Due
	}
}

func (w *work) event(ev Event) { w.events = append(w.events, ev) }

func (w *work) wait(until time.Time) {
	if until.IsZero() {
		until = w.in.Now.Add(w.c.Policy.ProbeEvery)
	}
	w.next, w.nextSet = until.UTC(), true
}
