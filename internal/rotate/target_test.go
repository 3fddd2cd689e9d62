package rotate

import (
	"fmt"
	"testing"
	"time"
)

// slotCase is one combination of everything that rule 2 looks at, for slot 2.
type slotCase struct {
	flag        bool
	date        string // of the slot's key: unknown, past or future
	use         SlotUse
	taken       bool
	expendable  bool
	served      bool // a later sink serves its key
	dead        bool // the served key was found dead
	retireOver  bool
	flying      string // none, journal or memory
	rebuilt     bool
	claimed     bool // the first sink has our own claim on it
	compromised bool // the previous key is named as compromised
	outage      bool
}

// mayMint is rule 2 written down again, apart from the code: whose key could be in
// the slot, and who would miss it.
func (c slotCase) mayMint() bool {
	if c.flying != "none" {
		return false // rule 6
	}
	keyIsGone := c.date == "past" || !c.flag
	if c.served {
		// Consumers read it. It may go only if it is known to be dead, or a person
		// accepts the outage.
		if c.date == "past" || (!c.flag && c.dead) {
			return true
		}
		return c.outage
	}
	if keyIsGone {
		return true
	}
	if c.rebuilt {
		return false // rule 10: occupied, and the journal is young
	}
	nobodyElse := c.taken || c.expendable
	switch c.use {
	case UseOwn:
		return true
	case UsePrevious:
		return c.retireOver || c.compromised
	case UseEmpty, UseUnknown:
		return c.claimed || nobodyElse
	default: // live, but no sink serves it
		return nobodyElse
	}
}

func (c slotCase) in() In {
	in := idleIn()
	r := &in.Record
	in.View.App.Active[Slot2] = c.flag
	k := facts(prevKey(), 3, t0().Add(-80*day), time.Time{})
	switch c.date {
	case "past":
		k.LatestExpiry = t0().Add(-time.Second)
	case "future":
		k.LatestExpiry = t0().Add(time.Second)
	}
	r.Slots[Slot2] = SlotState{Use: c.use, Key: k, Taken: c.taken}
	in.Policy.SpareExpendable = c.expendable
	if c.use == UsePrevious {
		r.Previous, r.RetireAt = k, t0().Add(time.Second)
		if c.retireOver {
			r.RetireAt = t0()
		}
	}
	if c.served {
		in.View.Sinks[1].Entry.Key = prevKey()
	}
	if c.dead {
		r.DeadAt = t0()
	}
	switch c.flying {
	case "journal":
		r.Slots[Slot2].Intent = &Intent{Effect: EffectRevoke, SentAt: t0().Add(-9 * time.Minute), Outcome: OutcomeUnknown}
	case "memory":
		in.Mem.InFlight[Slot2] = true
	}
	if c.rebuilt {
		r.RebuiltAt = t0().Add(-7*day + time.Second)
	}
	if c.claimed {
		in.View.Sinks[0].Entry.Meta.Claim = &Claim{Generation: 5, Slot: Slot2, Instance: "here", RotationID: "R9", At: t0().Add(-day)}
	}
	if c.outage {
		r.Request = &Request{Kind: RequestRegenerate, Slot: Slot2, OutageOK: true, By: "ann"}
	}
	return in
}

// slotCases is every combination.
func slotCases() []slotCase {
	var all []slotCase
	for _, date := range []string{"unknown", "past", "future"} {
		for _, use := range []SlotUse{UseUnknown, UseEmpty, UseLive, UsePrevious, UseOwn} {
			for _, flying := range []string{"none", "journal", "memory"} {
				for bits := range 1 << 10 {
					if flying == "memory" && bits >= 1<<4 {
						break // the same rule as for the journal, by another clock
					}
					on := func(i int) bool { return bits&(1<<i) != 0 }
					all = append(all, slotCase{date: date, use: use, flying: flying, flag: on(0), taken: on(1), expendable: on(2), served: on(3), dead: on(4),
						retireOver: on(5), rebuilt: on(6), claimed: on(7), compromised: on(8), outage: on(9)})
				}
			}
		}
	}
	return all
}

func TestRule2Exhaustively(t *testing.T) {
	allowed, wrong := 0, 0
	for _, c := range slotCases() {
		in := c.in()
		due, q := ReasonExpiring, in.Record.Request
		if c.compromised {
			due = ReasonCompromised
			q = &Request{Kind: RequestCompromised, Fingerprints: []Fingerprint{prevKey().Fingerprint()}, By: "ann", OutageOK: c.outage}
			in.Record.Request = q
		}
		_, why, _ := in.mintable(Slot2, due, q)
		if got, want := why == "", c.mayMint(); got != want {
			t.Errorf("%+v: allowed %t (%s), want %t", c, got, why, want)
			if wrong++; wrong > 10 {
				t.FailNow()
			}
		}
		if why == "" {
			allowed++
		}
	}
	if all := len(slotCases()); allowed == 0 || allowed == all {
		t.Errorf("%d of %d combinations are allowed", allowed, all)
	}
}

