package rotate

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func kindsOf(events []Event) []EventKind {
	var kinds []EventKind
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func TestAbsorbDeaths(t *testing.T) {
	refusals := func(ago ...time.Duration) func(in *In) {
		return func(in *In) {
			for _, d := range ago {
				in.Record.Refusals = append(in.Record.Refusals, t0().Add(-d))
			}
		}
	}
	flagFalse := func(in *In) { in.View.App.Active[Slot1] = false }
	pastDate := func(in *In) { in.Record.Live.LatestExpiry = t0().Add(-time.Second) }
	for _, tt := range []struct {
		name   string
		change func(in *In)
		dead   bool
		noted  int // refusals afterwards
		detail string
	}{
		{"it works", func(*In) {}, false, 0, ""},
		{"it works again", refusals(time.Hour, time.Minute), false, 0, ""},
		{"refused once", refusedKey, false, 1, ""},
		{"refused and its flag is false", with(refusedKey, flagFalse), true, 1, "the portal says that its slot holds no active key"},
		{"refused and its date is past", with(refusedKey, pastDate), true, 1, "it has expired"},
		{"refused, date past by its earliest source only", with(refusedKey, func(in *In) { in.Record.Live.Expires = t0().Add(-day) }), false, 1, ""},
		{"flag false, and it works", flagFalse, false, 0, ""},
		{"date past, and it works", pastDate, false, 0, ""},
		{"third refusal after ten minutes", with(refusedKey, refusals(10*time.Minute, 5*time.Minute)), true, 3,
			"the portal refused it again and again while it answers other calls"},
		{"third refusal too soon", with(refusedKey, refusals(10*time.Minute-1, 5*time.Minute)), false, 3, ""},
		{"second refusal after an hour", with(refusedKey, refusals(time.Hour)), false, 2, ""},
		{"the portal answers nothing else either", with(refusedKey, refusals(time.Hour, time.Minute), func(in *In) { in.View.ProofControl = errDown }), false, 2, ""},
		{"a refusal with its flag unseen", with(refusedKey, flagFalse, func(in *In) { in.View.Errs[NeedApp] = errDown }), false, 1, ""},
		{"an error is no refusal", with(refusedKey, flagFalse, func(in *In) { in.View.Errs[NeedProof] = errDown }), false, 0, ""},
		{"another key was probed", with(refusedKey, flagFalse, shows(0, prevKey(), 3)), false, 0, ""},
		{"no key was probed", with(refusedKey, flagFalse, vanish(0)), false, 0, ""},
		{"never adopted", with(refusedKey, flagFalse, func(in *In) { in.Record.AdoptedAt = time.Time{} }), false, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := idleIn()
			tt.change(&in)
			r, events := absorb(in)
			if dead := !r.DeadAt.IsZero(); dead != tt.dead || len(r.Refusals) != tt.noted {
				t.Errorf("dead %t after %d refusals, want %t after %d", dead, len(r.Refusals), tt.dead, tt.noted)
			}
			var detail string
			for _, e := range events {
				if e.Kind == EventKeyDead {
					detail = e.Detail
					if e.Slot != Slot1 || e.Fingerprint != liveKey().Fingerprint() || e.Generation != 4 {
						t.Errorf("event %+v names another key", e)
					}
				}
			}
			if detail != tt.detail {
				t.Errorf("told %q, want %q", detail, tt.detail)
			}
			// A death is told once.
			in.Record = r
			if _, again := absorb(in); tt.dead && len(kindsOf(again)) != 0 {
				t.Errorf("told again: %v", kindsOf(again))
			}
		})
	}
}

func TestAbsorbRevival(t *testing.T) {
	in := idleIn()
	in.Record.DeadAt, in.Record.Refusals = t0().Add(-time.Hour), []time.Time{t0().Add(-2 * time.Hour)}
	r, events := absorb(in)
	if !r.DeadAt.IsZero() || r.Refusals != nil || !r.ProbedAt.Equal(t0()) {
		t.Errorf("still dead: %+v", r)
	}
	if diff := cmp.Diff([]EventKind{EventKeyRevived}, kindsOf(events)); diff != "" {
		t.Error(diff)
	}
}

func TestAddRefusalKeepsFirstAndLast(t *testing.T) {
	var list []time.Time
	for i := range 100 {
		before := len(list)
		list = addRefusal(list, t0().Add(time.Duration(i)*time.Minute))
		if len(list) > 32 || len(list) < min(before, 17) {
			t.Fatalf("%d refusals are kept", len(list))
		}
	}
	if !list[0].Equal(t0()) || !list[len(list)-1].Equal(t0().Add(99*time.Minute)) {
		t.Errorf("first %s, last %s", list[0], list[len(list)-1])
	}
}

