package crashsweep

import (
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"rotatord/internal/calendar"
	"rotatord/internal/rotate"
)

// weekly is open for two hours from the first full hour that is at least the given
// time away, and every seven days after that.
func weekly(t *testing.T, ahead time.Duration) *calendar.Calendar {
	t.Helper()
	first := time.Now().UTC().Add(ahead).Truncate(time.Hour).Add(time.Hour)
	s, err := cron.ParseStandard("CRON_TZ=UTC " + first.Format("4 15") + " * * " + first.Format("Mon"))
	if err != nil {
		t.Fatal(err)
	}
	return &calendar.Calendar{Windows: []calendar.Window{{Schedule: s, Length: 2 * time.Hour}}}
}

func frozen(from, to time.Time) calendar.Freeze {
	return calendar.Freeze{From: from, To: to, Reason: "year end"}
}

// started drives until a rotation is on its way and returns when.
func started(w *world, limit time.Duration) time.Time {
	w.t.Helper()
	if !w.run(limit, func(r rotate.AdvanceResult) bool { return r.Record.Rotation != nil }) {
		w.t.Fatalf("nothing started within %s: %+v", limit, w.record())
	}
	return time.Now()
}

func (w *world) wantClosed(why rotate.Reason) {
	w.t.Helper()
	if r := w.record(); r.Blocked != why {
		w.t.Errorf("blocked by %q, want %q", r.Blocked, why)
	}
}

func TestARotationWaitsForItsWindow(t *testing.T) {
	inWorld(t, func(w *world) {
		pause(w.untilDue())
		cal := weekly(t, 3*day)
		w.cred.Policy.Calendar = cal
		_, opens := cal.Closed(time.Now())
		w.run(2*day, nil)
		w.wantClosed(rotate.ReasonWindow)
		w.wantMints(1)
		if at := started(w, 3*day); at.Before(opens) || at.After(opens.Add(time.Minute)) {
			w.t.Errorf("started %s, want when the window opens, %s", at, opens)
		}
		w.wantRested()
		w.wantMints(2)
	})
}

func TestAFreezeInsideAWindowIsWaitedFor(t *testing.T) {
	inWorld(t, func(w *world) {
		pause(w.untilDue())
		cal := weekly(t, 0)
		_, opens := cal.Closed(time.Now())
		thaw := opens.Add(90 * time.Minute)
		cal.Freezes = append(cal.Freezes, frozen(opens.Add(-time.Minute), thaw))
		w.cred.Policy.Calendar = cal
		if at := started(w, 3*day); at.Before(thaw) || at.After(thaw.Add(time.Minute)) {
			w.t.Errorf("started %s, want when the freeze ends, %s", at, thaw)
		}
		w.wantRested()
	})
}

func TestCriticalBeforeBeatsWindowAndFreeze(t *testing.T) {
	for name, cal := range map[string]func(now time.Time) rotate.Calendar{
		"window": func(now time.Time) rotate.Calendar {
			return &calendar.Calendar{Windows: []calendar.Window{{Schedule: cron.Every(1000 * day), Length: time.Hour}}}
		},
		"freeze": func(now time.Time) rotate.Calendar {
			return &calendar.Calendar{Freezes: []calendar.Freeze{frozen(now, now.Add(300*day))}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				pause(w.untilDue())
				w.cred.Policy.Calendar = cal(time.Now())
				critical := w.record().Live.Expires.Add(-w.cred.Policy.CriticalBefore)
				if at := started(w, 40*day); at.Before(critical) || at.After(critical.Add(day)) {
					w.t.Errorf("started %s, want from %s on", at, critical)
				}
			})
		})
	}
}

