package rotate

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	day      = 24 * time.Hour
	clientID = "lgalmA3rH4JC97kO"
	testItem = ItemID("4f0c5b6a7d8e4f0c5b6a7d8e4f0c5b6a")
	// testBody is in every key that the tests make: wherever it shows up, a key leaked.
	testBody = "CANARYkeyBody"
)

// t0 is the time of the pure tests.
func t0() time.Time { return time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC) }

func testID() ID { return ID{Portal: "esri", Item: testItem} }

// keyOf a client: a key in the portal's form. The seed tells keys of one slot apart.
func keyOf(client string, slot Slot, seed string) Secret {
	body := testBody + seed + strings.Repeat("x", 20)
	return NewSecret(fmt.Sprintf("AAPT%sAT%d_%s", body, slot, client[len(client)-8:]))
}

func testKey(slot Slot, seed string) Secret { return keyOf(clientID, slot, seed) }

func testPolicy() Policy {
	return Policy{RenewBefore: 21 * day, Overlap: 7 * day, CriticalBefore: 3 * day, Lifetime: 90 * day, Precision: PrecisionDay,
		MinInterval: day, MinGain: 2 * day, ProbeEvery: time.Hour, DeepEvery: day, OrphanDelay: 8 * day, EffectHorizon: 10 * time.Minute,
		RetryBase: 30 * time.Second, RetryMax: time.Hour, MaxAttempts: 5, DeadProbes: 3, DeadAfter: 10 * time.Minute, DeathsPerHour: 3}
}

func facts(k Secret, generation int64, minted, expires time.Time) KeyFacts {
	fp := k.Fingerprint()
	return KeyFacts{Slot: fp.Slot(), Fingerprint: fp, Generation: generation, MintedAt: minted, Expires: expires, LatestExpiry: expires}
}

// liveKey and oldKey are what the idle and overlap fixtures have in slots 1 and 2.
func liveKey() Secret { return testKey(Slot1, "live") }
func prevKey() Secret { return testKey(Slot2, "prev") }
func newKey() Secret  { return testKey(Slot2, "new") }

// idleIn is an adopted credential with nothing to do: slot 1 is served by two sinks
// and expires in 60 days, slot 2 is empty, and everything was just looked at.
func idleIn() In {
	live := facts(liveKey(), 4, t0().Add(-30*day), t0().Add(60*day))
	meta := func() *Meta {
		return &Meta{Format: MetaFormat, Portal: "esri", Item: testItem, Instance: "here", Key: live, AdoptedAt: t0().Add(-100 * day)}
	}
	in := In{Now: t0(), Portal: t0(), Policy: testPolicy(), Mode: ModeRotate, ID: testID(), Instance: "here"}
	in.Record = Record{Name: "maps", ID: testID(), Epoch: 9, Owner: "ops", ClientID: clientID, AdoptedAt: t0().Add(-100 * day), Phase: PhaseIdle,
		Live: live, PromotedAt: t0().Add(-30 * day), SurveyedAt: t0(), ProbedAt: t0(), TopGeneration: 4}
	in.Record.Slots[Slot1] = SlotState{Use: UseLive, Key: live, Active: true, Expires: live.Expires, SeenAt: t0()}
	in.Record.Slots[Slot2] = SlotState{Use: UseEmpty, SeenAt: t0()}
	in.View = View{Have: NeedAll | NeedEarlier | NeedOld, SkewKnown: true, Since: t0(), Errs: map[Need]error{},
		Sinks: []SinkView{
			{Name: "vault", Entry: Entry{Version: "7", Ever: true, Key: liveKey(), Meta: meta()}},
			{Name: "file", Entry: Entry{Version: "3", Ever: true, Key: liveKey(), Meta: meta()}},
		},
		App:   App{ClientID: clientID, ClientSecret: NewSecret("client-" + testBody), Active: [3]bool{false, true, false}},
		Item:  Item{Owner: "ops", Expires: [3]time.Time{{}, live.Expires, {}}},
		Proof: Proof{Valid: true, ClientID: clientID, Item: testItem, Expires: live.Expires},
	}
	return in
}

// expiringIn is idleIn with a served key that is inside renew_before.
func expiringIn() In {
	in := idleIn()
	setLive(&in, func(k *KeyFacts) { k.Expires, k.LatestExpiry = t0().Add(20*day), t0().Add(20*day) })
	in.View.Proof.Expires, in.View.Item.Expires[Slot1] = t0().Add(20*day), t0().Add(20*day)
	return in
}

// setLive changes what journal and sinks say about the served key.
func setLive(in *In, change func(*KeyFacts)) {
	change(&in.Record.Live)
	in.Record.Slots[in.Record.Live.Slot].Key = in.Record.Live
	for i := range in.View.Sinks {
		if m := in.View.Sinks[i].Entry.Meta; m != nil {
			m.Key = in.Record.Live
		}
	}
}

