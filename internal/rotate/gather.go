package rotate

import (
	"cmp"
	"context"
	"strings"
	"time"
)

// freshFor is how old what an effect has read may be when it acts (rule 1), and
// proofFor how old a proof may be when its key is published.
const (
	freshFor = 30 * time.Second
	proofFor = 10 * time.Second
)

// gather looks at what the decision asks for. Errors go into the view; the first
// sink's read error is NeedSinks's.
func (e *Engine) gather(ctx context.Context, c *Credential, s *Session, in *In, need Need) {
	v := &in.View
	if v.Errs == nil {
		v.Errs = map[Need]error{}
	}
	if need&NeedGates != 0 && v.Have&NeedGates == 0 {
		v.Gates, v.Have = askGates(ctx, c, in), v.Have|NeedGates
	}
	if v.Have&^NeedGates == 0 {
		v.Since = time.Now() // gates may take their time; what rule 1 reads comes after them
	}
	note := func(n Need, date time.Time, err error) {
		v.Have |= n
		if err != nil {
			v.Errs[n] = err
		}
		if !date.IsZero() {
			v.Skew, v.SkewKnown = skewOf(date), true
		}
	}
	if need&NeedSinks != 0 {
		note(NeedSinks, time.Time{}, e.gatherSinks(ctx, c, v))
	}
	if need&(NeedEarlier) != 0 && v.Have&NeedEarlier == 0 {
		note(NeedEarlier, time.Time{}, e.gatherEarlier(ctx, c, v))
	}
	if need&NeedItem != 0 {
		item, err := c.Portal.Item(e.purpose(ctx, in, NeedItem), c.ID)
		v.Item = item
		if err == nil {
			in.Record.Owner = item.Owner
		}
		note(NeedItem, item.Date, err)
	}
	if need&NeedApp != 0 {
		app, err := c.Portal.App(e.purpose(ctx, in, NeedApp), c.ID, in.Record.Owner)
		v.App = app
		note(NeedApp, app.Date, err)
	}
	if need&NeedProof != 0 {
		date, err := e.gatherProof(ctx, c, in)
		note(NeedProof, date, err)
	}
	if need&NeedOld != 0 {
		date, err := e.gatherOld(ctx, c, s, in)
		note(NeedOld, date, err)
	}
	if need&NeedOther != 0 {
		note(NeedOther, time.Time{}, e.gatherOther(ctx, c, s, in))
	}
}

// gatherOther looks at the other item of a replacement.
func (e *Engine) gatherOther(ctx context.Context, c *Credential, s *Session, in *In) error {
	id, v := in.otherID(), &in.View
	p, ctx := c.portalOf(id), WithPurpose(ctx, PurposeSafety)
	var err error
	if v.OtherItem, err = p.Item(ctx, id); err != nil {
		return err
	}
	if v.Other, err = p.App(ctx, id, v.OtherItem.Owner); err != nil || in.Record.Former == nil {
		return err
	}
	for _, slot := range Slots() {
		if err := e.askHeld(ctx, c, s, in, slot); err != nil {
			return err
		}
	}
	return nil
}

// askHeld probes the former item's key of one slot: a key of somebody unknown may stand
// there by now.
func (e *Engine) askHeld(ctx context.Context, c *Credential, s *Session, in *In, slot Slot) error {
	v, f := &in.View, in.Record.Former
	key, ok := e.findKey(ctx, c, s, v, f.key(slot))
	if !ok || !v.Other.Active[slot] {
		return nil
	}
	proof, err := c.portalOf(f.Record.ID).Prove(ctx, key, concrete(first(v.Other.Referrers)))
	if err == nil {
		v.OtherHeld[slot] = Held{Asked: true, Valid: proof.Valid}
	}
	return err
}

// skewOf is portal time minus ours. A Date has whole seconds: half a one is added,
// and what is smaller than that resolution is no skew.
func skewOf(date time.Time) time.Duration {
	d := time.Until(date.Add(500 * time.Millisecond))
	if d.Abs() <= 2*time.Second {
		return 0
	}
	return d.Round(time.Second)
}

func (e *Engine) gatherSinks(ctx context.Context, c *Credential, v *View) error {
	v.Sinks = v.Sinks[:0]
	for _, s := range c.Sinks {
		entry, err := s.Read(ctx)
		v.Sinks = append(v.Sinks, SinkView{Name: s.Name(), Entry: entry, Err: err})
	}
	if len(v.Sinks) == 0 {
		return nil // watched, and nobody said where its key is
	}
	return v.Sinks[0].Err
}