func TestRetiringWaitsForTheWindow(t *testing.T) {
	inWorld(t, func(w *world) {
		rotateToOverlap(w)
		old := w.record().Previous.Slot
		cal := weekly(t, 5*day) // the overlap is over after three
		w.cred.Policy.Calendar = cal
		_, opens := cal.Closed(time.Now())
		w.run(4*day, nil)
		w.wantClosed(rotate.ReasonWindow)
		if ok, why := w.emu.KeyValid(servedBefore(w, old)); !ok {
			w.t.Errorf("the old key was retired outside of the window: %s", why)
		}
		if !w.run(3*day, w.idle) {
			w.t.Fatalf("no rest: %+v", w.record())
		}
		if at := time.Now(); at.Before(opens) || at.After(opens.Add(2*time.Hour)) {
			w.t.Errorf("retired %s, want in the window that opens %s", at, opens)
		}
		w.wantRested()
	})
}

// servedBefore is the newest key of a slot.
func servedBefore(w *world, slot rotate.Slot) (secret string) {
	for _, k := range ours(w) {
		if k.Slot == int(slot) {
			secret = k.Secret
		}
	}
	return secret
}

// A freeze that outlives the old key leaves nothing to revoke.
func TestAFreezeThatOutlivesTheOldKey(t *testing.T) {
	inWorld(t, func(w *world) {
		pause(w.untilDue())
		if !w.run(day, func(r rotate.AdvanceResult) bool { return r.Record.Phase == rotate.PhaseOverlap }) {
			t.Fatalf("no overlap: %+v", w.record())
		}
		end, now := w.record().Previous.LatestExpiry, time.Now()
		thaw := now.Add(50 * day)
		if !end.Before(thaw) {
			t.Fatalf("the old key ends %s, after the freeze", end)
		}
		w.cred.Policy.Calendar = &calendar.Calendar{Freezes: []calendar.Freeze{frozen(now, thaw)}}
		revoked := func(r rotate.AdvanceResult) bool { return r.Effect == rotate.EffectRevoke }
		old := servedBefore(w, w.record().Previous.Slot)
		if w.run(time.Until(end)-day, revoked) {
			t.Error("a key was revoked in the freeze")
		}
		if ok, why := w.emu.KeyValid(old); !ok {
			t.Errorf("the old key did not live to its own end: %s", why)
		}
		if w.run(3*day, revoked) {
			t.Error("a key that had ended was revoked")
		}
		if r := w.record(); r.Phase != rotate.PhaseIdle || r.Previous.Slot != rotate.NoSlot {
			t.Errorf("the freeze outlives the old key: %+v", r)
		}
		w.wantMints(2)
	})
}

func TestCompromisedIgnoresTheCalendar(t *testing.T) {
	inWorld(t, func(w *world) {
		now := time.Now()
		never := calendar.Window{Schedule: cron.Every(1000 * day), Length: time.Hour}
		w.cred.Policy.Calendar = &calendar.Calendar{Windows: []calendar.Window{never}, Freezes: []calendar.Freeze{frozen(now, now.Add(300*day))}}
		for i := range w.sinks {
			w.excuseSink(i)
		}
		w.order(rotate.Command{Kind: rotate.CommandCompromised})
		started(w, time.Hour)
		if !w.run(10*day, w.idle) {
			w.t.Errorf("no rest: %+v", w.record())
		}
		w.wantMints(2)
	})
}

func TestACutOverRunsOnWhenTheWindowCloses(t *testing.T) {
	inWorld(t, func(w *world) {
		pause(w.untilDue())
		if !w.run(day, func(r rotate.AdvanceResult) bool { return r.Record.Phase == rotate.PhaseProving }) {
			t.Fatalf("nothing was minted: %+v", w.record())
		}
		now := time.Now()
		w.cred.Policy.Calendar = &calendar.Calendar{Freezes: []calendar.Freeze{frozen(now, now.Add(20*day))}}
		if !w.run(time.Hour, func(r rotate.AdvanceResult) bool { return r.Record.Phase == rotate.PhaseOverlap }) {
			w.t.Errorf("the cut-over stopped in the freeze: %+v", w.record())
		}
		w.run(10*day, nil)
		w.wantClosed(rotate.ReasonFrozen)
		w.wantRested()
	})
}
