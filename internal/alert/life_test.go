package alert

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

// with runs a test in a bubble, with other options.
func with(t *testing.T, change func(*Options), run func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, store: &memory{values: map[string][]byte{}}, channel: &channel{}, counts: map[Delivery]int{}, change: change}
		r.start()
		run(t, r)
		r.stop()
	})
}

func failing(name rotate.Name) View {
	v := healthy(name)
	v.Record.Attempts, v.Record.LastError = 3, "mint slot 2: transient"
	return v
}

// for as long as d, the scene is looked at every minute.
func (r *rig) during(d time.Duration, s Scene) {
	for range d / time.Minute {
		r.alerter.Check(time.Now(), s)
		r.settle(time.Minute)
	}
}

func one(v View) Scene { return Scene{Credentials: []View{v}} }

func (c *channel) last() Notice {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.notices[len(c.notices)-1]
}

func waits(o *Options) {
	o.Waits = map[Severity]time.Duration{SeverityWarning: 10 * time.Minute, SeverityInfo: time.Hour}
}

func TestWhatHealsItselfIsNotTold(t *testing.T) {
	with(t, waits, func(_ *testing.T, r *rig) {
		r.during(8*time.Minute, one(failing("maps")))
		r.restart() // a restart does not begin the waiting time anew
		r.during(time.Minute, one(failing("maps")))
		r.during(time.Minute, one(healthy("maps")))
		r.during(9*time.Minute, one(failing("maps")))
		r.want()
		r.during(3*time.Minute, one(failing("maps")))
		r.want("maps: rotation keeps failing (3 times)")
		r.during(time.Minute, one(dead("tiles")))
		r.want("tiles: the served key is dead", "maps: resolved, no longer failing")
	})
}

func TestStuckIsAnHourInOnePhase(t *testing.T) {
	bubble(t, func(_ *testing.T, r *rig) {
		v := healthy("maps")
		v.Record.Phase = rotate.PhaseMinting
		r.during(50*time.Minute, one(v))
		v.Record.Phase = rotate.PhaseProving
		r.during(50*time.Minute, one(v))
		r.want()
		r.during(15*time.Minute, one(v))
		r.want("maps: in phase proving for over an hour")
	})
}

func TestAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		v := failing("maps")
		v.Mode, v.Record.Live.Expires = rotate.ModeWatch, time.Now().AddDate(1, 0, 0)
		r.during(time.Minute, one(v))
		r.want("maps: rotation keeps failing (3 times)")
		if _, err := r.alerter.Acknowledge(t.Context(), "failing/maps", "uid 1000 (alice)"); err != nil {
			t.Fatal(err)
		}
		r.settle(time.Minute)
		n := r.channel.last()
		if n.State != StateAcknowledged || n.By != "uid 1000 (alice)" || n.Loud || n.Ref != "1" || n.Story[0].By != "uid 1000 (alice)" {
			t.Errorf("told %+v", n)
		}
		r.restart()
		for range 50 { // not repeated
			time.Sleep(time.Hour)
			r.during(time.Minute, one(v))
		}
		r.want()
		v.Record.Live.Expires = time.Now().Add(12 * time.Hour) // the cause takes on what it hides: critical now
		r.during(time.Minute, one(v))
		r.want("maps: rotation keeps failing (3 times)")
		if n := r.channel.last(); n.State != StateOpen || n.By != "" || n.Message.Severity != SeverityCritical || !n.Loud {
			t.Errorf("got worse: told %+v", n)
		}
		r.during(time.Minute, one(healthy("maps")))
		r.want("maps: resolved, no longer failing")
	})
}

