package rotate

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The world of the property test: few keys, so that they often meet.
func anyKey(t *rapid.T, label string) Secret {
	return rapid.SampledFrom([]Secret{{}, liveKey(), liveKey(), prevKey(), newKey(), testKey(Slot1, "third"), keyOf("anotherClientXYZ", Slot2, "o"), NewSecret("hello")}).Draw(t, label)
}

func anyTime(t *rapid.T, label string) time.Time {
	at := rapid.SampledFrom([]time.Duration{0, -time.Second, -5 * time.Minute, -time.Hour, -8 * day, -100 * day, time.Minute, day, 10 * day, 60 * day}).Draw(t, label)
	if rapid.IntRange(0, 4).Draw(t, label+" unknown") == 0 {
		return time.Time{}
	}
	return t0().Add(at)
}

func flip(t *rapid.T, label string, oneIn int) bool {
	return rapid.IntRange(1, oneIn).Draw(t, label) == 1
}

func anyFacts(t *rapid.T, label string) KeyFacts {
	k := facts(anyKey(t, label), rapid.Int64Range(0, 6).Draw(t, label+" generation"), anyTime(t, label+" minted"), anyTime(t, label+" expires"))
	k.LatestExpiry = anyTime(t, label+" latest")
	return k
}

func anySlot(t *rapid.T, label string) Slot {
	return rapid.SampledFrom([]Slot{Slot1, Slot2}).Draw(t, label)
}

func anySlotState(t *rapid.T, label string) SlotState {
	st := SlotState{Use: rapid.SampledFrom([]SlotUse{UseUnknown, UseEmpty, UseLive, UsePrevious, UseOwn}).Draw(t, label+" use"), Key: anyFacts(t, label+" key"),
		Asked: anyTime(t, label+" asked"), Since: anyTime(t, label+" since"), Active: flip(t, label+" was active", 2), Taken: flip(t, label+" taken", 4)}
	if flip(t, label+" has intent", 3) {
		st.Intent = &Intent{Effect: rapid.SampledFrom([]Effect{EffectMint, EffectRevoke}).Draw(t, label+" effect"), SentAt: anyTime(t, label+" sent"),
			Outcome: rapid.SampledFrom([]Outcome{OutcomePending, OutcomeDone, OutcomeFailed, OutcomeUnknown}).Draw(t, label+" outcome")}
	}
	return st
}

