package daemon

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/fleet"
	"rotatord/internal/rotate"
)

// crowd counts rotations under way and notes who was promoted when.
type crowd struct {
	mu       sync.Mutex
	running  map[rotate.Name]bool
	most     int
	promoted map[rotate.Name]time.Time // of the second generation
}

// saw is told every record, as internal/fleet is.
func (c *crowd) saw(r rotate.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Phase.InCutOver() {
		c.running[r.Name] = true
	} else {
		delete(c.running, r.Name)
	}
	c.most = max(c.most, len(c.running))
	if r.Live.Generation == 2 && c.promoted[r.Name].IsZero() && !r.Phase.InCutOver() {
		c.promoted[r.Name] = time.Now()
	}
}

// watchedPeers is a fleet whose records are looked at on their way.
type watchedPeers struct {
	*fleet.Fleet
	crowd *crowd
}

func (p *watchedPeers) Saw(r rotate.Record) {
	p.Fleet.Saw(r)
	p.crowd.saw(r)
}

// newFleetWorld has credentials p-0 … whose keys all end on one day, in stages.
func newFleetWorld(t *testing.T, policy fleet.Policy, stages ...string) (*realWorld, *watchedPeers) {
	t.Helper()
	w := newRealWorld(t, len(stages), nil)
	p := &watchedPeers{Fleet: fleet.New(nil), crowd: &crowd{running: map[rotate.Name]bool{}, promoted: map[rotate.Name]time.Time{}}}
	var members []fleet.Member
	for i := range w.fleet.Credentials {
		m := &w.fleet.Credentials[i]
		m.Policy.Spread = 0
		m.Peers = p
		members = append(members, fleet.Member{Name: m.Name, Stage: stages[i], Policy: m.Policy, Mode: m.Mode})
	}
	p.Configure(policy, members)
	return w, p
}

func (w *realWorld) end(t *testing.T, stop func() error) {
	t.Helper()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := w.db.Close(); err != nil {
		t.Error(err)
	}
}

// Twelve keys that are due on one day are rotated no more than three at once, and all in time.
func TestNoMoreRotationsAtOnceThanAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newFleetWorld(t, fleet.Policy{AtOnce: 3}, make([]string, 12)...)
		w.fleet.Portals[0].Workers = 12
		_, stop := w.start(t, Options{})
		time.Sleep(time.Hour)
		p.crowd.mu.Lock()
		p.crowd.most = 0 // first keys are urgent, and do not count
		p.crowd.mu.Unlock()
		time.Sleep(65 * 24 * time.Hour)
		w.end(t, stop)
		if p.crowd.most == 0 || p.crowd.most > 3 {
			t.Errorf("%d rotations at once, want 1 to 3", p.crowd.most)
		}
		if n := len(p.crowd.promoted); n != 12 {
			t.Errorf("%d of 12 were rotated", n)
		}
	})
}

// A stage begins when the one before it has been well for as long as the config says.
func TestAStageWaitsForTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newFleetWorld(t, fleet.Policy{Stages: []string{"canary", "production"}, HealthyFor: 36 * time.Hour}, "production", "canary", "production", "canary", "")
		d, stop := w.start(t, Options{})
		time.Sleep(61 * 24 * time.Hour)
		var waits int
		for _, v := range d.Views() {
			if v.Record.Blocked == rotate.ReasonStage {
				waits++
			}
		}
		if waits != 2 {
			t.Errorf("%d credentials wait for the stage before them, want 2", waits)
		}
		time.Sleep(4 * 24 * time.Hour)
		w.end(t, stop)
		at := p.crowd.promoted
		for _, production := range []rotate.Name{"p-0", "p-2"} {
			for _, canary := range []rotate.Name{"p-1", "p-3"} {
				if after := at[production].Sub(at[canary]); at[canary].IsZero() || after < 36*time.Hour || after > 40*time.Hour {
					t.Errorf("%s was rotated %s after %s", production, after, canary)
				}
			}
		}
		if at["p-4"].After(at["p-0"].Add(-36 * time.Hour)) {
			t.Errorf("who is in no stage waited until %s", at["p-4"])
		}
	})
}

// Proofs that fail stop the fleet, but for what is critical, until a person resumes them.
func TestFailedProofsStopTheFleetUntilResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := newFleetWorld(t, fleet.Policy{FailedProofs: 2}, make([]string, 4)...)
		broken := &brokenParity{}
		for i := range 2 {
			w.fleet.Credentials[i].Parity = broken
		}
		for i := 2; i < 4; i++ { // due later than those whose proofs fail
			w.fleet.Credentials[i].Policy.RenewBefore -= 10 * 24 * time.Hour
		}
		d, stop := w.start(t, Options{})
		time.Sleep(75 * 24 * time.Hour)
		for _, v := range d.Views() {
			if v.Name == "p-2" && (v.Record.Blocked != rotate.ReasonFleetStop || v.Record.Due != rotate.ReasonExpiring || v.Record.Live.Generation != 1) {
				t.Errorf("%s: due %s, blocked by %s, generation %d", v.Name, v.Record.Due, v.Record.Blocked, v.Record.Live.Generation)
			}
		}
		if b := p.May(rotate.Record{Name: "p-2"}, time.Now()); !strings.Contains(b.Text, "p-0, p-1") || !strings.Contains(b.Text, "rotatord resume NAME") {
			t.Errorf("the stop says %q", b.Text)
		}
		if _, err := d.Command(t.Context(), "p-0", rotate.Command{Kind: rotate.CommandResume, By: "ann"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		for _, v := range d.Views() {
			if (v.Name == "p-2" || v.Name == "p-3") && v.Record.Live.Generation != 2 {
				t.Errorf("%s after the resume: blocked by %s, generation %d", v.Name, v.Record.Blocked, v.Record.Live.Generation)
			}
		}
		broken.mend()
		time.Sleep(2 * time.Hour)
		w.end(t, stop)
	})
}

// brokenParity does not find the new key's answers to be those of the old one until it is mended.
type brokenParity struct{ mended atomic.Bool }

func (p *brokenParity) mend() { p.mended.Store(true) }

func (p *brokenParity) Compare(context.Context, rotate.Secret, rotate.Secret, string) error {
	if p.mended.Load() {
		return nil
	}
	return &rotate.Error{Op: "compare", Kind: rotate.KindTransient}
}
