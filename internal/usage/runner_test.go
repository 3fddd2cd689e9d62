package usage

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/rotate"
)

func target(name string, r Reader) Target {
	return Target{Name: rotate.Name(name), ID: rotate.ID{Portal: "online", Item: rotate.ItemID("item-" + name)}, Reader: r}
}

// running starts a runner; the function returned stops it and waits.
func running(t *testing.T, o Options) (*Runner, func()) {
	t.Helper()
	if o.Schedule == nil {
		o.Schedule = hourly{}
	}
	if o.Jitter == nil {
		o.Jitter = func() float64 { return 0 }
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var g sync.WaitGroup
	g.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return r, func() { stop(); g.Wait() }
}

func sumOf(rows []Row) (requests float64) {
	for _, r := range rows {
		requests += r.Requests
	}
	return requests
}

// TestCatchesUp: 60 days at first, then what is unfinished; nothing is counted twice over
// a restart, hourly readings, or a week in which nobody read.
func TestCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, portal, counted := newMemory(), &steady{}, &reads{}
		o := Options{Targets: []Target{target("maps", portal)}, Store: store, OnRead: counted.note}
		_, stop := running(t, o)
		now := DayOf(time.Now())
		if got := portal.take(); len(got) != 1 || got[0] != (ask{"client-item-maps", now - BackfillDays + 1, now}) {
			t.Errorf("asked %+v, want 60 days once", got)
		}
		if got := sumOf(store.rows["maps"]); got != 600 {
			t.Errorf("%g requests, want 600", got)
		}
		stop()
		_, stop = running(t, o)
		if got := portal.take(); len(got) != 0 {
			t.Errorf("asked %+v again right after a restart", got)
		}
		time.Sleep(26 * time.Hour)
		synctest.Wait()
		got := portal.take()
		now = DayOf(time.Now())
		if len(got) < 20 || got[len(got)-1].from != now-2 {
			t.Errorf("asked %d times, at last %+v, want hourly the last three days", len(got), got[len(got)-1:])
		}
		stop()
		time.Sleep(7 * 24 * time.Hour)
		_, stop = running(t, o)
		defer stop()
		if got := portal.take(); len(got) != 1 || got[0].from != now-2 || got[0].to != DayOf(time.Now()) {
			t.Errorf("after a week asked %+v, want once from %s on", got, now-2)
		}
		if got, want := sumOf(store.rows["maps"]), float64(10*(60+8)); got != want {
			t.Errorf("%g requests, want %g", got, want)
		}
		if portal.clients != 1 || counted.all()[rotate.ResultOK] < 22 || len(counted.all()) != 1 {
			t.Errorf("the client id was asked %d times, readings %v", portal.clients, counted.all())
		}
	})
}

func TestForgetsOldRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, now := newMemory(), DayOf(time.Now())
		store.rows["gone"] = days(now-KeepDays+1, "geocode", 5, 5, 5)
		_, stop := running(t, Options{Store: store, Targets: nil})
		defer stop()
		if got := sumOf(store.rows["gone"]); got != 10 {
			t.Errorf("%g requests are left, want 10", got)
		}
	})
}

// TestPortalsApart: a portal that does not answer, and one that refuses, delay nobody else.
func TestPortalsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, counted := newMemory(), &reads{}
		stuck, refusing, failing, good := &steady{block: make(chan struct{})}, &steady{}, &steady{}, &steady{}
		refusing.err = &rotate.Error{Op: "read usage", Kind: rotate.KindPermanent, Cause: rotate.CauseForbidden}
		failing.err = errors.New("connection reset")
		targets := []Target{target("a", stuck), target("b1", refusing), target("b2", refusing), target("c1", failing), target("c2", failing),
			target("c3", failing), target("c4", failing), target("d", good), {Name: "e", ID: rotate.ID{Portal: "lp"}, Missing: MissingLocationPlatform, Page: "https://location.example"}}
		for i := range targets {
			targets[i].ID.Portal = rotate.PortalID(targets[i].Name[:1])
		}
		r, stop := running(t, Options{Targets: targets, Store: store, OnRead: counted.note})
		time.Sleep(5 * time.Second)
		synctest.Wait()
		by := map[rotate.Name]Finding{}
		for _, f := range r.Findings() {
			by[f.Credential] = f
		}
		for name, want := range map[rotate.Name]Missing{"a": MissingUnread, "b1": MissingForbidden, "b2": MissingForbidden, "c1": MissingUnread, "d": MissingNothing, "e": MissingLocationPlatform} {
			if by[name].Missing != want {
				t.Errorf("%s: %q is missing, want %q", name, by[name].Missing, want)
			}
		}
		if !by["d"].HasDay || by["e"].Page == "" {
			t.Errorf("d: %+v, e: %+v", by["d"], by["e"])
		}
		if n := len(refusing.take()); n != 1 {
			t.Errorf("a portal that refuses was asked %d times, want once", n)
		}
		if n := len(failing.take()); n != giveUpAfter {
			t.Errorf("a portal that fails was asked %d times, want %d", n, giveUpAfter)
		}
		if by := counted.all(); by[rotate.Result(rotate.KindTransient)] != giveUpAfter || by[rotate.Result(rotate.KindPermanent)] != 1 || by[rotate.ResultOK] != 1 {
			t.Errorf("counted %v", by)
		}
		refusing.mu.Lock()
		refusing.err = nil // the right was granted
		refusing.mu.Unlock()
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if f := r.Findings()[1]; f.Missing != MissingNothing || !f.HasDay {
			t.Errorf("after the right was granted: %+v", f)
		}
		stop()
	})
}

func TestPaceAndJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		portal := &steady{}
		began := time.Now()
		_, stop := running(t, Options{Targets: []Target{target("a", portal), target("b", portal), target("c", portal)}, Store: newMemory(),
			Jitter: func() float64 { return 0.5 }, Pace: time.Second})
		defer stop()
		next := hourly{}.Next(began)
		delay := min(next.Sub(began)/10, maxDelay) / 2
		time.Sleep(delay - time.Millisecond)
		synctest.Wait()
		if n := len(portal.take()); n != 0 {
			t.Errorf("asked %d times before the jitter", n)
		}
		for i, want := range []int{1, 1, 1, 0} {
			time.Sleep(time.Second)
			synctest.Wait()
			if n := len(portal.take()); n != want {
				t.Errorf("in second %d asked %d times, want %d", i, n, want)
			}
		}
	})
}

// puppet is a credential that carries out orders at once.
type puppet struct {
	mu     sync.Mutex
	key    Key
	orders []rotate.Command
	refuse int // so many orders
}

func (p *puppet) Key(context.Context, rotate.Name) (Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.key
	if !k.Hold.Active(time.Now()) {
		k.Hold = nil
	}
	return k, nil
}

func (p *puppet) Order(_ context.Context, _ rotate.Name, cmd rotate.Command) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders = append(p.orders, cmd)
	if p.refuse > 0 {
		p.refuse--
		return &rotate.RefusedError{Command: cmd.Kind, Why: "no"}
	}
	switch cmd.Kind {
	case rotate.CommandHold:
		p.key.Hold = &rotate.Hold{By: cmd.By, Reason: cmd.Text, Until: cmd.Until}
	case rotate.CommandInvalidate:
		p.key.Working = slices.DeleteFunc(slices.Clone(p.key.Working), func(s rotate.Slot) bool { return s == cmd.Slot })
	case rotate.CommandResume:
		p.key.Hold = nil
	default:
		return errors.New("not expected: " + string(cmd.Kind))
	}
	return nil
}

func (p *puppet) kinds() (kinds []rotate.CommandKind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.orders {
		kinds = append(kinds, o.Kind)
	}
	p.orders = nil
	return kinds
}

// TestRunnerCutsOffOnce: a month's budget is spent; the key dies once, over restarts too;
// a person resumes, and it is left alone for the month.
func TestRunnerCutsOffOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(19*24*time.Hour + 12*time.Hour) // the clock begins on the first of a month
		store, p := newMemory(), &puppet{key: keyInUse(), refuse: 1}
		tg := target("maps", &steady{})
		tg.Budget = Budget{PerMonth: 15, CutOff: true} // a credit a day; the 20th has spent 20
		o := Options{Targets: []Target{tg}, Store: store, Keys: p}
		_, stop := running(t, o)
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []rotate.CommandKind{rotate.CommandHold, rotate.CommandHold, rotate.CommandInvalidate, rotate.CommandInvalidate}
		if got := p.kinds(); !slices.Equal(got, want) {
			t.Errorf("ordered %v, want %v", got, want)
		}
		stop()
		r, stop := running(t, o)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := p.kinds(); len(got) != 0 {
			t.Errorf("ordered %v after a restart", got)
		}
		if f := r.Findings()[0]; f.CutOff == nil || f.CutOff.Stage != StageDone {
			t.Errorf("shown as %+v", f.CutOff)
		}
		p.mu.Lock()
		p.key = keyInUse() // resumed: a new key
		p.mu.Unlock()
		time.Sleep(3 * 24 * time.Hour)
		synctest.Wait()
		if got := p.kinds(); len(got) != 0 {
			t.Errorf("ordered %v after a person resumed", got)
		}
		time.Sleep(23 * 24 * time.Hour) // the 15th of the next month
		synctest.Wait()
		if got := p.kinds(); !slices.Equal(got, want[1:]) {
			t.Errorf("ordered %v in the next month, want %v", got, want[1:])
		}
		stop()
	})
}

func TestNewWants(t *testing.T) {
	for name, o := range map[string]Options{"no store": {Schedule: hourly{}}, "no schedule": {Store: newMemory()}} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, portal := newMemory(), &steady{}
		store.fail = errors.New("disk full")
		r, stop := running(t, Options{Targets: []Target{target("maps", portal)}, Store: store})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if len(portal.take()) != 0 || len(r.Findings()) != 0 {
			t.Error("it reads what it cannot keep, or shows what it does not know")
		}
		stop()
	})
}
