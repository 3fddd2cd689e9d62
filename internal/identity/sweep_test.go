package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/journal"
	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/sinks"
)

const day = 24 * time.Hour

var errDied = errors.New("the process dies here")

// world is one daemon that lives on an own key and rotates it. It dies once, around
// the point-th effect on portal, store or journal: before it, or after it.
type world struct {
	t      *testing.T
	dir    string
	emu    *portaltest.Emulator
	item   rotate.ItemID
	client *portal.Client
	db     *journal.DB
	engine *rotate.Engine
	cred   *rotate.Credential
	sess   *rotate.Session

	points int // so far
	dieAt  int // -1: never
	after  bool
	died   bool
}

// around an effect.
func (w *world) around(effect func()) {
	n := w.points
	w.points++
	if n == w.dieAt && !w.after {
		panic(errDied)
	}
	effect()
	if n == w.dieAt {
		panic(errDied)
	}
}

// RoundTrip is the portal's side.
func (w *world) RoundTrip(r *http.Request) (res *http.Response, err error) {
	w.around(func() { res, err = w.emu.Transport().RoundTrip(r) })
	return res, err
}

// mortalSink is the store on disk, around whose writes the process may die.
type mortalSink struct {
	rotate.Sink
	w *world
}

func (m mortalSink) Write(ctx context.Context, e rotate.Entry, cas rotate.Version) (v rotate.Version, err error) {
	m.w.around(func() { v, err = m.Sink.Write(ctx, e, cas) })
	return v, err
}

type mortalJournal struct {
	*journal.DB
	w *world
}

func (m mortalJournal) Save(ctx context.Context, r rotate.Record, ev ...rotate.Event) (saved rotate.Record, err error) {
	m.w.around(func() { saved, err = m.DB.Save(ctx, r, ev...) })
	return saved, err
}

func (w *world) storePath() string { return filepath.Join(w.dir, "identities", "p.json") }

// boot starts the daemon on what is on disk.
func (w *world) boot() {
	w.t.Helper()
	w.shut()
	file, err := sinks.NewFile(sinks.FileOptions{Name: "identity_store", Path: w.storePath(), Format: sinks.FormatJSON, KeepPrevious: 2})
	if err != nil {
		w.t.Fatal(err)
	}
	store := NewStore(mortalSink{file, w})
	w.client, err = portal.New(portal.Options{URL: "https://portal.example.com" + w.emu.Root(), Transport: w,
		Limits:   portal.Limits{Retries: -1, BreakerAfter: -1},
		Identity: portal.Identity{OwnKey: &portal.OwnKeyIdentity{Key: store.Key, Earlier: store.EarlierKeys}}})
	if err != nil {
		w.t.Fatal(err)
	}
	store.OnWrite(w.client.SignInAnew)
	if w.db, err = journal.Open(context.Background(), journal.Options{Path: filepath.Join(w.dir, "j.db")}); err != nil {
		w.t.Fatal(err)
	}
	if w.engine, err = rotate.New(rotate.Options{Journal: mortalJournal{w.db, w}, Instance: "one"}); err != nil {
		w.t.Fatal(err)
	}
	w.cred = &rotate.Credential{Name: "own", ID: rotate.ID{Portal: "p", Item: w.item}, Mode: rotate.ModeRotate, Portal: w.client,
		Sinks: []rotate.Sink{store}, Gates: []rotate.Gate{Gate{Client: w.client, Own: true}}, Hooks: []rotate.Hook{Last{Journal: w.db}},
		Policy: rotate.Policy{RenewBefore: 30 * day, Overlap: 3 * day, CriticalBefore: 7 * day, Lifetime: 90 * day, Precision: rotate.PrecisionDay,
			MinInterval: day, MinGain: 2 * day, ProbeEvery: 12 * time.Hour, DeepEvery: 5 * day, OrphanDelay: 3 * day, EffectHorizon: 10 * time.Minute,
			RetryBase: 30 * time.Second, RetryMax: time.Hour, MaxAttempts: 8, DeadProbes: 3, DeadAfter: 10 * time.Minute, DeathsPerHour: 3, AutoAdopt: true}}
	w.sess = &rotate.Session{}
}

func (w *world) shut() {
	if w.db != nil {
		_ = w.db.Close()
		w.db = nil
	}
}

// step advances once; a death in it is a restart.
func (w *world) step() (res rotate.AdvanceResult) {
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == any(errDied):
			w.died, w.dieAt = true, -1
			w.boot()
			// The one thing that must never fail: whoever starts now is let in.
			if err := w.client.Control(context.Background()); err != nil {
				w.t.Errorf("after the restart the daemon is locked out: %v", err)
			}
			res = rotate.AdvanceResult{Next: time.Now().Add(time.Minute)}
		default:
			panic(p)
		}
	}()
	return w.engine.Advance(context.Background(), w.cred, w.sess)
}

// live until the old key is retired and all is at rest.
func (w *world) live() {
	w.t.Helper()
	for range 2000 {
		res := w.step()
		r := res.Record
		if r.Live.Slot == rotate.Slot2 && r.Phase == rotate.PhaseIdle && res.Due == "" && res.Step == rotate.StepNone {
			return
		}
		if wait := min(time.Until(res.Next), day); wait > 0 {
			time.Sleep(wait) // fake time
		}
	}
	w.t.Error("the rotation came to no end")
}

// sweep runs one life and returns how many points it had.
func sweep(t *testing.T, dieAt int, after bool) (points int, died bool) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, dir: dir, dieAt: dieAt, after: after, emu: portaltest.New(portaltest.Options{Product: portaltest.Online, Seed: 7,
			Switches: map[string]string{portaltest.SwitchManner: "strict"}})}
		seed := w.emu.AddCredential(portaltest.CredentialSeed{Title: "rotatord", Minted: true, Expires: [2]time.Time{time.Now().Add(20 * day)},
			Privileges: []string{"portal:admin:viewItems", "portal:admin:updateItems"}})
		w.item = rotate.ItemID(seed.ItemID)
		if err := errors.Join(os.Mkdir(filepath.Dir(w.storePath()), 0o700), os.WriteFile(w.storePath(), []byte(`{"api_key": "`+seed.Keys[0]+`"}`), 0o600)); err != nil {
			t.Fatal(err)
		}
		w.boot()
		defer w.shut()
		w.live()
		points, died = w.points, w.died
		if valid, _ := w.emu.KeyValid(seed.Keys[0]); valid {
			t.Error("the first key was not retired")
		}
		if used, err := w.client.IdentityKey(t.Context()); err != nil || used.Slot() != rotate.Slot2 {
			t.Errorf("the daemon signs in with %s, %v; want the key in slot 2", used, err)
		}
		if info, err := os.Stat(w.storePath()); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the store: %v, %v", info, err)
		}
		for _, v := range w.emu.Violations() {
			t.Errorf("emulator: %s %s: %s", v.Op, v.Path, v.Text)
		}
	})
	return points, died
}

// A death between any two effects of the rotation of the key that the daemon itself
// lives on leaves a daemon that is let in, and that finishes the rotation.
func TestNoDeathLocksTheDaemonOut(t *testing.T) {
	points, _ := sweep(t, -1, false)
	if points < 20 {
		t.Fatalf("a whole rotation has only %d points", points)
	}
	for n := range points {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/after=%v", n, after), func(t *testing.T) {
				t.Parallel()
				if _, died := sweep(t, n, after); !died {
					t.Error("the process did not die")
				}
			})
		}
	}
}