func anyRecord(t *rapid.T, in *In) {
	r := &in.Record
	if flip(t, "odd slots", 2) {
		r.Slots[Slot1], r.Slots[Slot2] = anySlotState(t, "slot 1"), anySlotState(t, "slot 2")
	}
	if flip(t, "odd live", 4) {
		r.Live = anyFacts(t, "live")
	}
	if r.Live.Slot.Valid() && !r.Phase.InCutOver() {
		r.Slots[r.Live.Slot].Use = UseLive // which the engine always writes together
	}
	if flip(t, "odd previous", 3) {
		r.Previous, r.RetireAt = anyFacts(t, "previous"), anyTime(t, "retire at")
	}
	if flip(t, "odd times", 2) {
		r.RebuiltAt, r.PromotedAt, r.DeadAt = anyTime(t, "rebuilt"), anyTime(t, "promoted"), anyTime(t, "dead")
		r.SurveyedAt, r.ProbedAt, r.RetryAt = anyTime(t, "surveyed"), anyTime(t, "probed"), anyTime(t, "retry")
	}
	if flip(t, "never adopted", 8) {
		r.AdoptedAt = time.Time{}
	}
	if flip(t, "held", 5) {
		r.Hold = &Hold{Reason: "x", By: "ann", Until: anyTime(t, "hold until")}
	}
	if flip(t, "quarantined", 6) {
		r.Quarantine = &Quarantine{Reason: "x"}
	}
	if flip(t, "drift", 3) {
		r.Drift, r.DriftSince = rapid.SampledFrom(Drifts()).Draw(t, "which drift"), anyTime(t, "drift since")
	}
	if flip(t, "request", 3) {
		kinds := []RequestKind{RequestRotate, RequestCompromised, RequestRollback, RequestRegenerate, RequestInvalidate, RequestAdopt}
		r.Request = &Request{Kind: rapid.SampledFrom(kinds).Draw(t, "request kind"), Slot: anySlot(t, "request slot"), OutageOK: flip(t, "outage ok", 3), By: "ann",
			Fingerprints: []Fingerprint{anyKey(t, "named").Fingerprint(), anyKey(t, "named too").Fingerprint()}}
	}
	if rot := r.Rotation; rot != nil && flip(t, "odd rotation", 2) {
		rot.Reason = rapid.SampledFrom(DueReasons()).Draw(t, "reason")
		rot.Target, rot.Mints = anySlot(t, "target"), rapid.IntRange(0, 2).Draw(t, "mints")
		// What the engine never writes: a republish mints nothing, and only the first
		// sink's write commits.
		rot.Committed = r.Phase == PhasePublishing && flip(t, "committed", 3)
		if (r.Phase == PhaseClaiming || r.Phase == PhasePublishing) && flip(t, "republish", 4) {
			rot.Republish, rot.Mints = true, 0
		}
		rot.OutageOK, rot.Compromised, rot.TargetWasActive = flip(t, "rotation outage", 5), flip(t, "rotation compromised", 5), flip(t, "was active", 2)
		rot.New = anyFacts(t, "new")
	}
	r.MarkDue = flip(t, "mark due", 4)
	if flip(t, "revoke fails", 4) {
		r.Revoke = Ladder{Attempts: 2, RetryAt: anyTime(t, "revoke retry"), Error: "x"}
	}
	for _, p := range HookPoints() {
		if flip(t, "hooked "+string(p), 2) {
			r.Hooked = append(r.Hooked, p)
		}
	}
	if flip(t, "hook due", 4) {
		r.HookDue = &HookCall{Point: AfterRetiring}
	}
}

func anyView(t *rapid.T, in *In) {
	v := &in.View
	for i := range v.Sinks {
		if !flip(t, "odd sink", 3) {
			continue
		}
		e := Entry{Version: Version(rapid.SampledFrom([]string{"", "7", "8", "9"}).Draw(t, "version")), Ever: flip(t, "ever", 2), Key: anyKey(t, "sink key")}
		if flip(t, "meta", 2) {
			e.Meta = &Meta{Format: rapid.SampledFrom([]int{1, 1, 1, 2}).Draw(t, "format"), Item: testItem, Key: anyFacts(t, "meta key"), AdoptedAt: anyTime(t, "meta adopted"),
				Instance: rapid.SampledFrom([]string{"", "here", "here", "there"}).Draw(t, "instance")}
			if flip(t, "claim", 2) {
				e.Meta.Claim = &Claim{Generation: rapid.Int64Range(0, 6).Draw(t, "claimed generation"), Slot: anySlot(t, "claimed slot"), RotationID: "R1",
					Instance: rapid.SampledFrom([]string{"here", "there"}).Draw(t, "claimed by"), At: anyTime(t, "claimed at")}
			}
		}
		v.Sinks[i].Entry = e
		if flip(t, "sink down", 5) {
			sinkDown(i)(in)
		}
	}
	if flip(t, "odd flags", 2) {
		v.App.Active = [3]bool{false, flip(t, "flag 1", 2), flip(t, "flag 2", 2)}
	}
	if flip(t, "odd dates", 3) {
		v.Item.Expires = [3]time.Time{{}, anyTime(t, "date 1"), anyTime(t, "date 2")}
	}
	if flip(t, "odd proof", 3) {
		v.Proof = Proof{Valid: flip(t, "valid", 2), Item: rapid.SampledFrom([]ItemID{"", testItem, "other"}).Draw(t, "proved item"), Expires: anyTime(t, "proved expiry")}
	}
	if flip(t, "odd old", 3) {
		v.OldHad, v.Old = flip(t, "old had", 2), Proof{Valid: flip(t, "old valid", 2)}
	}
	for _, n := range []Need{NeedApp, NeedItem, NeedProof, NeedOld, NeedEarlier} {
		if flip(t, fmt.Sprint("error of ", n), 20) {
			v.Errs[n] = errDown
		}
	}
	if flip(t, "earlier", 3) {
		v.Earlier = []Entry{{Key: anyKey(t, "earlier key")}, {Key: anyKey(t, "earliest key")}}
	}
	v.Skew = rapid.SampledFrom([]time.Duration{0, 0, 4 * time.Minute, -6 * time.Minute}).Draw(t, "skew")
	v.SkewKnown = !flip(t, "no date", 6)
}