func TestSnoozed(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.during(time.Minute, one(dead("maps")))
		r.want("maps: the served key is dead")
		if _, err := r.alerter.Snooze(t.Context(), "dead/maps", "alice", time.Now().Add(30*time.Hour)); err != nil {
			t.Fatal(err)
		}
		r.during(29*time.Hour, one(dead("maps")))
		r.restart()
		r.want()
		r.during(2*time.Hour, one(dead("maps")))
		r.want("maps: the served key is dead")
		if _, err := r.alerter.Snooze(t.Context(), "dead/maps", "alice", time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if a, err := r.alerter.Unsnooze(t.Context(), "dead/maps", "bob"); err != nil || a.State != StateOpen || a.By != "" {
			t.Errorf("unsnooze: %+v, %v", a, err)
		}
		r.settle(time.Minute)
		r.want() // whoever took it back knows
	})
}

func TestActsThatAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		r.during(time.Minute, one(dead("maps")))
		if _, err := r.alerter.Snooze(ctx, "dead/maps", "a", time.Now()); err == nil {
			t.Error("a snooze into the past was taken")
		}
		var missing *NotFoundError
		if _, err := r.alerter.Acknowledge(ctx, "dead/map", "a"); !errors.As(err, &missing) || !slices.Contains(missing.Known, "dead/maps") {
			t.Errorf("an unknown id: %v", err)
		}
		r.during(time.Minute, one(healthy("maps")))
		var state *StateError
		if _, err := r.alerter.Acknowledge(ctx, "dead/maps", "a"); !errors.As(err, &state) {
			t.Errorf("a resolved one: %v", err)
		}
		many := Scene{}
		for i := range 6 {
			many.Credentials = append(many.Credentials, dead(rotate.Name(fmt.Sprint("c", i))))
		}
		r.during(time.Minute, many)
		if _, err := r.alerter.Acknowledge(ctx, "dead/c1", "a"); !errors.As(err, &state) || !strings.Contains(err.Error(), "group/dead/") {
			t.Errorf("a member of a group: %v", err)
		}
	})
	a := alerter(t)
	if _, err := a.List(false); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("a list before the start: %v", err)
	}
	if _, err := a.Acknowledge(t.Context(), "x", "y"); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("an order before the start: %v", err)
	}
}

func TestGroupLives(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		scene := func(from, to int) (s Scene) {
			for i := from; i < to; i++ {
				s.Credentials = append(s.Credentials, failing(rotate.Name(fmt.Sprintf("c%02d", i))))
			}
			return s
		}
		r.during(2*time.Minute, scene(0, 8))
		r.want("8 credentials: failing")
		key := r.channel.last().Key
		r.restart()
		r.during(2*time.Minute, scene(2, 8)) // two ended: told quietly, in the same place
		r.want()
		if n := r.channel.last(); n.Key != key || n.Ref == "" || n.Loud || n.Message.Title != "6 credentials: failing, 2 more resolved" {
			t.Errorf("told %+v", n)
		}
		r.during(2*time.Minute, scene(2, 10)) // two more: they join, and that is loud
		r.want("8 credentials: failing, 2 more resolved")
		if _, err := r.alerter.Acknowledge(t.Context(), key, "alice"); err != nil {
			t.Fatal(err)
		}
		r.during(30*time.Hour, scene(2, 10))
		r.want()
		r.during(2*time.Minute, scene(0, 0))
		r.want("10 credentials: resolved, no longer failing")
		r.during(2*time.Minute, scene(3, 4)) // alone again: told for itself
		r.want("c03: rotation keeps failing (3 times)")
		r.during(3*time.Hour, scene(0, 0))
		r.want("c03: resolved, no longer failing")
		for k := range r.store.values {
			if strings.HasPrefix(k, alertPrefix) || strings.HasPrefix(k, toldPrefix) {
				t.Errorf("%s is kept for ever", k)
			}
		}
	})
}

