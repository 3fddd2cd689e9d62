package rotate

import "fmt"

// decideRepair is what heals without destroying anything: the way back to a valid
// previous key (rule 4), a vanished secret (rule 8), a restored sink (rule 9) and a
// later sink that lags (rule 5).
func (in *In) decideRepair() (Decision, bool) {
	r, v := &in.Record, &in.View
	if r.Live.Fingerprint == "" || in.Mode != ModeRotate || in.Now.Before(r.RetryAt) || in.hold() != nil || r.Quarantine != nil {
		return Decision{}, false
	}
	if d, ok := in.lookedAt(NeedSinks | NeedProof); !ok {
		return d, true
	}
	first := in.show(v.first())
	switch {
	case first != showsNever && in.foreignInstance(v.first()):
		return Decision{}, false
	case wentBack(first):
		// One read may be a stale standby's: it must say the same for a while.
		if until := r.DriftSince.Add(in.Policy.EffectHorizon / 10); r.Drift != driftOf(first) || in.Now.Before(until) {
			return wait(ReasonDrift, in.Now.Add(in.Policy.EffectHorizon/10), "the first sink's answer is looked at again"), true
		}
		switch first {
		case showsVanished:
			return in.repairVanished()
		case showsFormer:
			return in.repairFormer()
		default:
			return in.repairBehind()
		}
	case first == showsLive && !r.DeadAt.IsZero():
		return in.repairDead()
	}
	if first != showsLive {
		return Decision{}, false
	}
	if in.oldMeta(v.first()) {
		return Decision{Step: StepMark, Detail: "the first sink's facts are brought up to date"}, true
	}
	for i, s := range v.Sinks {
		if i == 0 || s.Err != nil {
			continue
		}
		if in.lags(s.Entry) {
			return Decision{Step: StepPublish, Sink: i, Slot: r.Live.Slot, Detail: "sink " + s.Name + " is copied from " + v.Sinks[0].Name}, true
		}
	}
	return Decision{}, false
}

// lags tells whether a later sink is to be copied from the first one.
func (in *In) lags(e Entry) bool {
	sh := in.show(e)
	return sh == showsNever || wentBack(sh) || sh == showsLive && in.oldMeta(e)
}

// oldMeta: the sink serves the live key with facts that say otherwise.
func (in *In) oldMeta(e Entry) bool {
	return e.Meta == nil || e.Meta.Key.Generation != in.Record.Live.Generation || e.Meta.Key.Fingerprint != in.Record.Live.Fingerprint
}

// repairVanished republishes the served key from the sink's own history or another
// sink; without either it is drift.
func (in *In) repairVanished() (Decision, bool) {
	if d, ok := in.lookedAt(NeedEarlier); !ok {
		return d, true
	}
	if d, ok := in.lookedAt(NeedApp | NeedItem); !ok {
		return d, true
	}
	for _, k := range []KeyFacts{in.Record.Live, in.Record.Previous} {
		if k == in.Record.Live && !in.Record.DeadAt.IsZero() {
			continue // it would be refused again
		}
		if in.backed(k) {
			return Decision{Step: StepStart, Due: ReasonRestore, Key: k, Slot: k.Slot,
				Detail: "the secret vanished from the first sink; its earlier version is written back"}, true
		}
	}
	return Decision{}, false
}

// backed tells whether some sink still has the key, now or earlier, and its slot holds one.
func (in *In) backed(k KeyFacts) bool {
	return k.Fingerprint != "" && in.View.App.Active[k.Slot] && !in.pastDate(k.Slot) && in.View.finds(k.Fingerprint)
}

// finds tells whether a readable entry, current or earlier, holds the key.
func (v *View) finds(f Fingerprint) bool {
	_, ok := v.find(f)
	return ok
}

func (v *View) find(f Fingerprint) (Secret, bool) {
	for _, s := range v.Sinks {
		if s.Entry.Key.Fingerprint() == f {
			return s.Entry.Key, true
		}
	}
	for _, e := range v.Earlier {
		if e.Key.Fingerprint() == f {
			return e.Key, true
		}
	}
	return Secret{}, false
}

// repairBehind: the first sink serves an older key of ours. A newer one that works and
// that some sink still has is republished; if it is dead, the older one is, where that
// works. Else what is served becomes the live key, and the other one counts as in use
// for one overlap.
func (in *In) repairBehind() (Decision, bool) {
	if in.dead() {
		return Decision{}, false // both are: a new key is made
	}
	if d, ok := in.lookedAt(NeedEarlier | NeedApp | NeedItem); !ok {
		return d, true
	}
	e, live := in.View.first(), in.Record.Live
	k := in.Record.Previous
	if fp := e.Key.Fingerprint(); k.Fingerprint != fp {
		k = e.Meta.Key
	}
	if in.View.finds(live.Fingerprint) {
		switch {
		case in.View.App.Active[live.Slot] && !in.pastDate(live.Slot) && in.Record.DeadAt.IsZero():
			return Decision{Step: StepStart, Due: ReasonRestore, Key: live, Slot: live.Slot,
				Detail: "the first sink went back to an older key; the newer one is republished"}, true
		case in.View.Proof.Valid:
			return Decision{Step: StepStart, Due: ReasonRestore, Key: k, Slot: k.Slot,
				Detail: "the first sink went back to an older key that works, and the newer one is dead: it is written into every sink"}, true
		}
		return wait(ReasonDrift, in.nextSuspect(), "the first sink went back to an older key, and neither works"), true
	}
	if p := in.Record.Previous; !in.View.Proof.Valid && p.Fingerprint != e.Key.Fingerprint() && in.backed(p) {
		return Decision{Step: StepStart, Due: ReasonRestore, Key: p, Slot: p.Slot,
			Detail: "the first sink went back to a key that is dead, and nobody has the newer one: the previous one, which works, is written back"}, true
	}
	return Decision{Step: StepSwap, Key: k, Slot: k.Slot,
		Detail: "the first sink was restored: it serves " + string(k.Fingerprint) + " again"}, true
}

// repairDead is the way back: the served key is dead and the previous one is not.
func (in *In) repairDead() (Decision, bool) {
	r := &in.Record
	if d, ok := in.lookedAt(NeedApp); !ok {
		return d, true
	}
	if r.Previous.Fingerprint == "" || !in.View.App.Active[r.Previous.Slot] {
		return Decision{}, false
	}
	if r.Rotation != nil && r.Rotation.Compromised {
		return Decision{}, false
	}
	if d, ok := in.lookedAt(NeedEarlier | NeedOld); !ok {
		return d, true
	}
	if !in.View.OldHad || !in.View.Old.Valid {
		return Decision{}, false
	}
	return Decision{Step: StepStart, Due: ReasonRestore, Key: r.Previous, Slot: r.Previous.Slot,
		Detail: fmt.Sprintf("the served key is dead and the previous one of slot %s works: it is written back", r.Previous.Slot)}, true
}
