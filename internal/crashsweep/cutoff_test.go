package crashsweep

import (
	"context"
	"errors"
	"sync"
	"testing/synctest"
	"time"

	"rotatord/internal/journal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/usage"
)

// noteCall is the write that remembers how far a cut-off is.
const noteCall = "cut-off note"

// budgeted is a world whose credential has a credit budget that is spent: the real
// usage.Runner keeps its state in the real journal and orders what a person would.
type budgeted struct {
	*world
	// lock orders the runner and the engine, as the daemon does. A channel, since fake
	// time goes on while somebody waits for it.
	lock   chan struct{}
	orders chan struct{} // one was given: the daemon looks at the credential at once
	proc   *budgetProcess
	asked  map[rotate.Slot]int // orders to invalidate
}

// budgetProcess is one life of the program. Once dead it touches nothing any more.
type budgetProcess struct {
	b      *budgeted
	dead   bool // guarded by lock
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

// spend the budget, and start the runner.
func spend(w *world) *budgeted {
	w.t.Helper()
	b := &budgeted{world: w, lock: make(chan struct{}, 1), orders: make(chan struct{}, 1), asked: map[rotate.Slot]int{}}
	now := time.Now()
	err := diskStore{w.db}.Change(context.Background(), usage.Import([]usage.Use{{At: now, Requests: 1e6, Credits: 101}}, now).Change(w.cred.Name))
	if err != nil {
		w.t.Fatal(err)
	}
	b.start()
	return b
}

func (b *budgeted) start() {
	b.t.Helper()
	p := &budgetProcess{b: b}
	runner, err := usage.New(usage.Options{Targets: []usage.Target{{Name: b.cred.Name, ID: b.cred.ID, Missing: usage.MissingOff,
		Budget: usage.Budget{PerDay: 100, CutOff: true}}}, Store: p, Keys: p, Schedule: never{}})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.ended.Go(func() { _ = runner.Run(ctx) })
	b.proc = p
}

type never struct{}

func (never) Next(t time.Time) time.Time { return t.AddDate(1, 0, 0) }

// stop the process, whatever it does, and wait until nothing of it is left.
func (p *budgetProcess) stop() {
	p.b.lock <- struct{}{}
	p.dead = true
	<-p.b.lock
	p.cancel()
	p.ended.Wait()
}

// drive engine and runner until stop says so or the time is up.
func (b *budgeted) drive(limit time.Duration, stop func() bool) bool {
	b.t.Helper()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for end := time.Now().Add(limit); time.Now().Before(end); {
		synctest.Wait() // the runner has done what it does at this time
		if b.proc.dead {
			b.note("process died")
			b.proc.stop()
			b.boot("one")
			b.start()
			continue
		}
		if stop != nil && stop() {
			return true
		}
		if b.advances++; b.advances > 5000 {
			b.check.fail("more than 5000 calls of Advance")
			return false
		}
		select {
		case <-b.orders: // it is looked at now
		default:
		}
		b.lock <- struct{}{}
		life := b.engine
		res := b.advance()
		<-b.lock
		b.check.now("advance")
		if b.engine != life { // it died in there, and so does its runner
			b.proc.stop()
			b.start()
		}
		timer.Reset(min(max(time.Until(res.Next), time.Second), 5*time.Minute, max(time.Until(end), 0)))
		select {
		case <-timer.C:
		case <-b.orders:
		}
	}
	return false
}

// do one call of the runner. A death is the end of everything that the process does.
func (p *budgetProcess) do(c call, f func() error) error {
	p.b.lock <- struct{}{}
	defer func() { <-p.b.lock }()
	if p.dead {
		return errDied
	}
	kind := none
	if c.kind != "" {
		kind = p.b.strike(c)
	}
	switch kind {
	case dieBefore:
		return p.die()
	case failBefore:
		return errors.New("database or disk is full (13)")
	default:
	}
	err := f()
	if kind == dieAfter || errors.Is(err, errDied) {
		return p.die()
	}
	return err
}

// die: called with the lock held. The daemon's loop notices, whatever it waits for.
func (p *budgetProcess) die() error {
	p.dead = true
	p.cancel()
	p.b.look()
	return errDied
}

func (b *budgeted) look() {
	select {
	case b.orders <- struct{}{}:
	default:
	}
}

// Key implements usage.Keys.
func (p *budgetProcess) Key(ctx context.Context, name rotate.Name) (k usage.Key, err error) {
	err = p.do(call{}, func() error {
		r, err := p.b.db.Load(ctx, name)
		k = usage.KeyOf(r, p.b.cred.Mode, p.b.cred.Hold, time.Now())
		return err
	})
	return k, err
}

// Order implements usage.Keys. The key that it is about may die from then on.
func (p *budgetProcess) Order(ctx context.Context, name rotate.Name, cmd rotate.Command) error {
	return p.do(call{}, func() (err error) {
		b := p.b
		b.note("order %s slot %d by %s", cmd.Kind, cmd.Slot, cmd.By)
		if name != b.cred.Name || cmd.By != usage.Actor {
			b.check.fail("an order for %s by %q", name, cmd.By)
		}
		if cmd.Kind == rotate.CommandInvalidate {
			b.asked[cmd.Slot]++
			b.excuseSlot(cmd.Slot)
		}
		defer func() {
			if v := recover(); v != nil {
				died, ok := v.(error)
				if !ok || !errors.Is(died, errDied) {
					panic(v)
				}
				err = errDied
			}
			b.look()
		}()
		_, err = b.engine.Command(ctx, b.cred, cmd)
		return err
	})
}

// excuseSlot: our key in this slot may die.
func (b *budgeted) excuseSlot(slot rotate.Slot) {
	for _, k := range ours(b.world) {
		if k.Slot == int(slot) && k.Ended.IsZero() {
			b.check.excused[k.Secret] = true
		}
	}
}

// Rows implements usage.Store.
func (p *budgetProcess) Rows(ctx context.Context, name rotate.Name, from usage.Day) (rows []usage.Row, err error) {
	err = p.do(call{}, func() error {
		rows, err = diskStore{p.b.db}.Rows(ctx, name, from)
		return err
	})
	return rows, err
}

// Change implements usage.Store.
func (p *budgetProcess) Change(ctx context.Context, changes ...usage.Change) error {
	return p.do(call{}, func() error { return diskStore{p.b.db}.Change(ctx, changes...) })
}

// Prune implements usage.Store.
func (p *budgetProcess) Prune(ctx context.Context, before usage.Day) (n int64, err error) {
	err = p.do(call{}, func() error {
		n, err = p.b.db.PruneUsage(ctx, int(before))
		return err
	})
	return n, err
}

// Note implements usage.Store.
func (p *budgetProcess) Note(ctx context.Context, key string) (v []byte, ok bool, err error) {
	err = p.do(call{}, func() error {
		v, ok, err = p.b.db.UsageState().Get(ctx, key)
		return err
	})
	return v, ok, err
}

// PutNote implements usage.Store.
func (p *budgetProcess) PutNote(ctx context.Context, key string, value []byte) error {
	return p.do(call{callSave, noteCall}, func() error { return p.b.db.UsageState().Put(ctx, key, value) })
}

// DropNote implements usage.Store.
func (p *budgetProcess) DropNote(ctx context.Context, key string) error {
	return p.do(call{callSave, noteCall}, func() error { return p.b.db.UsageState().Delete(ctx, key) })
}

// diskStore keeps rows of use in the journal, as the program does.
type diskStore struct{ db *journal.DB }

// Rows of a credential.
func (s diskStore) Rows(ctx context.Context, name rotate.Name, from usage.Day) ([]usage.Row, error) {
	rows, err := s.db.Usage(ctx, name, int(from))
	out := make([]usage.Row, len(rows))
	for i, r := range rows {
		out[i] = usage.Row{Day: usage.Day(r.Day), Service: r.Service, Requests: r.Requests, Credits: r.Credits, ReadAt: r.ReadAt, Source: usage.Source(r.Source)}
	}
	return out, err
}

// Change rows; what was known before does not matter here.
func (s diskStore) Change(ctx context.Context, changes ...usage.Change) error {
	out := make([]journal.UsageChange, len(changes))
	for i, c := range changes {
		out[i] = journal.UsageChange{Name: c.Name, From: int(c.From), Until: int(c.Until), Make: func([]journal.UsageRow) []journal.UsageRow {
			var rows []journal.UsageRow
			for _, r := range c.Make(nil) {
				rows = append(rows, journal.UsageRow{Day: int(r.Day), Service: r.Service, Requests: r.Requests, Credits: r.Credits, ReadAt: r.ReadAt, Source: string(r.Source)})
			}
			return rows
		}}
	}
	return s.db.ChangeUsage(ctx, out...)
}

// valid keys of ours.
func validOurs(w *world) (keys []portaltest.KeyInfo) {
	for _, k := range ours(w) {
		if k.Valid(w.emu.Now()) {
			keys = append(keys, k)
		}
	}
	return keys
}