func TestFlapping(t *testing.T) {
	with(t, func(o *Options) { o.FlapTimes, o.FlapWindow = 3, time.Hour }, func(t *testing.T, r *rig) {
		for range 10 {
			r.during(2*time.Minute, one(failing("maps")))
			r.during(2*time.Minute, one(healthy("maps")))
		}
		got := r.channel.take()
		want := []string{"maps: rotation keeps failing (3 times)", "maps: resolved, no longer failing",
			"maps: rotation keeps failing (3 times)", "maps: resolved, no longer failing", "maps: rotation keeps failing (3 times)"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("said (-want +got):\n%s", diff)
		}
		list, err := r.alerter.List(false)
		if err != nil || len(list) != 1 || !list[0].Flapping || !strings.Contains(list[0].Title, "failing") {
			t.Errorf("listed %+v, %v", list, err)
		}
		r.restart()
		r.during(50*time.Minute, one(healthy("maps")))
		r.want()
		r.during(20*time.Minute, one(healthy("maps")))
		r.want("maps: resolved, no longer failing")
	})
}

func TestQuietHours(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	quiet := func(o *Options) {
		o.QuietHours = []QuietHours{{From: 20 * time.Hour, To: 8 * time.Hour, Zone: berlin}}
	}
	with(t, quiet, func(t *testing.T, r *rig) { // the bubble begins at 2000-01-01T00:00Z
		unretired := healthy("tiles")
		overlapped(&unretired.Record, 0)
		unretired.Record.RetireAt, unretired.Record.Blocked = time.Now().Add(-2*time.Hour), rotate.ReasonVeto
		night := Scene{Credentials: []View{failing("maps"), unretired, dead("shop")}}
		r.during(time.Hour, night)
		r.want("shop: the served key is dead") // what is critical never waits
		r.restart()
		r.during(2*time.Hour, Scene{Credentials: []View{healthy("maps"), unretired, dead("shop")}})
		r.during(3*time.Hour, night)
		r.want()
		r.during(2*time.Hour, night)
		r.want("2 alerts waited for the end of quiet hours")
		n := r.channel.last()
		if diff := cmp.Diff([]string{"maps: rotation keeps failing (3 times)", "tiles: the old key outlives its overlap: a hook says no"}, n.Message.Others); diff != "" {
			t.Errorf("digest (-want +got):\n%s", diff)
		}
		r.during(time.Hour, Scene{Credentials: []View{healthy("maps"), healthy("tiles"), dead("shop")}})
		r.want("2 alerts: resolved")
	})
}

func TestQuietHoursOfAWeek(t *testing.T) {
	week := []QuietHours{
		{Days: []time.Weekday{1, 2, 3, 4, 5}, From: 18*time.Hour + 30*time.Minute, To: 8 * time.Hour, Zone: time.UTC},
		{Days: []time.Weekday{6, 0}, From: 0, To: 24 * time.Hour, Zone: time.UTC},
	}
	for text, want := range map[string]bool{
		"2026-11-23T07:59:59Z": false, // Monday: Sunday night does not reach over
		"2026-11-23T18:29:59Z": false,
		"2026-11-23T18:30:00Z": true,
		"2026-11-24T07:59:59Z": true,
		"2026-11-24T08:00:00Z": false,
		"2026-11-28T07:00:00Z": true, // Saturday
		"2026-11-28T12:00:00Z": true,
		"2026-11-29T23:59:59Z": true,
	} {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.ContainsFunc(week, func(q QuietHours) bool { return q.at(at) }); got != want {
			t.Errorf("%s is quiet: %v, want %v", text, got, want)
		}
	}
}

// TestABrokenNotifierDelaysNoOther, is told only what still holds when it is back, and
// is not told what ended.
func TestABrokenNotifierDelaysNoOther(t *testing.T) {
	broken := &channel{name: "email"}
	broken.failWith(func(Message) error { return errors.New("connection refused") })
	with(t, func(o *Options) { o.Notifiers = append(o.Notifiers, broken) }, func(t *testing.T, r *rig) {
		r.during(2*time.Minute, Scene{Credentials: []View{dead("maps"), dead("tiles")}})
		r.want("maps: the served key is dead", "tiles: the served key is dead")
		r.during(2*time.Minute, Scene{Credentials: []View{healthy("maps"), dead("tiles")}})
		r.want("maps: resolved, no longer dead")
		broken.failWith(nil)
		r.restart()
		r.during(30*time.Minute, Scene{Credentials: []View{healthy("maps"), dead("tiles")}})
		if diff := cmp.Diff([]string{"tiles: the served key is dead"}, broken.take()); diff != "" {
			t.Errorf("the other said (-want +got):\n%s", diff)
		}
		r.want()
	})
}

