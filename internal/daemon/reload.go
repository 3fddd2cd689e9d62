package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// ReloadResult says what a reload did.
type ReloadResult struct {
	Credentials int      `json:"credentials"`
	Added       []string `json:"added,omitempty"`
	Removed     []string `json:"removed,omitempty"`
	Renamed     []string `json:"renamed,omitempty"` // "former -> present"
	// Left names the sinks that credentials are not written to any more, where what they have stays.
	Left []string `json:"left,omitempty"`
	// NeedRestart names changed settings that only a restart can bring into force.
	NeedRestart []string `json:"need_restart,omitempty"`
}

// errNoReload is the answer where nothing can be loaded.
var errNoReload = errors.New("this daemon was started without a config file to load again")

// ConfigError is a config that was refused for what it says; the one before it stays in force.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }

// Reload the config, whole or not at all. The new one is loaded beside the loop, which goes on meanwhile.
func (d *Daemon) Reload(ctx context.Context) (ReloadResult, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	if err := d.call(ctx, func(l *loop) { l.notify.reloading() }); err != nil {
		return ReloadResult{}, err
	}
	res, fleet, err := d.load(ctx)
	d.o.Monitor.ReloadDone(fleet, err)
	if err != nil {
		d.o.Log.LogAttrs(ctx, slog.LevelError, "reload refused, the former config stays", slog.Any("err", err))
	} else {
		d.o.Log.LogAttrs(ctx, slog.LevelInfo, "config reloaded", slog.Int("credentials", res.Credentials),
			slog.Any("added", res.Added), slog.Any("removed", res.Removed), slog.Any("renamed", res.Renamed), slog.Any("need_restart", res.NeedRestart))
	}
	callErr := d.call(context.WithoutCancel(ctx), func(l *loop) {
		l.notify.ready(l.headline(time.Now()))
	})
	return res, errors.Join(err, callErr)
}

func (d *Daemon) load(ctx context.Context) (res ReloadResult, fleet *Fleet, err error) {
	if d.o.Load == nil {
		return res, nil, errNoReload
	}
	if fleet, err = d.o.Load(ctx); err != nil {
		return res, nil, &ConfigError{err}
	}
	if res, err = d.takeOver(ctx, fleet); err != nil {
		return res, nil, errors.Join(fmt.Errorf("take over config: %w", err), closeFleet(fleet))
	}
	return res, fleet, nil
}

func closeFleet(f *Fleet) error {
	if f.Close == nil {
		return nil
	}
	return f.Close()
}

// accept tells what in a new fleet cannot be taken over now.
func (l *loop) accept(fleet *Fleet, namings []Naming) error {
	if l.stopping {
		return errStopped
	}
	if err := fleet.validate(); err != nil {
		return err
	}
	var errs []error
	next := fleet.byName()
	for _, n := range namings {
		if e := l.entries[n.From]; e != nil {
			errs = append(errs, acceptRenamed(e, n.To))
		}
	}
	for name, e := range l.entries {
		m, stays := next[name]
		switch {
		case slices.ContainsFunc(namings, func(n Naming) bool { return n.From == name }):
		case !e.holding && !underWay(e.record.phase()):
		case !stays:
			errs = append(errs, fmt.Errorf("credential %s is gone, but its rotation is under way (%s)", name, e.record.phase()))
		case m.ID != e.m.ID:
			errs = append(errs, fmt.Errorf("credential %s is another item (%s, was %s), but its rotation is under way (%s)",
				name, m.ID, e.m.ID, e.record.phase()))
		}
	}
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// switchTo makes fleet the one that is looked after.
func (l *loop) switchTo(fleet *Fleet, records map[rotate.Name]kept, namings []Naming) ReloadResult {
	res := ReloadResult{Credentials: len(fleet.Credentials), NeedRestart: fleet.NeedRestart}
	for _, n := range namings {
		res.Renamed = append(res.Renamed, string(n.From)+" -> "+string(n.To))
	}
	renamed := func(name rotate.Name) bool {
		return slices.ContainsFunc(namings, func(n Naming) bool { return n.From == name || n.To == name })
	}
	for _, m := range fleet.Credentials {
		if l.entries[m.Name] == nil && !renamed(m.Name) {
			res.Added = append(res.Added, string(m.Name))
		}
	}
	next := fleet.byName()
	for name, e := range l.entries {
		if m := next[name]; m != nil && m.ID == e.m.ID {
			res.Left = append(res.Left, left(e.m, m)...)
		}
		if _, stays := next[name]; !stays && !renamed(name) {
			res.Removed = append(res.Removed, string(name))
		}
	}
	slices.Sort(res.Left)
	slices.Sort(res.Added)
	slices.Sort(res.Removed)
	old := l.gen
	old.retired = true
	l.retired = append(l.retired, old)
	now := time.Now()
	l.adopt(&generation{fleet: fleet}, records, now)
	l.release(old)
	l.passes.begin(l, now)
	return res
}
