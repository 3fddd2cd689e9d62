package rotate

import (
	"context"
	"slices"
	"strings"
	"time"
)

// HookSet is a set of hook points.
type HookSet uint16

func bit(p HookPoint) HookSet {
	i := slices.Index(HookPoints(), p)
	if i < 0 {
		return 0
	}
	return 1 << i
}

// Has tells whether p is in the set.
func (s HookSet) Has(p HookPoint) bool { return s&bit(p) != 0 }

func hookSet(hooks []Hook) HookSet {
	var s HookSet
	for _, h := range hooks {
		for _, p := range h.Points() {
			s |= bit(p)
		}
	}
	return s
}

// hookDue tells whether the hooks of p were not yet called since the last start.
func (in *In) hookDue(p HookPoint) bool {
	return in.Hooks.Has(p) && !slices.Contains(in.Record.Hooked, p)
}

// hooked puts the hooks of a step before it.
func (in *In) hooked(d Decision) Decision {
	if in.Hooks == 0 || d.Need != 0 {
		return d
	}
	for _, p := range in.pointsBefore(d) {
		if in.hookDue(p) {
			return Decision{Step: StepHook, Hook: p, Slot: d.Slot, Due: d.Due, Detail: "before the step " + string(d.Step)}
		}
	}
	return d
}

// pointsBefore lists the points that a step passes: the end of the phase before it,
// and the beginning of its own.
func (in *In) pointsBefore(d Decision) []HookPoint {
	rot := in.Record.Rotation
	switch d.Step {
	case StepClaim:
		return []HookPoint{BeforeClaiming}
	case StepDate:
		return []HookPoint{AfterClaiming, BeforeDating}
	case StepMint:
		return []HookPoint{AfterDating, BeforeMinting}
	case StepProve:
		return []HookPoint{AfterMinting, BeforeProving}
	case StepPublish:
		switch {
		case rot == nil || rot.Committed || d.Sink != 0:
			return nil
		case rot.Republish:
			return []HookPoint{AfterClaiming, BeforePublishing}
		}
		return []HookPoint{AfterProving, BeforePublishing}
	case StepRetire:
		return []HookPoint{AfterPublishing, BeforeRetiring}
	case StepRetireFormer:
		return []HookPoint{BeforeRetiring}
	default:
		return nil
	}
}

// vetoCounts: what is urgent waits for nobody (rule 13), but an old key that is not
// compromised need not go.
func (in *In) vetoCounts(p HookPoint) bool {
	switch p {
	case AfterPublishing, BeforeRetiring:
		return !in.rushed()
	case AfterRetiring:
		return false // nothing is left that could wait
	default:
		rot := in.Record.Rotation
		return rot != nil && !urgent(rot.Reason) && !in.dead() && !in.critical()
	}
}

// hook calls the hooks of one point, in the order of the config. The first that says
// no is a veto.
func (w *work) hook(ctx context.Context) {
	late := w.rec.HookDue != nil && w.rec.Phase == PhaseIdle // its rotation is over
	call := w.hookCall(w.d.Hook, value(w.rec.Rotation))
	if late {
		call, w.rec.HookDue = *w.rec.HookDue, nil
		call.At = w.in.Now
	}
	var err error
	for _, h := range w.c.Hooks {
		if err == nil && slices.Contains(h.Points(), w.d.Hook) {
			if veto := h.Call(ctx, call); veto != nil {
				err = &Error{Op: "hook " + h.Name() + " " + string(w.d.Hook), Kind: KindVeto, Err: veto}
			}
		}
	}
	if err != nil && !late && w.in.vetoCounts(w.d.Hook) {
		w.fail(EffectHook, err)
		if probe := w.rec.ProbedAt.Add(w.c.Policy.ProbeEvery); !w.rec.Phase.InCutOver() {
			w.wait(earlier(probe, w.rec.RetryAt)) // the served key is watched while a hook says no
		}
		return
	}
	if !late {
		w.rec.Hooked = append(slices.Clip(w.rec.Hooked), w.d.Hook)
	}
	if err != nil {
		w.effect = EffectHook
		w.event(Event{Kind: EventEffect, Effect: EffectHook, Result: Result(KindVeto), Slot: call.Slot, Error: err.Error(),
			Detail: string(w.d.Hook) + ": the veto does not count", Took: time.Since(w.began)})
		return
	}
	w.done(EffectHook, Event{Slot: call.Slot, Fingerprint: call.Fingerprint, Detail: string(w.d.Hook)})
}

// started is when it began; now for none.
// waitsSince is since when what hooks are asked about waits for them: the rotation under way,
// or the end of the item that was replaced.
func (r *Record) waitsSince(now time.Time) time.Time {
	switch f := r.Former; {
	case r.Rotation != nil:
		return r.Rotation.Started
	case f != nil && f.RetireAt.Before(now) && !f.RetireAt.IsZero():
		return f.RetireAt
	}
	return now
}

func value(r *Rotation) Rotation {
	if r == nil {
		return Rotation{}
	}
	return *r
}

func (w *work) hookCall(p HookPoint, rot Rotation) HookCall {
	r := &w.rec
	c := HookCall{Point: p, Name: w.c.Name, Portal: w.c.ID.Portal, Item: w.c.ID.Item, RotationID: rot.ID, Reason: rot.Reason,
		Generation: rot.Generation, Slot: rot.Target, Fingerprint: rot.New.Fingerprint, At: w.in.Now}
	switch p {
	case AfterPublishing:
		c.Slot, c.Fingerprint = r.Live.Slot, r.Live.Fingerprint
	case BeforeRetiring:
		c.Slot, c.Fingerprint = r.Previous.Slot, r.Previous.Fingerprint
		if f := r.Former; f != nil && c.Fingerprint == "" {
			c.Item, c.Slot, c.Fingerprint = f.Record.ID.Item, f.Record.Live.Slot, f.Record.Live.Fingerprint
		}
	case AfterRetiring:
		c.Slot, c.Fingerprint = w.in.Record.Previous.Slot, w.in.Record.Previous.Fingerprint
	default:
	}
	return c
}

// GateView is one gate's answer; an error is unknown, and not quiet.
type GateView struct {
	Name   string
	Answer QuietAnswer
	Err    error
}

func askGates(ctx context.Context, c *Credential, in *In) []GateView {
	r := &in.Record
	q := Quiet{Name: c.Name, ID: c.ID, Live: r.Live, Previous: r.Previous, RetireAt: r.RetireAt, Now: in.Now}
	if f := r.Former; f != nil && r.Previous.Fingerprint == "" {
		q.Previous, q.RetireAt = f.Record.Live, f.RetireAt
	}
	list := make([]GateView, 0, len(c.Gates))
	for _, g := range c.Gates {
		a, err := g.Ask(ctx, q)
		list = append(list, GateView{Name: g.Name(), Answer: a, Err: err})
	}
	return list
}

// stillInUse says which gates do not call the previous key unused; "" if all do.
func stillInUse(gates []GateView) string {
	var all []string
	for _, g := range gates {
		switch {
		case g.Err != nil:
			all = append(all, g.Name+" does not know: "+g.Err.Error())
		case !g.Answer.Quiet:
			all = append(all, g.Name+": "+g.Answer.Detail)
		}
	}
	return strings.Join(all, "; ")
}