func anyIn(t *rapid.T) In {
	bases := []func() In{idleIn, expiringIn, overlapIn, retiringIn, committedIn, inPhase(PhaseClaiming), inPhase(PhaseDating), inPhase(PhaseMinting), inPhase(PhaseMinting),
		inPhase(PhaseProving), inPhase(PhasePublishing), func() In { in := retiringIn(); in.Record.Phase = PhaseRetiring; return in }}
	in := rapid.SampledFrom(bases).Draw(t, "base")()
	if !flip(t, "record as it is", 3) {
		anyRecord(t, &in)
	}
	if !flip(t, "view as it is", 3) {
		anyView(t, &in)
	}
	in.Mode = rapid.SampledFrom([]Mode{ModeRotate, ModeRotate, ModeRotate, ModeWatch, ""}).Draw(t, "mode")
	if flip(t, "odd memory", 3) {
		in.Mem = Memory{Minted: anyKey(t, "in memory").Fingerprint(), ClaimFresh: flip(t, "claim fresh", 2), ProofFresh: flip(t, "proof fresh", 2), Look: flip(t, "look", 4),
			InFlight: [3]bool{false, flip(t, "flying 1", 5), flip(t, "flying 2", 5)}}
	}
	p := &in.Policy
	p.SpareExpendable, p.AutoAdopt = flip(t, "expendable", 5), flip(t, "auto adopt", 5)
	if flip(t, "policy", 3) {
		p.MaxAge = rapid.SampledFrom([]time.Duration{0, day, 100 * day}).Draw(t, "max age")
		p.OrphanDelay = rapid.SampledFrom([]time.Duration{0, 7 * day}).Draw(t, "orphan delay")
		p.Calendar = rapid.SampledFrom([]Calendar{nil, closed{ReasonWindow}}).Draw(t, "calendar")
	}
	in.Deaths = rapid.IntRange(0, 5).Draw(t, "deaths")
	if flip(t, "hooks", 3) {
		in.Hooks = HookSet(rapid.Uint16().Draw(t, "hook points"))
	}
	if in.Gated = flip(t, "gated", 3); in.Gated {
		in.View.Have |= NeedGates
		for range rapid.IntRange(1, 2).Draw(t, "gates") {
			in.View.Gates = append(in.View.Gates, GateView{Name: "g", Answer: QuietAnswer{Quiet: flip(t, "quiet", 2)},
				Err: rapid.SampledFrom([]error{nil, nil, errDown}).Draw(t, "gate error")})
		}
	}
	if flip(t, "peers", 4) {
		in.Peers = Block{Reason: rapid.SampledFrom([]Reason{ReasonStage, ReasonLimit, ReasonFleetStop}).Draw(t, "peers say")}
	}
	return in
}

// seenIn says in words of its own what a View shows; the predicates below are
// written with it and not with the plan's own functions.
type seenIn struct{ *In }

// serves tells whether any sink that was read shows a key of that slot.
func (s seenIn) serves(slot Slot) bool {
	for _, v := range s.View.Sinks {
		fp := string(v.Entry.Key.Fingerprint())
		if len(fp) > 12 && fp[:12] == fmt.Sprintf("AT%d_%s", slot, clientID[len(clientID)-8:]) {
			return true
		}
	}
	return false
}

