package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/rotate"
)

// renamedFleet has a-0 under another name.
func renamedFleet(name rotate.Name) *Fleet {
	f := fleetOf(map[rotate.PortalID]int{"a": 2})
	c := *f.Credentials[0].Credential
	c.Name = name
	f.Credentials[0].Credential = &c
	return f
}

// follow is the fake journal's rename.
func (f *fakeEngine) follow(_ context.Context, list []Naming) (out []rotate.Record, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range list {
		if f.busy[n.From] {
			f.t.Errorf("%s is renamed while a worker has it", n.From)
		}
		r := f.records[n.From]
		r.Name, r.Epoch = n.To, 1
		f.records[n.To], f.records[n.From] = r, rotate.Record{Name: n.From, Epoch: 9}
		out = append(out, r)
	}
	return out, nil
}

// identify has the fake engine note the item, as the real one does.
func identify(phase rotate.Phase, work func(name rotate.Name)) func(context.Context, *rotate.Credential, rotate.Record) rotate.AdvanceResult {
	return func(_ context.Context, c *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
		work(c.Name)
		r.ID, r.Phase = c.ID, phase
		return rotate.AdvanceResult{Record: r, Step: rotate.StepProbe, Effect: rotate.EffectProbe, Next: time.Now().Add(time.Hour), Healthy: true}
	}
}

// A reload in which an item has another name goes on with its record under that name, once no worker has it.
func TestReloadFollowsANewName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		e.advance = identify(rotate.PhaseOverlap, func(rotate.Name) { time.Sleep(time.Minute) }) // a worker has it when the reload comes
		d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 2}), Rename: e.follow,
			Load: func(context.Context) (*Fleet, error) { return renamedFleet("trails"), nil }})
		time.Sleep(90 * time.Second) // the record has its item by now
		if _, err := d.Command(t.Context(), "a-0", rotate.Command{Kind: rotate.CommandHold}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the next advance is under way
		res, err := d.Reload(t.Context())
		if err != nil || !slices.Equal(res.Renamed, []string{"a-0 -> trails"}) || len(res.Added)+len(res.Removed) > 0 {
			t.Fatalf("reload = %+v, %v", res, err)
		}
		time.Sleep(2 * time.Minute)
		names := []rotate.Name{}
		for _, v := range d.Views() {
			names = append(names, v.Name)
			if v.Name == "trails" && v.Record.ID.Item != "a-0" {
				t.Errorf("the record did not come along: %+v", v.Record)
			}
		}
		if !slices.Equal(names, []rotate.Name{"a-1", "trails"}) {
			t.Errorf("looked after: %v", names)
		}
		d.end(t)
	})
}

func TestReloadRefusesANewNameInCutOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		e.advance = identify(rotate.PhasePublishing, func(rotate.Name) {})
		d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 2}), Rename: e.follow,
			Load: func(context.Context) (*Fleet, error) { return renamedFleet("trails"), nil }})
		time.Sleep(time.Second)
		_, err := d.Reload(t.Context())
		if err == nil || !strings.Contains(err.Error(), "credential a-0 is named trails, but its rotation is in cut-over (publishing)") {
			t.Errorf("reload = %v", err)
		}
		before := len(e.called("a-0"))
		time.Sleep(2 * time.Hour)
		if len(e.called("a-0")) <= before {
			t.Error("it was not let go on")
		}
		d.end(t)
	})
}

// Of names that are followed: an item that the journal knows under one name, which is gone from the config.
func TestNamings(t *testing.T) {
	item := func(n string) rotate.ID { return rotate.ID{Portal: "a", Item: rotate.ItemID(n)} }
	r := func(name rotate.Name, id rotate.ID) rotate.Record { return rotate.Record{Name: name, ID: id, Epoch: 1} }
	for _, tt := range []struct {
		name    string
		records []rotate.Record
		want    int
	}{
		{"another name", []rotate.Record{r("old", item("a-0"))}, 1},
		{"the name is free again", []rotate.Record{r("old", item("a-0")), r("trails", rotate.ID{})}, 1},
		{"nobody knows the item", []rotate.Record{r("old", item("99"))}, 0},
		{"the name is in use", []rotate.Record{r("a-1", item("a-0"))}, 0},
		{"the new name is known", []rotate.Record{r("old", item("a-0")), r("trails", item("99"))}, 0},
		{"two names had it", []rotate.Record{r("old", item("a-0")), r("older", item("a-0"))}, 0},
	} {
		if got := Namings(tt.records, renamedFleet("trails")); len(got) != tt.want || tt.want == 1 && got[0] != (Naming{"old", "trails"}) {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// What is ended is not advanced any more, whatever the config says, and no worker has it meanwhile.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		slow := func(rotate.Name) { time.Sleep(10 * time.Second) }
		e.advance = identify(rotate.PhaseIdle, slow)
		d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 2})})
		time.Sleep(time.Second)
		refused := errors.New("the disk is full")
		if err := d.End(t.Context(), "a-0", func(context.Context) error { return refused }); !errors.Is(err, refused) {
			t.Errorf("end = %v", err)
		}
		time.Sleep(3 * time.Hour)
		if n := len(e.called("a-0")); n < 2 {
			t.Fatalf("after an end that failed it was advanced %d times", n)
		}
		ended := 0
		if err := d.End(t.Context(), "a-0", func(context.Context) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			if ended++; e.busy["a-0"] {
				t.Error("a worker has it")
			}
			return nil
		}); err != nil || ended != 1 {
			t.Errorf("end = %v, called %d times", err, ended)
		}
		n := len(e.called("a-0"))
		time.Sleep(5 * time.Hour)
		if len(e.called("a-0")) != n || len(e.called("a-1")) < 5 {
			t.Errorf("ended at %d calls, now %d; the other one %d", n, len(e.called("a-0")), len(e.called("a-1")))
		}
		if err := d.End(t.Context(), "a-0", func(context.Context) error { return nil }); err == nil {
			t.Error("ended twice")
		}
		d.end(t)
	})
}
