package alert

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"rotatord/internal/rotate"
)

// deed is one step of a history: what is done, to which, and for how many minutes the
// world then stays as it is.
type deed struct{ what, which, how, minutes int }

// world of three credentials at one portal with one sink.
type world struct {
	dead, failing, drift [3]bool
	portalDown, sinkDown time.Time
}

func (w world) scene() Scene {
	var s Scene
	for i := range 3 {
		v := healthy(rotate.Name(fmt.Sprint("c", i)))
		v.Sinks = []string{"kv"}
		if w.dead[i] {
			v.Record.DeadAt = time.Now()
		}
		if w.failing[i] {
			v.Record.Attempts = 4
		}
		if w.drift[i] {
			v.Record.Drift, v.Record.DriftSince = rotate.DriftSinkForeign, time.Now().Add(-time.Hour)
		}
		s.Credentials = append(s.Credentials, v)
	}
	s.Health = Health{Portals: []PortalHealth{{Portal: "esri", Known: true, DownSince: w.portalDown}},
		Sinks: []SinkHealth{{Sink: "kv", Known: true, FailingSince: w.sinkDown}}}
	return s
}

// change one thing of the world.
func (w *world) change(d deed) {
	flip := func(at *time.Time) {
		if at.IsZero() {
			*at = time.Now()
		} else {
			*at = time.Time{}
		}
	}
	switch i := d.which; d.how {
	case 0:
		w.dead[i] = !w.dead[i]
	case 1:
		w.failing[i] = !w.failing[i]
	case 2:
		w.drift[i] = !w.drift[i]
	case 3:
		flip(&w.portalDown)
	case 4:
		flip(&w.sinkDown)
	}
}

// reader is what somebody knows who reads one channel.
type reader struct {
	open    map[string]bool
	channel *channel
}

// read a channel's notices as a person does, and complain of what should not be there.
func (r *reader) read(notices []Notice) error {
	way := r.channel.name
	for _, n := range notices {
		switch {
		case n.Kind != NoticeAlert:
			return fmt.Errorf("%s: told %+v", way, n)
		case n.State == StateResolved && !r.open[n.Key]:
			return fmt.Errorf("%s: %s is resolved, of which nobody had heard", way, n.Key)
		case !n.Loud && !r.open[n.Key]:
			return fmt.Errorf("%s: %s was opened quietly", way, n.Key)
		case n.Loud && n.State == StateOpen && r.open[n.Key] && !news(n):
			return fmt.Errorf("%s: %s was repeated: %+v", way, n.Key, n.Story)
		case n.Ref != r.channel.refOf[n.Key] && r.open[n.Key]:
			return fmt.Errorf("%s: %s has the reference %q, want %q", way, n.Key, n.Ref, r.channel.refOf[n.Key])
		}
		r.open[n.Key] = n.State != StateResolved
	}
	return nil
}

// news tells whether a story has a reason to ask for attention again.
func news(n Notice) bool {
	for _, l := range n.Story {
		for _, reason := range []string{"still so", "got worse", "now:", "snooze is over", "after its end", "alerts:"} {
			if strings.Contains(l.Text, reason) {
				return true
			}
		}
	}
	return false
}

// TestRandomHistories: whatever happens in whatever order, with notifiers that break and
// restarts in between, nobody is told twice, nobody hears of what ended unheard, and
// when all is quiet everybody who is reachable knows exactly what holds.
func TestRandomHistories(t *testing.T) {
	number := func(most int) *rapid.Generator[int] { return rapid.IntRange(0, most) }
	deeds := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) deed {
		return deed{number(6).Draw(t, "what"), number(2).Draw(t, "which"), number(4).Draw(t, "how"), number(40).Draw(t, "minutes")}
	}), 1, 15)
	rapid.Check(t, func(rt *rapid.T) {
		plan := deeds.Draw(rt, "history")
		var err error // the bubble has goroutines of its own, in which rapid must not fail
		synctest.Test(t, func(t *testing.T) { err = live(t, plan) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}

// live through a history.
func live(t *testing.T, plan []deed) error {
	ways := []*channel{{name: "chat"}, {name: "email"}}
	r := &rig{t: t, store: &memory{values: map[string][]byte{}}, channel: ways[0], counts: map[Delivery]int{}, change: func(o *Options) {
		waits(o)
		o.Notifiers, o.FlapTimes = []Notifier{ways[0], ways[1]}, 3
	}}
	r.start()
	defer func() { r.stop() }()
	readers := []*reader{{map[string]bool{}, ways[0]}, {map[string]bool{}, ways[1]}}
	read := func() error {
		for i, c := range ways {
			c.mu.Lock()
			notices := c.notices
			c.notices = nil
			c.mu.Unlock()
			if err := readers[i].read(notices); err != nil {
				return err
			}
		}
		return nil
	}
	var w world
	for _, d := range plan {
		switch d.what {
		case 0:
			r.restart()
		case 1:
			fail := []error{errors.New("connection refused"), &rotate.Error{Op: "tell", Kind: rotate.KindRateLimited, Wait: 20 * time.Minute}, nil, nil, nil}[d.how]
			ways[d.which%2].failWith(func(Message) error { return fail })
		default:
			w.change(d)
		}
		r.during(time.Duration(d.minutes)*time.Minute, w.scene())
		if err := read(); err != nil {
			return err
		}
	}
	for _, c := range ways {
		c.failWith(nil)
	}
	r.during(3*time.Hour, w.scene())
	if err := read(); err != nil {
		return err
	}
	return agree(r.alerter, w, readers)
}

// agree that what holds is what everybody knows.
func agree(a *Alerter, w world, readers []*reader) error {
	list, err := a.List(false)
	if err != nil {
		return err
	}
	told := map[string]bool{}
	for _, one := range list {
		told[one.Key] = one.Cause == "" && !one.Waiting
		if one.Waiting && one.Cause == "" {
			return fmt.Errorf("%s still waits after three hours", one.Key)
		}
	}
	for _, key := range w.told() {
		if !told[key] {
			return fmt.Errorf("%s holds, and is not told: %v", key, told)
		}
	}
	for i, reader := range readers {
		for key, is := range told {
			if is && !reader.open[key] {
				return fmt.Errorf("reader %d does not know of %s", i, key)
			}
		}
		for key, open := range reader.open {
			if _, holds := told[key]; open && !holds {
				return fmt.Errorf("reader %d believes that %s holds", i, key)
			}
		}
	}
	return nil
}

// told are the keys that must be told of a world that stays as it is: one for each fault.
func (w world) told() []string {
	var out []string
	if !w.portalDown.IsZero() {
		out = append(out, "portal_unreachable/esri")
	}
	if !w.sinkDown.IsZero() {
		out = append(out, "sink_failing/kv")
	}
	for i := range 3 {
		switch name := fmt.Sprint("c", i); {
		case w.dead[i]:
			out = append(out, "dead/"+name)
		case w.failing[i] && w.portalDown.IsZero() && w.sinkDown.IsZero() && !w.drift[i]:
			out = append(out, "failing/"+name)
		}
		if w.drift[i] {
			out = append(out, fmt.Sprint("drift/c", i))
		}
	}
	return out
}