// phaseIn is a rotation into slot 2, in that phase, before its one effect.
func phaseIn(p Phase) In {
	in := expiringIn()
	r := &in.Record
	r.Phase = p
	r.Rotation = &Rotation{ID: "R1", Reason: ReasonExpiring, Started: t0(), Generation: 5, Target: Slot2}
	if p == PhaseClaiming {
		return in
	}
	r.Rotation.ClaimAt, r.Rotation.ClaimedAt = "8", t0()
	in.Mem.ClaimFresh = true
	in.View.Sinks[0].Entry.Version = "8"
	in.View.Sinks[0].Entry.Meta.Claim = &Claim{Generation: 5, Slot: Slot2, Instance: "here", RotationID: "R1", At: t0()}
	if p == PhaseDating || p == PhaseMinting {
		return in
	}
	k := facts(newKey(), 5, t0(), t0().Add(90*day))
	r.Rotation.New, r.Rotation.Mints = k, 1
	r.Slots[Slot2] = SlotState{Use: UseOwn, Key: k, Since: t0(), Active: true,
		Intent: &Intent{Effect: EffectMint, RotationID: "R1", SentAt: t0(), Outcome: OutcomeDone}}
	in.View.App.Active[Slot2] = true
	in.Mem.Minted = k.Fingerprint
	in.Mem.ProofFresh = p == PhasePublishing
	return in
}

// overlapIn has the served key in slot 1 and the previous one in slot 2, in use for
// another day.
func overlapIn() In {
	in := idleIn()
	r := &in.Record
	r.Phase = PhaseOverlap
	r.Rotation = &Rotation{ID: "R0", Reason: ReasonExpiring, Started: t0().Add(-6 * day), Generation: 4, Target: Slot1, New: r.Live, Mints: 1, Committed: true}
	r.PromotedAt, r.RetireAt = t0().Add(-6*day), t0().Add(day)
	r.Previous = facts(prevKey(), 3, t0().Add(-80*day), t0().Add(10*day))
	r.Slots[Slot2] = SlotState{Use: UsePrevious, Key: r.Previous, Since: t0().Add(-6 * day), Active: true, Expires: r.Previous.Expires, SeenAt: t0()}
	in.View.App.Active[Slot2] = true
	in.View.Item.Expires[Slot2] = r.Previous.Expires
	in.View.Earlier = []Entry{{Version: "6", Ever: true, Key: prevKey(), Meta: &Meta{Format: MetaFormat, Item: testItem, Instance: "here", Key: r.Previous}}}
	in.View.Old = Proof{Valid: true, ClientID: clientID, Item: testItem, Expires: r.Previous.Expires}
	in.View.OldHad = true
	return in
}

// retiringIn is overlapIn a day later.
func retiringIn() In {
	in := overlapIn()
	in.Record.RetireAt = t0().Add(-time.Minute)
	return in
}

// unseen hides from a copy of in what was not looked at: a decision may depend on
// nothing else.
func unseen(in In, have Need) In {
	full := in.View
	v := View{Have: have, Skew: full.Skew, SkewKnown: full.SkewKnown, Since: full.Since, Errs: map[Need]error{}}
	for n, err := range full.Errs {
		if have&n != 0 {
			v.Errs[n] = err
		}
	}
	if have&NeedSinks != 0 {
		v.Sinks = full.Sinks
	}
	if have&NeedEarlier != 0 {
		v.Earlier = full.Earlier
	}
	if have&NeedApp != 0 {
		v.App = full.App
	}
	if have&NeedItem != 0 {
		v.Item = full.Item
	}
	if have&NeedProof != 0 {
		v.Proof, v.ProofControl = full.Proof, full.ProofControl
	}
	if have&NeedOld != 0 {
		v.Old, v.OldHad = full.Old, full.OldHad
	}
	if have&NeedGates != 0 {
		v.Gates = full.Gates
	}
	in.View = v
	return in
}

// settled decides as the engine does: from nothing, looking at what is asked for.
// It returns what the decision had seen.
func settled(in In) (Decision, Need, bool) {
	var have Need
	for range lookRounds {
		d := Decide(unseen(in, have))
		if d.Need == 0 {
			return d, have, true
		}
		if d.Need&^have == 0 {
			return d, have, false
		}
		have |= d.Need
		if have&NeedProof != 0 {
			have |= NeedSinks
		}
	}
	return Decision{}, have, false
}

func decided(t *testing.T, in In) Decision {
	t.Helper()
	d, _, ok := settled(in)
	if !ok {
		t.Fatalf("the plan asks for looks without end, last for %b", d.Need)
	}
	return d
}