func TestAbsorbDrift(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(in *In)
		want   Drift
	}{
		{"none", func(*In) {}, DriftNone},
		{"item gone", func(in *In) { in.View.Errs[NeedItem] = &Error{Op: "item", Kind: KindPermanent, Cause: CauseNotFound} }, DriftItemGone},
		{"app gone", func(in *In) { in.View.Errs[NeedApp] = &Error{Op: "app", Kind: KindPermanent, Cause: CauseNotFound} }, DriftItemGone},
		{"portal down is no drift", func(in *In) { in.View.Errs[NeedApp] = errDown }, DriftNone},
		{"sink down is no drift", sinkDown(0), DriftNone},
		{"later sink down is no drift", sinkDown(1), DriftNone},
		{"first sink malformed", func(in *In) { in.View.Errs[NeedSinks], in.View.Sinks[0].Err = errMalformed, errMalformed }, DriftMalformed},
		{"later sink malformed", func(in *In) { in.View.Sinks[1].Err = errMalformed }, DriftMalformed},
		{"vanished", vanish(0), DriftSinkEmpty},
		{"a foreign value", shows(0, NewSecret("hello"), 0), DriftSinkForeign},
		{"a foreign key of this client", shows(0, newKey(), 0), DriftSinkForeign},
		{"another client's key", shows(0, keyOf("anotherClientXYZ", Slot1, "o"), 0), DriftSinkOtherItem},
		{"another item's facts", func(in *In) { in.View.Sinks[0].Entry.Meta.Item = "other" }, DriftSinkOtherItem},
		{"an older key", shows(0, prevKey(), 3), DriftSinkBehind},
		{"an older generation of facts", shows(0, liveKey(), 3), DriftSinkBehind},
		{"a newer key", shows(0, newKey(), 5), DriftSinkAhead},
		{"a later format", func(in *In) { in.View.Sinks[0].Entry.Meta.Format = 2 }, DriftMalformed},
		{"a later sink lags", shows(1, prevKey(), 3), DriftSinksDiffer},
		{"a later sink is empty", vanish(1), DriftSinksDiffer},
		{"a later sink is foreign", shows(1, newKey(), 0), DriftSinkForeign},
		{"another rotatord", instance("there"), DriftForeignInstance},
		{"refused", refusedKey, DriftKeyRefused},
		{"another item's key", func(in *In) { in.View.Proof.Item = "other" }, DriftKeyOther},
		{"another client's proof", func(in *In) { in.View.Proof.ClientID = "other" }, DriftKeyOther},
		{"flag", func(in *In) { in.View.App.Active[Slot1] = false }, DriftFlag},
		{"dates", func(in *In) { in.View.Item.Expires[Slot1] = t0().Add(90 * day) }, DriftDates},
		{"dates of one rounding", func(in *In) { in.View.Item.Expires[Slot1] = t0().Add(61 * day) }, DriftNone},
		{"never adopted is never in drift", with(refusedKey, func(in *In) { in.Record.AdoptedAt = time.Time{} }), DriftNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := idleIn()
			tt.change(&in)
			r, events := absorb(in)
			if r.Drift != tt.want || (r.Drift == DriftNone) != r.DriftSince.IsZero() || (r.Drift == DriftNone) != (r.DriftDetail == "") {
				t.Fatalf("drift %q since %s (%s), want %q", r.Drift, r.DriftSince, r.DriftDetail, tt.want)
			}
			if tt.want == DriftNone {
				return
			}
			if e := events[len(events)-1]; e.Kind != EventDrift || e.Drift != tt.want || e.Detail == "" {
				t.Errorf("event %+v", e)
			}
			// Seen again it is not told again, and it keeps its beginning.
			later := in
			later.Record, later.Now = r, t0().Add(time.Minute)
			again, events := absorb(later)
			if len(events) != 0 || again.Drift != r.Drift || !again.DriftSince.Equal(r.DriftSince) {
				t.Errorf("the second time: %q since %s, events %v", again.Drift, again.DriftSince, kindsOf(events))
			}
			// Once all agree it is over, and that is told.
			good := idleIn()
			good.Record.Drift, good.Record.DriftSince, good.Record.DriftDetail = r.Drift, r.DriftSince, r.DriftDetail
			cleared, events := absorb(good)
			if cleared.Drift != DriftNone || cleared.DriftDetail != "" || len(events) != 1 || events[0].Kind != EventDriftCleared || events[0].Drift != tt.want {
				t.Errorf("afterwards: %q, events %+v", cleared.Drift, events)
			}
		})
	}
}

func TestAbsorbDriftWhilePublishing(t *testing.T) {
	for _, tt := range []struct {
		name   string
		in     func() In
		change func(in *In)
		want   Drift
	}{
		{"sinks differ by intent", committedIn, shows(1, liveKey(), 4), DriftNone},
		{"the first sink lost the key", committedIn, vanish(0), DriftSinkEmpty},
		{"the first sink went back", committedIn, shows(0, liveKey(), 4), DriftSinkBehind},
		{"not yet committed", inPhase(PhasePublishing), vanish(0), DriftNone},
		{"the new key is there, not yet journalled", inPhase(PhaseClaiming), func(in *In) {
			in.Record.Rotation.New = facts(newKey(), 5, t0(), t0())
			shows(0, newKey(), 5)(in)
		}, DriftNone},
	} {
		in := tt.in()
		tt.change(&in)
		if r, _ := absorb(in); r.Drift != tt.want {
			t.Errorf("%s: drift %q, want %q", tt.name, r.Drift, tt.want)
		}
	}
}

