package alert

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/rotate"
)

func TestSaidOnceRepeatedResolvedOnce(t *testing.T) {
	bubble(t, func(_ *testing.T, r *rig) {
		v := dead("maps")
		r.check(healthy("tiles"))
		r.want()
		for range 10 {
			r.check(v, healthy("tiles"))
		}
		r.want("maps: the served key is dead")
		time.Sleep(24 * time.Hour)
		r.check(v)
		r.check(v)
		r.want("maps: the served key is dead")
		for range 3 {
			r.check(healthy("maps"))
		}
		r.want("maps: resolved, no longer dead")
		r.check(v)
		r.want("maps: the served key is dead")
	})
}

func TestRestartNeitherRepeatsNorForgets(t *testing.T) {
	bubble(t, func(_ *testing.T, r *rig) {
		v := dead("maps")
		r.check(v)
		r.want("maps: the served key is dead")
		r.restart()
		r.check(v)
		r.want()
		r.restart()
		r.check(healthy("maps"))
		r.want("maps: resolved, no longer dead")
		r.restart()
		r.check(healthy("maps"))
		r.want()
	})
}

// TestNothingIsResolvedBeforeTheFirstCheck: a start without a view knows nothing.
func TestNothingIsResolvedBeforeTheFirstCheck(t *testing.T) {
	bubble(t, func(_ *testing.T, r *rig) {
		r.check(dead("maps"))
		r.want("maps: the served key is dead")
		r.restart()
		r.alerter.Observe(rotate.Event{Kind: rotate.EventPromoted, Name: "maps", Generation: 4, At: time.Now()})
		r.settle(time.Hour)
		r.want()
	})
}

func TestStaleNewsIsNotSaid(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.channel.failWith(func(Message) error { return errors.New("connection refused") })
		r.check(dead("maps"), dead("tiles"))
		time.Sleep(time.Hour)
		r.channel.failWith(nil)
		r.check(healthy("maps"), dead("tiles")) // maps ended unsaid
		r.settle(time.Hour)
		r.want("tiles: the served key is dead")
		if r.counts[DeliveryFailed] == 0 || r.counts[DeliveryOK] != 1 {
			t.Errorf("deliveries: %v", r.counts)
		}
		if n := r.counts[DeliveryFailed]; n > 10 {
			t.Errorf("a dead channel was tried %d times in an hour", n)
		}
	})
}

func TestBackBeforeItsEndWasSaid(t *testing.T) {
	bubble(t, func(_ *testing.T, r *rig) {
		r.check(dead("maps"))
		r.want("maps: the served key is dead")
		r.channel.failWith(func(Message) error { return errors.New("connection refused") })
		r.check(healthy("maps"))
		r.check(dead("maps"))
		r.channel.failWith(nil)
		time.Sleep(time.Hour)
		r.check(dead("maps"))
		r.want()
	})
}

func TestRemovedCredentialIsResolved(t *testing.T) {
	bubble(t, func(_ *testing.T, r *rig) {
		r.check(dead("maps"), healthy("tiles"))
		r.want("maps: the served key is dead")
		r.check(healthy("tiles"))
		r.want("maps: resolved, no longer dead")
	})
}

func TestDone(t *testing.T) {
	rotated := func(gen int64) View {
		v := healthy("maps")
		v.Record.Live.Generation = gen
		v.Record.PromotedAt = time.Now()
		return v
	}
	t.Run("from the event, with its rotation id", func(t *testing.T) {
		bubble(t, func(t *testing.T, r *rig) {
			time.Sleep(time.Minute)
			v := rotated(4)
			r.alerter.Observe(rotate.Event{Kind: rotate.EventPromoted, Name: "maps", Generation: 4, RotationID: "R4", Reason: rotate.ReasonExpiring, At: time.Now()})
			r.alerter.Check(time.Now(), Scene{Credentials: []View{v}})
			r.settle(time.Minute)
			if got := r.channel.got; len(got) != 1 || got[0].RotationID != "R4" || got[0].Reason != "expiring" || !strings.Contains(r.channel.notices[0].Story[0].Text, "ends 2") {
				t.Errorf("said %+v", got)
			}
			r.want("maps: rotated")
			r.check(v)
			r.restart()
			r.check(v)
			r.want()
		})
	})
	t.Run("from the record, if the event died with the process", func(t *testing.T) {
		bubble(t, func(_ *testing.T, r *rig) {
			r.stop()
			time.Sleep(time.Hour)
			v := rotated(4)
			time.Sleep(time.Hour)
			r.start()
			r.check(v)
			r.want("maps: rotated")
		})
	})
	t.Run("not what happened before alerts were switched on", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v := rotated(4)
			time.Sleep(time.Hour)
			r := newRig(t)
			defer r.stop()
			r.check(v)
			r.want()
		})
	})
	t.Run("not a day later", func(t *testing.T) {
		bubble(t, func(_ *testing.T, r *rig) {
			time.Sleep(time.Minute)
			v := rotated(4)
			r.channel.failWith(func(Message) error { return errors.New("connection refused") })
			r.check(v)
			time.Sleep(25 * time.Hour)
			r.channel.failWith(nil)
			time.Sleep(time.Hour)
			r.check(v)
			r.want()
		})
	})
	t.Run("not if nobody wants it", func(t *testing.T) {
		bubble(t, func(_ *testing.T, r *rig) {
			r.alerter.o.Quiet = []string{"chat"}
			time.Sleep(time.Minute)
			r.check(rotated(4))
			r.want()
		})
	})
}