// TestRule2Start checks the same through the whole plan: a rotation starts into
// slot 2 only where that is allowed, and never into the served slot 1.
func TestRule2Start(t *testing.T) {
	started := 0
	for _, c := range slotCases() {
		if c.served || c.dead || c.compromised || c.outage {
			continue // other paths of the plan
		}
		in := c.in()
		setLive(&in, func(k *KeyFacts) { k.Expires, k.LatestExpiry = t0().Add(10*day), t0().Add(10*day) })
		in.View.Proof.Expires, in.View.Item.Expires[Slot1] = t0().Add(10*day), t0().Add(10*day)
		d := decided(t, in)
		if got, want := d.Step == StepStart, c.mayMint(); got != want || got && d.Slot != Slot2 {
			t.Fatalf("%+v: %+v, want a start %t", c, d, want)
		}
		if d.Step == StepStart {
			started++
		} else if d.Due != ReasonExpiring || d.Blocked == "" || d.Detail == "" {
			t.Fatalf("%+v: a blocked start does not say why: %+v", c, d)
		}
	}
	if started == 0 {
		t.Error("no combination starts")
	}
}

func TestMintableSaysWhy(t *testing.T) {
	occupied := slotCase{flag: true, date: "future", flying: "none"}
	for _, tt := range []struct {
		name   string
		change func(c *slotCase)
		want   Reason
		until  time.Time
	}{
		{"somebody unknown", func(*slotCase) {}, ReasonOccupied, time.Time{}},
		{"a sink serves it", func(c *slotCase) { c.served = true }, ReasonOccupied, time.Time{}},
		{"a sink serves it, and it is ours", func(c *slotCase) { c.served, c.use = true, UseOwn }, ReasonOccupied, time.Time{}},
		{"in overlap", func(c *slotCase) { c.use = UsePrevious }, ReasonOverlap, t0().Add(time.Second)},
		{"in overlap, whatever the config says", func(c *slotCase) { c.use, c.expendable, c.taken = UsePrevious, true, true }, ReasonOverlap, t0().Add(time.Second)},
		{"unknown outcome", func(c *slotCase) { c.flying = "journal" }, ReasonHorizon, t0().Add(time.Minute)},
		{"unknown outcome, by the steady clock", func(c *slotCase) { c.flying = "memory" }, ReasonHorizon, t0().Add(time.Minute)},
		{"unknown outcome in an empty slot", func(c *slotCase) { c.flying, c.flag = "journal", false }, ReasonHorizon, t0().Add(time.Minute)},
		{"rebuilt", func(c *slotCase) { c.rebuilt, c.use = true, UseOwn }, ReasonRebuilt, t0().Add(time.Second)},
	} {
		c := occupied
		tt.change(&c)
		in := c.in()
		_, why, until := in.mintable(Slot2, ReasonExpiring, nil)
		if why != tt.want || !until.Equal(tt.until) {
			t.Errorf("%s: %q until %s, want %q until %s", tt.name, why, until, tt.want, tt.until)
		}
		if text := blockedSentence(why); text == "" || text == string(why) {
			t.Errorf("%s: %s has no sentence for people", tt.name, why)
		}
	}
}

func TestInFlight(t *testing.T) {
	horizon := 10 * time.Minute
	for _, tt := range []struct {
		outcome Outcome
		age     time.Duration
		want    bool
	}{
		{OutcomePending, 0, true}, {OutcomePending, horizon - 1, true}, {OutcomePending, horizon, false},
		{OutcomeUnknown, 0, true}, {OutcomeUnknown, horizon - 1, true}, {OutcomeUnknown, horizon, false},
		{OutcomeDone, 0, false}, {OutcomeFailed, 0, false},
	} {
		i := &Intent{Effect: EffectMint, SentAt: t0().Add(-tt.age), Outcome: tt.outcome}
		if got := i.InFlight(t0(), horizon); got != tt.want {
			t.Errorf("%s after %s: in flight %t, want %t", tt.outcome, tt.age, got, tt.want)
		}
	}
	if (*Intent)(nil).InFlight(t0(), horizon) {
		t.Error("no intent is in flight")
	}
}

// TestPastDate: dead by date is the latest of what is known (rule 11), and a date
// that we set for a key that was never minted says nothing about the key before it.
func TestPastDate(t *testing.T) {
	past, future := t0().Add(-day), t0().Add(30*day)
	for _, tt := range []struct {
		name              string
		known, item, ours time.Time
		looked, want      bool
	}{
		{"nothing known", time.Time{}, time.Time{}, time.Time{}, true, false},
		{"journal past", past, time.Time{}, time.Time{}, false, true},
		{"journal past, item future", past, future, time.Time{}, true, false},
		{"journal past, item future, not looked at", past, future, time.Time{}, false, true},
		{"journal future, item past", future, past, time.Time{}, true, false},
		{"item past alone", time.Time{}, past, time.Time{}, true, true},
		{"item future, but we set it", past, future, future, true, true},
		{"item future, set by us, rounded by a day", past, future.Add(day), future, true, true},
		{"item future, and another than we set", past, future, future.Add(-10 * day), true, false},
		{"item future, set by us, key unknown", time.Time{}, future, future, true, false},
		{"now is not past", t0(), time.Time{}, time.Time{}, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := idleIn()
			in.Record.Slots[Slot2].Key.LatestExpiry, in.Record.Slots[Slot2].Asked = tt.known, tt.ours
			in.View.Item.Expires[Slot2] = tt.item
			if !tt.looked {
				in.View.Have &^= NeedItem
			}
			if got := in.pastDate(Slot2); got != tt.want {
				t.Errorf("past = %t, want %t", got, tt.want)
			}
		})
	}
}