// agrees is rule 1: every sink shows the journal's key, and that key was just
// probed valid as this credential's, with its flag true.
func (s seenIn) agrees() bool {
	for _, v := range s.View.Sinks {
		m := v.Entry.Meta
		switch {
		case v.Err != nil, v.Entry.Key.Fingerprint() != s.Record.Live.Fingerprint, m != nil && m.Format > 1:
			return false
		case m != nil && (m.Key.Generation != s.Record.Live.Generation || m.Item != testItem):
			return false
		}
	}
	if m := s.View.first().Meta; m != nil && m.Instance != "" && m.Instance != "here" {
		return false
	}
	if s.Record.Live.Fingerprint == "" {
		return true
	}
	p := s.View.Proof
	return s.View.Have&NeedProof != 0 && p.Valid && (p.Item == "" || p.Item == testItem) && s.View.App.Active[s.Record.Live.Slot]
}

// dead tells whether there is nothing left to agree with: the served key was found
// dead, and a proof just made does not deny it.
func (s seenIn) dead() bool {
	denied := s.View.Have&NeedProof != 0 && s.View.err(NeedProof) == nil && s.View.Proof.Valid
	return !s.Record.DeadAt.IsZero() && !denied
}

// deadOfOurMint tells whether all that sinks serve of a slot is the live key, dead, and
// the slot holds another key of ours that nobody has.
func (s seenIn) deadOfOurMint(slot Slot) bool {
	live := s.Record.Live.Fingerprint
	for _, v := range s.View.Sinks {
		fp := string(v.Entry.Key.Fingerprint())
		if v.Err != nil || len(fp) > 3 && fp[:3] == fmt.Sprintf("AT%d", slot) && fp != string(live) {
			return false
		}
	}
	return s.dead() && s.Record.Live.Slot == slot && s.Record.Slots[slot].Use == UseOwn
}

// unknown tells whether a valid key that is nobody's we know sits in the slot.
func (s seenIn) unknown(slot Slot) bool {
	st := s.Record.Slots[slot]
	if !s.View.App.Active[slot] || st.Taken || s.Policy.SpareExpendable || st.Use == UseOwn || st.Use == UsePrevious || s.dateGone(slot) {
		return false
	}
	c := s.View.first().Meta
	return c == nil || c.Claim == nil || c.Claim.Slot != slot || c.Claim.Instance != "here"
}

// dateGone tells whether nothing that was seen gives the slot's key a later date.
func (s seenIn) dateGone(slot Slot) bool {
	known := s.Record.Slots[slot].Key.LatestExpiry
	return !known.IsZero() && known.Before(s.Portal) || known.IsZero() && !s.View.Item.Expires[slot].IsZero() && s.View.Item.Expires[slot].Before(s.Portal)
}

func (s seenIn) flying(slot Slot) bool {
	i := s.Record.Slots[slot].Intent
	open := i != nil && (i.Outcome == OutcomePending || i.Outcome == OutcomeUnknown)
	return s.Mem.InFlight[slot] || open && s.Now.Sub(i.SentAt) < s.Policy.EffectHorizon
}