// TestAbsorbDates: the earliest of what is known makes a key due, the latest makes
// it dead, and an unknown date changes nothing (rule 11).
func TestAbsorbDates(t *testing.T) {
	early, late, journal, none := t0().Add(59*day), t0().Add(60*day), t0().Add(30*day), time.Time{}
	for _, tt := range []struct {
		name                     string
		known, proof, item       time.Time
		itemSeen                 bool
		wantEarliest, wantLatest time.Time
	}{
		{"proof and item", none, early, late, true, early, late},
		{"item and proof", none, late, early, true, early, late},
		{"they replace what was known", journal, early, late, true, early, late},
		{"proof alone", none, early, none, true, early, early},
		{"item alone", none, none, late, true, late, late},
		{"nothing known keeps the journal's", journal, none, none, true, journal, journal},
		{"nothing at all", none, none, none, true, none, none},
		{"item not looked at: the proof joins the journal", journal, late, none, false, journal, late},
		{"item not looked at, no proof's date", journal, none, none, false, journal, journal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := idleIn()
			in.Record.Live.Expires, in.Record.Live.LatestExpiry = tt.known, tt.known
			in.View.Proof.Expires, in.View.Item.Expires[Slot1] = tt.proof, tt.item
			if !tt.itemSeen {
				in.View.Have &^= NeedItem
			}
			r, _ := absorb(in)
			if !r.Live.Expires.Equal(tt.wantEarliest) || !r.Live.LatestExpiry.Equal(tt.wantLatest) {
				t.Errorf("expires %s, latest %s; want %s and %s", r.Live.Expires, r.Live.LatestExpiry, tt.wantEarliest, tt.wantLatest)
			}
			if r.Slots[Slot1].Key != r.Live {
				t.Errorf("slot 1 says %+v", r.Slots[Slot1].Key)
			}
		})
	}
}

func TestAbsorbSlots(t *testing.T) {
	in := overlapIn()
	in.Record.Slots[Slot2].Taken = true
	in.View.App.Active = [3]bool{}
	r, _ := absorb(in)
	if r.Slots[Slot2].Use != UsePrevious || r.Slots[Slot1].Use != UseLive || r.Slots[Slot1].Active {
		t.Errorf("flags alone changed whose slots these are: %+v", r.Slots)
	}
	own := idleIn()
	own.Record.Slots[Slot2] = SlotState{Use: UseOwn, Taken: true, Key: facts(newKey(), 5, t0(), t0()), Intent: &Intent{Effect: EffectMint, SentAt: t0(), Outcome: OutcomeUnknown}}
	r, _ = absorb(own)
	if st := r.Slots[Slot2]; st.Use != UseEmpty || st.Intent == nil || !st.Taken || st.Key != (KeyFacts{}) {
		t.Errorf("an emptied slot: %+v", st)
	}
	running := phaseIn(PhaseProving)
	running.View.App.Active[Slot2] = false
	if r, _ = absorb(running); r.Slots[Slot2].Use != UseOwn || r.Slots[Slot2].Key.Fingerprint == "" {
		t.Errorf("a lagging flag made the minted slot empty: %+v", r.Slots[Slot2])
	}
	if in.Record.Slots[Slot2].SeenAt != t0() || own.Record.Slots[Slot2].Use != UseOwn {
		t.Error("absorb changed its input")
	}
}

func TestAbsorbOldRefusals(t *testing.T) {
	in := overlapIn()
	in.View.Old.Valid = false
	r, _ := absorb(in)
	if len(r.OldRefusals) != 1 {
		t.Fatalf("%d refusals", len(r.OldRefusals))
	}
	in.Record = r
	in.View.App.Active[Slot2] = false // it is gone, which is no riddle
	if r, _ = absorb(in); r.OldRefusals != nil {
		t.Errorf("%d refusals of a slot that is empty", len(r.OldRefusals))
	}
}

func TestDatesDiffer(t *testing.T) {
	at := func(days int) time.Time { return t0().Add(time.Duration(days) * day) }
	for _, row := range []struct {
		name                string
		listed, item, probe time.Time
		flag                bool
		want                string
	}{
		{"all agree", at(60), at(60), at(60), true, ""},
		{"rounded to days", at(60), at(61), at(60).Add(23 * time.Hour), true, ""},
		{"silence agrees", time.Time{}, time.Time{}, at(60), true, ""},
		{"nobody knows", time.Time{}, time.Time{}, time.Time{}, true, ""},
		{"the list", at(30), at(60), at(60), true,
			"the list of keys says 2026-04-09T12:00:00Z, the item says 2026-05-09T12:00:00Z, the key itself says 2026-05-09T12:00:00Z"},
		{"the item", time.Time{}, at(63), at(60), true, "the item says 2026-05-12T12:00:00Z, the key itself says 2026-05-09T12:00:00Z"},
		{"the flag", time.Time{}, at(60), at(60), false,
			"the item says 2026-05-09T12:00:00Z, the key itself says 2026-05-09T12:00:00Z, its flag says that there is no key"},
	} {
		if got := datesDiffer(row.listed, row.item, row.probe, row.flag); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}
