package daemon

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"

	"rotatord/internal/calendar"
	"rotatord/internal/fleet"
	"rotatord/internal/rotate"
	"rotatord/internal/simulate"
)

// deeds notes when the daemon promoted and retired what.
type deeds struct {
	mu   sync.Mutex
	list []simulate.Event
}

func (d *deeds) Observe(e rotate.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case e.Kind == rotate.EventPromoted:
		d.list = append(d.list, simulate.Event{At: e.At, Name: e.Name, What: simulate.Rotates, Slot: e.Slot})
	case e.Kind == rotate.EventEffect && e.Effect == rotate.EffectRevoke && e.Result == rotate.ResultOK:
		d.list = append(d.list, simulate.Event{At: e.At, Name: e.Name, What: simulate.Retires, Slot: e.Slot})
	}
}

// TestSimulationForetellsAHundredDays: what the simulation says of a fleet is what the daemon does with it.
func TestSimulationForetellsAHundredDays(t *testing.T) {
	tuesdays, err := cron.ParseStandard("0 8 * * 2,4")
	if err != nil {
		t.Fatal(err)
	}
	office := &calendar.Calendar{Windows: []calendar.Window{{Schedule: tuesdays, Length: 3 * time.Hour}}}
	for name, row := range map[string]struct {
		policy fleet.Policy
		cal    rotate.Calendar
		stages []string
	}{
		"plain":   {stages: make([]string, 5)},
		"windows": {cal: office, stages: make([]string, 5)},
		"stages":  {policy: fleet.Policy{Stages: []string{"canary", "production"}, HealthyFor: 24 * time.Hour}, stages: []string{"production", "canary", "production", ""}},
		"limit":   {policy: fleet.Policy{AtOnce: 1}, stages: make([]string, 6)},
	} {
		t.Run(name, func(t *testing.T) { foretold(t, row.policy, row.cal, row.stages) })
	}
}

func foretold(t *testing.T, policy fleet.Policy, cal rotate.Calendar, stages []string) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newFleetWorld(t, policy, stages...)
		done := &deeds{}
		if w.engine, _ = rotate.New(rotate.Options{Journal: w.db, Instance: "0123456789abcdef0123456789abcdef", Observer: done}); w.engine == nil {
			t.Fatal("no engine")
		}
		for i := range w.fleet.Credentials {
			w.fleet.Credentials[i].Policy.Calendar = cal
		}
		d, stop := w.start(t, Options{})
		time.Sleep(time.Hour)
		var all []simulate.Credential
		for _, v := range d.Views() {
			all = append(all, simulate.Credential{Name: v.Name, ID: v.ID, Stage: stages[slices.IndexFunc(w.fleet.Credentials, func(m Managed) bool { return m.Name == v.Name })],
				Mode: v.Mode, Policy: v.Policy, Record: v.Record})
		}
		said := simulate.Run(all, simulate.Options{From: time.Now(), Days: 100, Workers: map[rotate.PortalID]int{"p": DefaultWorkers}, CutOver: time.Second, Fleet: policy})
		done.mu.Lock()
		done.list = nil
		done.mu.Unlock()
		time.Sleep(100 * 24 * time.Hour)
		w.end(t, stop)
		if len(said.Events) < 2*len(stages) || len(said.Dying) > 0 {
			t.Fatalf("foretold %d events, %d deaths", len(said.Events), len(said.Dying))
		}
		compare(t, said.Events, done.list)
	})
}

// compare by credential: the same things in the same order, at about the same time.
func compare(t *testing.T, said, did []simulate.Event) {
	t.Helper()
	by := func(list []simulate.Event) map[rotate.Name][]simulate.Event {
		m := map[rotate.Name][]simulate.Event{}
		for _, e := range list {
			m[e.Name] = append(m[e.Name], e)
		}
		return m
	}
	foretold, happened := by(said), by(did)
	for name, list := range happened {
		if len(foretold[name]) != len(list) {
			t.Errorf("%s: foretold %s, happened %s", name, brief(foretold[name]), brief(list))
			continue
		}
		for i, e := range list {
			f := foretold[name][i]
			if f.What != e.What || f.Slot != e.Slot || f.At.Sub(e.At).Abs() > 30*time.Minute {
				t.Errorf("%s: foretold %s of slot %s at %s, happened %s of slot %s at %s", name, f.What, f.Slot, f.At, e.What, e.Slot, e.At)
			}
		}
	}
}

func brief(list []simulate.Event) (out []string) {
	for _, e := range list {
		out = append(out, fmt.Sprint(e.What, e.Slot, e.At.Format(" 01-02T15:04")))
	}
	return out
}