// wrongs lists why a destructive decision must not have been made.
func (s seenIn) wrongs(d Decision) []string {
	var all []string
	bad := func(is bool, why string) {
		if is {
			all = append(all, why)
		}
	}
	rot, q := s.Record.Rotation, s.Record.Request
	running := rot != nil && s.Record.Phase.InCutOver() && rot.Mints > 0
	bad(s.Record.AdoptedAt.IsZero(), "never adopted")
	bad(s.Mode != ModeRotate && !running, "mode is not rotate")
	bad(!d.Slot.Valid(), "no slot")
	bad(d.Step != StepDate && s.flying(d.Slot), "in flight")
	outage := q != nil && q.OutageOK
	switch d.Step {
	case StepMint, StepDate:
		outage = rot.OutageOK
		gone := s.dateGone(d.Slot) || !s.View.App.Active[d.Slot] && !s.Record.DeadAt.IsZero() || s.deadOfOurMint(d.Slot)
		bad(s.serves(d.Slot) && !outage && !gone, "a sink serves it")
		bad(s.unknown(d.Slot) && !outage, "somebody unknown")
		emptySlot := !s.View.App.Active[d.Slot]
		bad(d.Step == StepMint && !s.agrees() && !outage && !s.dead() && !emptySlot, "no agreement")
	case StepRetire:
		bad(s.serves(d.Slot), "a sink serves it")
		bad(!s.agrees(), "no agreement")
		bad(d.Slot == s.Record.Live.Slot && s.Record.Live.Fingerprint != "", "it is the live slot")
		bad(!s.View.SkewKnown || s.View.Skew.Abs() > 5*time.Minute, "clock")
		rushed := rot != nil && rot.Compromised || q != nil && q.Kind == RequestCompromised
		bad(!rushed && s.Record.RetireAt.After(s.Portal) && !s.Record.Previous.LatestExpiry.Before(s.Portal), "overlap")
		bad(!rushed && (s.Record.Quarantine != nil || s.Policy.Calendar != nil), "quarantined or closed")
		bad(!rushed && inUse(s.Gated, s.View.Gates), "still in use")
		bad(s.Record.Revoke.RetryAt.After(s.Now), "the ladder of revocations")
	case StepRevoke:
		bad(s.serves(d.Slot) && !outage, "a sink serves it")
		bad(!s.agrees() && !outage, "no agreement")
		bad(q == nil && s.unknown(d.Slot), "somebody unknown") // a person names the slot
	}
	return all
}

// inUse tells whether a gate stands against the end of the previous key.
func inUse(gated bool, gates []GateView) bool {
	for _, g := range gates {
		if !g.Answer.Quiet || g.Err != nil {
			return true
		}
	}
	return gated && len(gates) == 0
}

// unasked lists the hooks that a step must not have come before.
func (s seenIn) unasked(d Decision) (all []HookPoint) {
	points := map[Step][]HookPoint{StepClaim: {BeforeClaiming}, StepDate: {AfterClaiming, BeforeDating}, StepMint: {AfterDating, BeforeMinting},
		StepProve: {AfterMinting, BeforeProving}, StepRetire: {AfterPublishing, BeforeRetiring}}[d.Step]
	for _, p := range points {
		if s.Hooks.Has(p) && !slices.Contains(s.Record.Hooked, p) {
			all = append(all, p)
		}
	}
	return all
}

func TestDecideProperties(t *testing.T) {
	for range 20 { // a hundred records at a time are too few for its rare corners
		rapid.Check(t, decideProperly)
	}
}

func decideProperly(t *rapid.T) {
	in := anyIn(t)
	d, have, ok := settled(in)
	if !ok {
		t.Fatalf("looks without end, last for %b", d.Need)
	}
	seen := unseen(in, have)
	if again := Decide(unseen(in, have)); !reflect.DeepEqual(d, again) {
		t.Fatalf("decided %+v, then %+v", d, again)
	}
	if missed := (seenIn{&seen}).unasked(d); len(missed) > 0 {
		t.Fatalf("%s before the hooks of %v", d.Step, missed)
	}
	if d.Step == StepStart && seen.Peers.Reason != "" && !urgent(d.Due) && !seen.critical() && (d.Due != ReasonRequested || seen.Peers.Reason == ReasonLimit) {
		t.Fatalf("a start for %s against %s", d.Due, seen.Peers.Reason)
	}
	switch d.Step {
	case StepMint, StepDate, StepRetire, StepRevoke:
		if wrong := (seenIn{&seen}).wrongs(d); len(wrong) > 0 {
			t.Fatalf("%s slot %s: %v in phase %s\nslots %+v\nrotation %+v\nview %+v", d.Step, d.Slot, wrong, in.Record.Phase, in.Record.Slots, in.Record.Rotation, seen.View)
		}
	case StepNone:
		if d.Blocked == "" {
			t.Fatalf("nothing is done, and nothing says why: %+v", d)
		}
	case StepFail:
		if d.Err == nil {
			t.Fatal("a failure without an error")
		}
	}
}