func (e *Engine) gatherEarlier(ctx context.Context, c *Credential, v *View) error {
	var first error
	for i, s := range c.Sinks {
		entries, err := s.Earlier(ctx)
		if err != nil && i == 0 {
			first = err
		}
		v.Earlier = append(v.Earlier, entries...)
	}
	return first
}

// gatherProof probes the first sink's key. A refusal is followed by a control call
// and the flags, which tell a death from a passing trouble (rule 8).
func (e *Engine) gatherProof(ctx context.Context, c *Credential, in *In) (time.Time, error) {
	v := &in.View
	if v.Have&NeedSinks == 0 {
		v.Have |= NeedSinks
		if err := e.gatherSinks(ctx, c, v); err != nil {
			v.Errs[NeedSinks] = err
		}
	}
	key := v.first().Key
	if key.IsZero() {
		return time.Time{}, nil
	}
	ctx = e.purpose(ctx, in, NeedProof)
	proof, err := c.Portal.Prove(ctx, key, c.referrer(in))
	v.Proof = proof
	if err != nil || proof.Valid {
		return proof.Date, err
	}
	v.ProofControl = c.Portal.Control(ctx)
	if v.ProofControl == nil && v.Have&NeedApp == 0 {
		app, err := c.Portal.App(ctx, c.ID, in.Record.Owner)
		v.App = app
		v.Have |= NeedApp
		if err != nil {
			v.Errs[NeedApp] = err
		}
	}
	return proof.Date, nil
}

// gatherOld probes the previous key, or before a republish is committed the key
// that is to be written back.
func (e *Engine) gatherOld(ctx context.Context, c *Credential, s *Session, in *In) (time.Time, error) {
	v := &in.View
	key, ok := e.oldKey(ctx, c, s, in)
	if !ok {
		return time.Time{}, nil
	}
	proof, err := c.Portal.Prove(e.purpose(ctx, in, NeedOld), key, c.referrer(in))
	v.Old, v.OldHad = proof, err == nil
	if rot := in.Record.Rotation; err == nil && !proof.Valid && rot != nil && rot.Republish {
		v.OldControl = c.Portal.Control(e.purpose(ctx, in, NeedOld))
	}
	return proof.Date, err
}

func oldFingerprint(r *Record) Fingerprint {
	if rot := r.Rotation; rot != nil && rot.Republish && !rot.Committed {
		return rot.New.Fingerprint
	}
	return r.Previous.Fingerprint
}

// oldKey finds the previous key.
func (e *Engine) oldKey(ctx context.Context, c *Credential, s *Session, in *In) (Secret, bool) {
	return e.findKey(ctx, c, s, &in.View, oldFingerprint(&in.Record))
}

// findKey finds a key in memory, in a sink, or in a sink's history.
func (e *Engine) findKey(ctx context.Context, c *Credential, s *Session, v *View, fp Fingerprint) (Secret, bool) {
	if fp == "" {
		return Secret{}, false
	}
	if s.old.Fingerprint() == fp {
		return s.old, true
	}
	if key, ok := v.find(fp); ok {
		return key, true
	}
	if v.Have&NeedEarlier == 0 {
		v.Have |= NeedEarlier
		if err := e.gatherEarlier(ctx, c, v); err != nil {
			v.Errs[NeedEarlier] = err
		}
	}
	return v.find(fp)
}

// referrer that probes send: the configured one, else the app's first.
func (c *Credential) referrer(in *In) string {
	seen := ""
	if in.View.Have&NeedApp != 0 {
		seen = first(in.View.App.Referrers)
	}
	return concrete(cmp.Or(c.Referrer, seen, in.Record.Referrer))
}

// concrete is a referrer that a pattern allows.
func concrete(pattern string) string {
	if pattern == "" {
		return ""
	}
	scheme, rest, ok := strings.Cut(pattern, "://")
	if !ok {
		scheme, rest = "https", pattern
	}
	if host, wild := strings.CutPrefix(rest, "*."); wild {
		rest = "rotatord." + host
	}
	return scheme + "://" + strings.ReplaceAll(rest, "*", "")
}

// purpose of a look: what a rotation's own steps take, what safety adds to them,
// and everything else.
func (e *Engine) purpose(ctx context.Context, in *In, n Need) context.Context {
	p := PurposeSurvey
	switch in.Record.Phase {
	case PhaseDating:
		p = PurposeProtocol
	case PhaseClaiming, PhaseMinting, PhaseProving:
		p = PurposeSafety
	case PhasePublishing:
		p = PurposeProbe
	case PhaseOverlap, PhaseRetiring:
		p = PurposeProbe
		if in.overlapOver() {
			p = PurposeSafety
			if n == NeedProof {
				p = PurposeProtocol
			}
		}
	case PhaseIdle, "":
	}
	return WithPurpose(ctx, p)
}