func TestChooseTarget(t *testing.T) {
	set := func(in *In, s Slot, active bool, use SlotUse) {
		in.View.App.Active[s], in.Record.Slots[s].Use = active, use
	}
	for _, tt := range []struct {
		name   string
		change func(in *In)
		want   Slot
		why    Reason
	}{
		{"the empty spare", func(*In) {}, Slot2, ""},
		{"the spare of slot 2", func(in *In) {
			setLive(in, func(k *KeyFacts) { *k = facts(prevKey(), 4, t0(), t0().Add(day)) })
			set(in, Slot1, false, UseEmpty)
			set(in, Slot2, true, UseLive)
			for i := range in.View.Sinks {
				in.View.Sinks[i].Entry.Key = prevKey()
			}
		}, Slot1, ""},
		{"both empty: slot 1 first", func(in *In) {
			in.Record.Live = KeyFacts{}
			set(in, Slot1, false, UseEmpty)
			in.View.Sinks = nil
		}, Slot1, ""},
		{"empty before our own", func(in *In) {
			in.Record.Live = KeyFacts{}
			in.View.Sinks = nil
			set(in, Slot1, true, UseOwn)
		}, Slot2, ""},
		{"our own before one that was allowed", func(in *In) {
			in.Record.Live = KeyFacts{}
			in.View.Sinks = nil
			set(in, Slot1, true, UseUnknown)
			in.Record.Slots[Slot1].Taken = true
			set(in, Slot2, true, UseOwn)
		}, Slot2, ""},
		{"both served by sinks that differ", func(in *In) {
			in.View.Sinks[1].Entry.Key = prevKey()
			set(in, Slot2, true, UseUnknown)
		}, NoSlot, ReasonOccupied},
		{"served and dead by flag, the spare occupied", func(in *In) {
			in.Record.DeadAt = t0()
			set(in, Slot1, false, UseLive)
			set(in, Slot2, true, UseUnknown)
		}, Slot1, ""},
		{"served and dead by date, the spare empty", func(in *In) {
			in.Record.Slots[Slot1].Key.LatestExpiry = t0().Add(-day)
			in.View.Item.Expires[Slot1] = t0().Add(-day)
		}, Slot2, ""},
		{"named by a person", func(in *In) { in.Record.Request = &Request{Kind: RequestRegenerate, Slot: Slot2} }, Slot2, ""},
		{"served, named by a person", func(in *In) { in.Record.Request = &Request{Kind: RequestRegenerate, Slot: Slot1} }, NoSlot, ReasonOccupied},
		{"served, and the outage accepted", func(in *In) {
			in.Record.Request = &Request{Kind: RequestRegenerate, Slot: Slot1, OutageOK: true}
		}, Slot1, ""},
		{"somebody unknown, even with the outage accepted", func(in *In) {
			set(in, Slot2, true, UseUnknown)
			in.Record.Request = &Request{Kind: RequestRegenerate, Slot: Slot2, OutageOK: true}
		}, NoSlot, ReasonOccupied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := idleIn()
			tt.change(&in)
			got, d := in.chooseTarget(ReasonExpiring)
			if got != tt.want || d.Blocked != tt.why {
				t.Errorf("target %s, blocked %q; want %s, %q", got, d.Blocked, tt.want, tt.why)
			}
		})
	}
	if got := fmt.Sprint(Slots(), NoSlot.Other(), Slot1.Other(), Slot2.Other(), NoSlot, NoSlot.Valid(), Slot(3).Valid()); got != "[1 2] - 2 1 - false false" {
		t.Errorf("slots: %s", got)
	}
}

// TestAClaimThatTheJournalKnowsIsNoEvidence: what a rotation that began here minted is
// in the journal; its claim says nothing more about who sits in the slot now.
func TestAClaimThatTheJournalKnowsIsNoEvidence(t *testing.T) {
	for last, want := range map[string]slotClass{"": slotOwn, "R8": slotOwn, "R9": slotOccupied, "S1": slotOccupied} {
		in := expiringIn()
		in.View.App.Active[Slot2], in.View.Item.Expires[Slot2] = true, t0().Add(50*day)
		in.View.Sinks[0].Entry.Meta.Claim = &Claim{Generation: 5, Slot: Slot2, Instance: "here", RotationID: "R9", At: t0().Add(-day)}
		in.Record.LastRotation = last
		if got := in.classify(Slot2); got != want {
			t.Errorf("the journal knows rotations to %q: class %d, want %d", last, got, want)
		}
	}
}
