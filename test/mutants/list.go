package main

const dir = "internal/rotate/"

// mutants lists a planted bug, or several, for each rule of design.md section 2.
func mutants() []mutant { return append(rules1to9(), rules10to15()...) }

func rules1to9() []mutant {
	return []mutant{
		{"rule 1", "retire without agreement", dir + "plan_overlap.go",
			"if d, why := in.agreement(); d != DriftNone {\n\t\treturn wait(ReasonDrift, later, why)", "if d, why := in.agreement(); false && d != DriftNone {\n\t\treturn wait(ReasonDrift, later, why)"},
		{"rule 1", "start and mint without agreement", dir + "agree.go",
			"\tif d, why := in.sinkDrift(); d != DriftNone {\n\t\treturn d, why\n\t}\n\treturn in.portalDrift()", "\treturn DriftNone, \"\""},
		{"rule 2", "mint over somebody unknown", dir + "target.go",
			"\t\treturn slotAllowed\n\t}\n\treturn slotOccupied", "\t\treturn slotAllowed\n\t}\n\treturn slotAllowed"},
		{"rule 2", "mint into the slot that is served", dir + "plan.go",
			"if r.Epoch > 0 && r.ID", "if r.Live.Slot = r.Live.Slot.Other(); r.Epoch > 0 && r.ID"},
		{"rule 3", "a failed publish throws the key away", dir + "publish.go",
			"\tw.sink = target.Name\n\tif err != nil {", "\tw.sink = target.Name\n\tif err != nil {\n\t\tw.s.minted.Forget()"},
		{"rule 3", "a publish of unknown outcome is not looked for in the sink", dir + "agree.go",
			"rot.New.Fingerprint == fp && fp != r.Live.Fingerprint", "rot.New.Fingerprint == \"never\" && fp != r.Live.Fingerprint"},
		{"rule 4", "no way back to the previous key", dir + "plan_repair.go",
			"case first == showsLive && !r.DeadAt.IsZero():\n\t\treturn in.repairDead()", "case first == showsLive && !r.DeadAt.IsZero():\n\t\treturn Decision{}, false"},
		{"rule 5", "promote while a later sink still serves the old key", dir + "plan_phase.go",
			"case i > 0 && in.lags(s.Entry):", "case i > 9 && in.lags(s.Entry):"},
		{"rule 6", "mint again at once after an unknown outcome", dir + "plan_phase.go",
			"in.Now.Before(until) || in.Mem.InFlight[rot.Target] {", "in.Now.Before(until) && in.Now.After(until) {"},
		{"rule 6", "no effect horizon before a slot is used again", dir + "target.go",
			"if i.InFlight(in.Now, in.Policy.EffectHorizon) {", "if false && i.InFlight(in.Now, in.Policy.EffectHorizon) {"},
		{"rule 7", "an old claim is used", dir + "engine.go",
			"in.Mem.ClaimFresh = elapsed-s.claimedAt <= c.Policy.EffectHorizon/2", "in.Mem.ClaimFresh = true"},
		{"rule 7", "another rotatord's writes are ignored", dir + "agree.go",
			"return e.Meta != nil && e.Meta.Instance != \"\" && e.Meta.Instance != in.Instance", "return false"},
		{"rule 8", "one refusal is a death", dir + "absorb.go",
			"return n > 0 && n >= p.DeadProbes && list[n-1].Sub(list[0]) >= p.DeadAfter", "return n > 0"},
		{"rule 8", "a vanished secret counts as never written", dir + "agree.go",
			"if r.Live.Fingerprint == \"\" && (!e.Ever ||", "if r.Live.Fingerprint == \"\" || (!e.Ever ||"},
		{"rule 9", "a restored sink's newer key is retired at once", dir + "publish.go",
			"r.RetireAt, r.Phase = w.in.latest().Add(w.c.Policy.Overlap), PhaseOverlap\n\tif r.Previous", "r.RetireAt, r.Phase = w.in.latest(), PhaseOverlap\n\tif r.Previous"},
	}
}

func rules10to15() []mutant {
	return []mutant{
		{"rule 10", "a rebuilt journal acts at once", dir + "adopt.go",
			"AdoptedAt: m.AdoptedAt, RebuiltAt: now,", "AdoptedAt: m.AdoptedAt,"},
		{"rule 10", "a hold is lost with the journal", dir + "adopt.go",
			"Hold: m.Hold, Request: known.Request", "Request: known.Request"},
		{"rule 11", "retire with a clock that is off", dir + "plan_overlap.go",
			"if !v.SkewKnown || v.Skew.Abs() > MaxSkew {", "if false {"},
		{"rule 11", "the item's date alone says when a key is due", dir + "plan.go",
			"if k.Expires.IsZero() || at.Before(k.Expires) {", "if k.Expires.IsZero() {"},
		{"rule 12", "a rotation that changes nothing is repeated", dir + "publish.go",
			"due == rot.Reason && !w.asAsked(rot) {", "due == \"never\" {"},
		{"rule 12", "no gain asked for", dir + "due.go",
			"asked.Sub(r.Live.Expires) <= p.MinGain", "asked.Sub(r.Live.Expires) <= -p.Lifetime"},
		{"rule 13", "a hold does not stop retiring", dir + "plan_overlap.go",
			"if h := in.hold(); h != nil {", "if h := in.hold(); h != nil && false {"},
		{"rule 13", "a hold does not stop a start", dir + "due.go",
			"h != nil && due != ReasonCompromised", "h != nil && due == ReasonCompromised"},
		{"rule 14", "a compromised key keeps its overlap", dir + "publish.go",
			"rot != nil && (rot.Compromised || rot.DeadOld)", "rot != nil && (rot.DeadOld)"},
		{"rule 15", "orphans stay", dir + "plan_idle.go",
			"if p.OrphanDelay <= 0 ||", "if p.OrphanDelay >= 0 ||"},
		{"invariant 3", "retire before the overlap is over", dir + "target.go",
			"return !r.RetireAt.IsZero() && !in.Now.Before(r.RetireAt) && !in.Portal.Before(r.RetireAt)", "return !r.RetireAt.IsZero()"},
		{"invariant 5", "a key in memory is minted again after slow propagation", dir + "mint.go",
			"if w.neverMinted(ctx) {", "if true {"},
		{"invariant 7", "watch mode acts", dir + "plan.go",
			"\tif in.Mode != ModeRotate {\n\t\tswitch {", "\tif in.Mode == \"never\" {\n\t\tswitch {"},
		{"replacement", "the item that was replaced goes without an overlap", dir + "plan_former.go",
			"if in.Now.Before(f.RetireAt) || in.Portal.Before(f.RetireAt) {", "if false {"},
		{"replacement", "somebody's key in the item that was replaced is revoked", dir + "plan_former.go",
			"case !f.ours(s):", "case false:"},
		{"intent", "the mint is sent before its intent is journalled", dir + "mint.go",
			"\tw.intendMint()\n\tif !w.intend(ctx) {\n\t\treturn\n\t}", "\tw.intendMint()"},
		{"intent", "the revoke's proof is not waited for", dir + "retire.go",
			"if err := w.proveEnd(ctx, slot); err != nil {", "if err := w.proveEnd(ctx, slot); false {"},
	}
}
