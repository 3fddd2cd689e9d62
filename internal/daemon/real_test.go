package daemon

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/journal"
	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

// realWorld is the daemon over the real engine, journal and portal client, with an emulated portal and sinks in memory.
type realWorld struct {
	emulator *portaltest.Emulator
	fleet    *Fleet
	sinks    map[rotate.Name]*rotatetest.MemSink
	db       *journal.DB
	engine   *rotate.Engine
}

func yearPolicy() rotate.Policy {
	const day = 24 * time.Hour
	return rotate.Policy{RenewBefore: 30 * day, Overlap: 2 * day, CriticalBefore: 5 * day, Lifetime: 90 * day, Spread: 10 * day,
		Precision: rotate.PrecisionDay, MinInterval: day, MinGain: 2 * day, ProbeEvery: 6 * time.Hour, DeepEvery: day, OrphanDelay: 3 * day,
		EffectHorizon: 10 * time.Minute, RetryBase: 30 * time.Second, RetryMax: time.Hour, MaxAttempts: 8, DeadProbes: 3,
		DeadAfter: 10 * time.Minute, DeathsPerHour: 3, AutoAdopt: true}
}

// newRealWorld is made inside a bubble. Close its journal before the bubble ends.
func newRealWorld(t *testing.T, credentials int, switches map[string]string) *realWorld {
	t.Helper()
	w := &realWorld{emulator: portaltest.New(portaltest.Options{Switches: switches}), sinks: map[rotate.Name]*rotatetest.MemSink{}}
	password := func(context.Context) (rotate.Secret, error) {
		return rotate.NewSecret(portaltest.StandardPassword), nil
	}
	client, err := portal.New(portal.Options{URL: "https://portal.example.com", Transport: w.emulator.Transport(),
		Identity: portal.Identity{Password: &portal.PasswordIdentity{Username: portaltest.AdminUser, Password: password}}})
	if err != nil {
		t.Fatal(err)
	}
	w.fleet = &Fleet{Tick: everyMinute(), Portals: []Portal{{ID: "p"}}}
	for i := range credentials {
		m := managed("p", i)
		m.ID.Item = rotate.ItemID(w.emulator.AddCredential(portaltest.CredentialSeed{Title: string(m.Name)}).ItemID)
		sink := rotatetest.NewMemSink("memory")
		m.Policy, m.Portal, m.Sinks = yearPolicy(), client, []rotate.Sink{sink}
		w.sinks[m.Name] = sink
		w.fleet.Credentials = append(w.fleet.Credentials, m)
	}
	if w.db, err = journal.Open(t.Context(), journal.Options{Path: filepath.Join(t.TempDir(), "journal.db")}); err != nil {
		t.Fatal(err)
	}
	if w.engine, err = rotate.New(rotate.Options{Journal: w.db, Instance: "0123456789abcdef0123456789abcdef"}); err != nil {
		t.Fatal(err)
	}
	return w
}

// start a daemon; stop ends it and waits.
func (w *realWorld) start(t *testing.T, o Options) (d *Daemon, stop func() error) {
	t.Helper()
	o.Engine, o.Journal, o.Fleet = w.engine, w.db, w.fleet
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- d.Run(ctx) }()
	return d, func() error {
		cancel()
		return <-result
	}
}

// served is the key in a credential's sink.
func (w *realWorld) served(t *testing.T, name rotate.Name) rotate.Entry {
	t.Helper()
	e, err := w.sinks[name].Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Over five months every served key is valid whenever somebody looks, and each credential was rotated.
func TestFiveMonths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRealWorld(t, 3, nil)
		d, stop := w.start(t, Options{})
		time.Sleep(time.Minute)
		for day := range 150 {
			for name := range w.sinks {
				if valid, why := w.emulator.KeyValid(w.served(t, name).Key.Reveal()); !valid {
					t.Fatalf("day %d: the key that %s serves is %s", day, name, why)
				}
			}
			time.Sleep(24 * time.Hour)
		}
		for _, v := range d.Views() {
			if v.Record.Live.Generation < 3 {
				t.Errorf("%s is at generation %d after five months of keys that live 80 to 90 days", v.Name, v.Record.Live.Generation)
			}
		}
		if err := stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// The new key works only after half a minute: a stop in between waits until the sink has it, and mints no other.
func TestStopWaitsForAKeyInMemory(t *testing.T) {
	tests := []struct {
		name        string
		propagation string
		timeout     time.Duration
		published   bool
	}{
		{"in time", "30s", 2 * time.Minute, true},
		{"not in time", "1h", 2 * time.Minute, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newRealWorld(t, 1, map[string]string{portaltest.SwitchKeyPropagation: tt.propagation})
				_, stop := w.start(t, Options{StopTimeout: tt.timeout})
				time.Sleep(5 * time.Second)
				if n := len(w.emulator.Keys()); n != 1 {
					t.Fatalf("%d keys minted, want one", n)
				}
				if e := w.served(t, "p-0"); !e.Key.IsZero() {
					t.Fatal("the key is in the sink before it works")
				}
				began := time.Now()
				err := stop()
				took := time.Since(began)
				if (err == nil) != tt.published {
					t.Errorf("stop = %v", err)
				}
				if took > tt.timeout {
					t.Errorf("the stop took %s, want %s at most", took, tt.timeout)
				}
				if e := w.served(t, "p-0"); e.Key.IsZero() == tt.published {
					t.Errorf("published = %v, want %v", !e.Key.IsZero(), tt.published)
				}
				if n := len(w.emulator.Keys()); n != 1 {
					t.Errorf("%d keys minted, want one", n)
				}
				if err := w.db.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
