package alert

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

func promoted(name rotate.Name, gen int64) rotate.Event {
	return rotate.Event{Kind: rotate.EventPromoted, Name: name, Generation: gen, RotationID: "R-" + string(name), Reason: rotate.ReasonMaxAge, At: time.Now()}
}

// TestADayIsOneNotice: it is updated, and each rotation is a line of it, once.
func TestADayIsOneNotice(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		time.Sleep(10 * time.Hour)
		for _, name := range []rotate.Name{"a", "b", "c"} {
			r.alerter.Observe(promoted(name, 4))
			r.during(2*time.Hour, Scene{Credentials: []View{healthy("a")}})
			if name == "b" {
				r.restart()
			}
		}
		time.Sleep(10 * time.Hour)
		r.alerter.Observe(promoted("a", 5))
		r.during(time.Minute, Scene{Credentials: []View{healthy("a")}})
		type told struct{ key, ref, title, lines string }
		var got []told
		for _, n := range r.channel.notices {
			var lines []string
			for _, l := range n.Story {
				lines = append(lines, l.Text)
			}
			got = append(got, told{n.Key, n.Ref, n.Message.Title, strings.Join(lines, "; ")})
			if n.Loud || n.Kind != NoticeRoutine {
				t.Errorf("told %+v", n)
			}
		}
		want := []told{
			{"routine/2000-01-01", "", "a: rotated", "a: rotated, max age"},
			{"routine/2000-01-01", "1", "2 credentials rotated on 2000-01-01", "b: rotated, max age"},
			{"routine/2000-01-01", "1", "3 credentials rotated on 2000-01-01", "c: rotated, max age"},
			{"routine/2000-01-02", "", "a: rotated", "a: rotated, max age"},
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(told{})); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

type daily struct{ hour int }

func (d daily) Next(t time.Time) time.Time {
	next := time.Date(t.Year(), t.Month(), t.Day(), d.hour, 0, 0, 0, time.UTC)
	if !next.After(t) {
		next = next.AddDate(0, 0, 1)
	}
	return next
}

func TestDigest(t *testing.T) {
	with(t, func(o *Options) { o.Digest, o.Quiet = daily{8}, []string{"chat"} }, func(t *testing.T, r *rig) {
		coming := healthy("tiles")
		coming.DueAt, coming.Record.Live.Expires = time.Now().Add(5*24*time.Hour), time.Now().Add(20*24*time.Hour)
		scene := Scene{Credentials: []View{dead("maps"), coming, healthy("shop")},
			Uses: []Use{{Credential: "maps", Month: Figures{Requests: 1200, Credits: 2.5}}, {Credential: "shop", Month: Figures{Requests: 10, Credits: 30}, Budgets: []Budget{{Period: "month", Share: 0.5}}}}}
		r.during(time.Hour, scene)
		r.want("maps: the served key is dead") // and no digest for having been switched on
		r.alerter.Observe(promoted("shop", 3))
		r.channel.failWith(func(Message) error { return errors.New("connection refused") })
		r.during(8*time.Hour, scene)
		r.want()
		r.channel.failWith(nil)
		r.restart()
		r.during(30*time.Minute, scene)
		r.want("Digest: 1 alert needs a person, 1 rotated since 2000-01-01, 1 to come within 14 days")
		n := r.channel.last()
		want := []Section{
			{"Needs a person", []string{"critical: maps: the served key is dead, for 9 hours"}},
			{"Rotated", []string{"2000-01-01 shop: rotated, max age; the new key ends 2000-12-01T00:00:00Z (in 334 days)"}},
			{"Coming", []string{"2000-01-06 tiles (Team Maps), key ends 2000-01-21T00:00:00Z (in 19 days)"}},
			{"Usage", []string{"All: 1210 requests, 32.50 credits this month", "shop: 10 requests, 30 credits this month; 50 % of the month's budget",
				"maps: 1200 requests, 2.50 credits this month"}},
		}
		if diff := cmp.Diff(want, n.Message.Sections); diff != "" || n.Kind != NoticeDigest || n.State != StateResolved {
			t.Errorf("digest %+v (-want +got):\n%s", n, diff)
		}
		r.restart()
		r.during(time.Hour, scene)
		r.want()
		r.stop() // three are missed: one is told
		time.Sleep(3 * 24 * time.Hour)
		r.start()
		r.during(30*time.Minute, scene)
		digests := slices.DeleteFunc(r.channel.take(), func(s string) bool { return !strings.HasPrefix(s, "Digest") })
		if diff := cmp.Diff([]string{"Digest: 1 alert needs a person, 0 rotated since 2000-01-01, 1 to come within 14 days"}, digests); diff != "" {
			t.Errorf("after three days (-want +got):\n%s", diff)
		}
	})
}

func TestBegin(t *testing.T) {
	store, now, ctx := &memory{values: map[string][]byte{}}, at(), t.Context()
	begin := func(after time.Duration, crashes int, stops bool) {
		t.Helper()
		now = now.Add(after)
		got, end, err := Begin(ctx, store, now)
		if err != nil || len(got) != crashes {
			t.Fatalf("%d crashes (%v), want %d", len(got), err, crashes)
		}
		if stops {
			if err := end(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	begin(0, 0, true)            // the first start
	begin(time.Hour, 0, false)   // and this one is killed
	begin(time.Hour, 1, false)   // likewise
	begin(time.Hour, 2, true)    // this one is not
	begin(time.Hour, 2, true)    // they are still of this day
	begin(30*time.Hour, 0, true) // and no longer
	store.values[runningKey] = []byte("{")
	if _, _, err := Begin(ctx, store, now); err == nil {
		t.Error("a state that cannot be read was taken")
	}
}