// TestRetryAfterIsKept: what the channel asked for binds a restarted daemon too.
func TestRetryAfterIsKept(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		tries := 0
		r.channel.failWith(func(Message) error {
			tries++
			return &rotate.Error{Op: "post", Kind: rotate.KindRateLimited, Wait: 2 * time.Hour}
		})
		v := dead("maps")
		r.check(v)
		for range 50 {
			r.check(v)
		}
		r.restart()
		r.check(v)
		if tries != 1 {
			t.Errorf("tried %d times in spite of the rate limit", tries)
		}
		r.channel.failWith(nil)
		r.settle(2 * time.Hour)
		r.want("maps: the served key is dead")
	})
}

func TestRefusedMessageHoldsUpNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.channel.failWith(func(m Message) error {
			if m.Credential == "maps" {
				return &rotate.Error{Op: "post", Kind: rotate.KindPermanent}
			}
			return nil
		})
		r.check(dead("maps"), dead("tiles"))
		r.want("tiles: the served key is dead")
		if n := r.counts[DeliveryFailed]; n != 1 {
			t.Errorf("the refused message was tried %d times", n)
		}
	})
}

func TestManyBecomeOne(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var views, well []View
		for i := range 12 {
			name := rotate.Name(fmt.Sprintf("c%02d", i))
			views, well = append(views, dead(name)), append(well, healthy(name))
		}
		r.alerter.Check(time.Now(), Scene{Credentials: views})
		r.settle(time.Minute)
		if got := r.channel.got; len(got) != 1 || len(got[0].Others) != 12 || got[0].Others[0] != "c00 (Team Maps)" || got[0].Severity != SeverityCritical {
			t.Errorf("said %+v", got)
		}
		r.want("12 credentials: dead")
		r.check(well...)
		r.want("12 credentials: resolved, no longer dead")
	})
}

func TestPaceAndUrgency(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		drift := healthy("a")
		drift.Record.Drift, drift.Record.DriftSince = rotate.DriftSinkForeign, time.Now().Add(-time.Hour)
		r.check(drift, dead("b"), dead("c"))
		r.want("b: the served key is dead", "c: the served key is dead", "a: drift: the sink has a key that rotatord did not write")
		for i := 1; i < len(r.channel.at); i++ {
			if gap := r.channel.at[i].Sub(r.channel.at[i-1]); gap < pace {
				t.Errorf("message %d followed after %s", i, gap)
			}
		}
	})
}

// TestFlush: a command that makes one pass says everything before it ends, and no
// longer than the channel takes it.
func TestFlush(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.stop()
		flush := func(views ...View) {
			t.Helper()
			a, err := New(options(r.store, r.channel))
			if err != nil {
				t.Fatal(err)
			}
			a.Check(time.Now(), Scene{Credentials: views})
			start := time.Now()
			if err := a.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("flush took %s", took)
			}
		}
		r.channel.failWith(func(Message) error { return errors.New("connection refused") })
		flush(dead("maps"), dead("tiles"))
		r.want()
		r.channel.failWith(nil)
		flush(dead("maps"), dead("tiles"))
		r.want("maps: the served key is dead", "tiles: the served key is dead")
		flush(dead("maps"), healthy("tiles"))
		r.want("tiles: resolved, no longer dead")
		r.start()
	})
}

// TestNothingBlocks: without Run, and with nobody listening, both return.
func TestNothingBlocks(t *testing.T) {
	a, err := New(options(&memory{values: map[string][]byte{}}, &channel{}))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		a.Observe(rotate.Event{Kind: rotate.EventPromoted, Name: "maps", Generation: int64(i)})
		a.Check(time.Now(), Scene{})
	}
	if len(a.promoted) != 1 {
		t.Errorf("%d events are queued for one credential", len(a.promoted))
	}
}

func TestOptions(t *testing.T) {
	good := options(&memory{}, &channel{})
	for _, tt := range []struct {
		name string
		make func(*Options)
		says string
	}{
		{"no store", func(o *Options) { o.Store = nil }, "store"},
		{"no notifier", func(o *Options) { o.Notifiers = nil }, "notifier"},
		{"no repeat", func(o *Options) { o.RepeatEvery = 0 }, "repeat_every"},
		{"steps in disorder", func(o *Options) { o.WarnBefore = []time.Duration{time.Hour, time.Hour} }, "step 2"},
	} {
		o := good
		tt.make(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: New gave %v", tt.name, err)
		}
	}
}

func TestUnreadableState(t *testing.T) {
	a, err := New(options(&memory{values: map[string][]byte{"alert/dead/maps": []byte("{")}}, &channel{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "alert/dead/maps") {
		t.Errorf("Run gave %v", err)
	}
}