func TestRoutes(t *testing.T) {
	mail := &channel{name: "email"}
	with(t, func(o *Options) {
		o.Notifiers = append(o.Notifiers, mail)
		o.Routes = map[Condition][]string{ConditionDead: {"email"}, ConditionFailing: {}}
	}, func(t *testing.T, r *rig) {
		drift := healthy("shop")
		drift.Record.Drift, drift.Record.DriftSince = rotate.DriftSinkForeign, time.Now().Add(-time.Hour)
		r.during(5*time.Minute, Scene{Credentials: []View{dead("maps"), failing("tiles"), drift}})
		r.want("shop: drift: the sink has a key that rotatord did not write")
		if diff := cmp.Diff([]string{"maps: the served key is dead", "shop: drift: the sink has a key that rotatord did not write"}, mail.take()); diff != "" {
			t.Errorf("email said (-want +got):\n%s", diff)
		}
	})
}

type forgetful struct{ channel }

func (*forgetful) RefreshEvery() time.Duration { return 5 * time.Minute }

func TestRefresh(t *testing.T) {
	far := &forgetful{channel{name: "alertmanager"}}
	with(t, func(o *Options) { o.Notifiers = []Notifier{far} }, func(t *testing.T, r *rig) {
		r.during(time.Hour, one(dead("maps")))
		loud := 0
		for _, n := range far.notices {
			if n.Loud {
				loud++
			}
		}
		if n := len(far.notices); n < 10 || n > 13 || loud != 1 {
			t.Errorf("told %d times within an hour, %d loud", n, loud)
		}
		r.during(time.Minute, one(healthy("maps")))
		n := len(far.notices)
		r.during(time.Hour, one(healthy("maps")))
		if len(far.notices) != n || far.last().State != StateResolved {
			t.Errorf("%d notices after the end", len(far.notices)-n)
		}
	})
}

// TestStoryIsToldOnce: each line goes to each notifier once, in order.
func TestStoryIsToldOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.during(2*time.Minute, one(dead("maps")))
		for i := range 2 * storyMost {
			if i == storyMost {
				r.restart()
				r.during(time.Minute, one(dead("maps")))
			}
			if _, err := r.alerter.Acknowledge(t.Context(), "dead/maps", fmt.Sprint("p", i)); err != nil {
				t.Fatal(err)
			}
			r.settle(time.Minute)
		}
		r.during(time.Minute, one(healthy("maps")))
		var by []string
		for _, n := range r.channel.notices {
			for _, l := range n.Story {
				by = append(by, l.By+l.Text)
			}
		}
		if len(by) != 2*storyMost+2 || by[0] != "maps: the served key is dead (critical)" || by[1] != "p0acknowledged" || by[2*storyMost] != "p99acknowledged" || by[len(by)-1] != "resolved" {
			t.Errorf("%d lines: %q", len(by), by)
		}
	})
}

func TestRepeats(t *testing.T) {
	with(t, func(o *Options) { o.RepeatCritical = 4 * time.Hour }, func(t *testing.T, r *rig) {
		for range 23 * 4 {
			r.during(time.Minute, Scene{Credentials: []View{dead("maps"), failing("tiles")}})
			r.settle(14 * time.Minute)
		}
		count := map[string]int{}
		for _, title := range r.channel.take() {
			count[title]++
		}
		if diff := cmp.Diff(map[string]int{"maps: the served key is dead": 6, "tiles: rotation keeps failing (3 times)": 1}, count); diff != "" {
			t.Errorf("said (-want +got):\n%s", diff)
		}
	})
}
