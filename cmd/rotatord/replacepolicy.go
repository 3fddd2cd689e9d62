package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/credspec"
	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

// replacer brings about what kills keys, for credentials whose settings are to be corrected.
type replacer struct {
	p       *process
	a       *adapters
	targets map[rotate.Name]*config.Credential
	specs   map[rotate.Name]*credspec.Spec
}

// quietAfterFailure is for how long a replacement that was refused or given up is not tried
// again by itself: a person has to look.
const quietAfterFailure = 30 * 24 * time.Hour

// newReplacer for the credentials of a config that say settings: correct.
func (p *process) newReplacer(cfg *config.Config, a *adapters) *replacer {
	r := &replacer{p: p, a: a, targets: map[rotate.Name]*config.Credential{}, specs: map[rotate.Name]*credspec.Spec{}}
	for _, cr := range cfg.Made() {
		if spec := cfg.Spec(cr); spec != nil && spec.Drift == credspec.DriftCorrect {
			r.targets[rotate.Name(cr.Name)], r.specs[rotate.Name(cr.Name)] = cr, spec
		}
	}
	return r
}

// Replace begins a replacement, or goes on with one, and returns at once. It is asked again at
// each look as long as the settings differ.
func (r *replacer) Replace(ctx context.Context, name rotate.Name, _ credspec.Changes) error {
	cr := r.targets[name]
	if cr == nil {
		return fmt.Errorf("%s is not in the config any more", name)
	}
	if cr.Create.InPlace {
		return fmt.Errorf("create.in_place means an outage, which a person has to order: rotatord apply %s --replace", name)
	}
	if st, ok := r.status(name); !ok || st.Former != nil || st.Request != nil {
		return nil // it is on its way
	}
	if err := r.failedBefore(ctx, name); err != nil {
		return err
	}
	if _, busy := r.p.replacing.LoadOrStore(name, true); busy {
		return nil
	}
	go func() {
		defer r.p.replacing.Delete(name)
		if err := r.one(ctx, cr); err != nil && ctx.Err() == nil {
			r.a.log.LogAttrs(ctx, slog.LevelError, "replacement not begun", slog.String("credential", string(name)), slog.Any("err", err))
		}
	}()
	return nil
}

func (r *replacer) status(name rotate.Name) (daemon.Status, bool) {
	v, ok := r.p.daemon.View(name)
	return v.Status(time.Now()), ok
}

// failedBefore says when a replacement was given up or refused lately, and what a person does then.
func (r *replacer) failedBefore(ctx context.Context, name rotate.Name) error {
	entries, err := r.p.app.verbs().History(ctx, daemon.HistoryQuery{Name: name, Since: time.Now().Add(-quietAfterFailure)})
	if err != nil {
		return err
	}
	why := ""
	for _, e := range entries {
		switch e.Kind {
		case rotate.EventHandedBack:
			why = "the replacement was given up at " + e.At.UTC().Format(time.RFC3339) + " (" + e.Detail + ")"
		case rotate.EventRefused:
			if e.Reason == rotate.ReasonOccupied || e.Reason == rotate.ReasonUnreachable {
				why = "the replacement was refused at " + e.At.UTC().Format(time.RFC3339) + " (" + e.Detail + ")"
			}
		case rotate.EventReplaced:
			why = ""
		default:
		}
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("%s: rotatord apply %s --replace tries it again", why, name)
}

// one makes the item and orders that it takes over. Where it stops, the next look goes on.
func (r *replacer) one(ctx context.Context, cr *config.Credential) error {
	m := silentMaker(r.a, cr, r.specs[rotate.Name(cr.Name)])
	m.ask = func(context.Context) (daemon.Status, error) {
		st, ok := r.status(rotate.Name(cr.Name))
		if !ok {
			return st, fmt.Errorf("%s is not in the config any more", cr.Name)
		}
		return st, nil
	}
	m.command = func(ctx context.Context, cmd rotate.Command) error {
		cmd.By = "rotatord"
		_, err := r.p.daemon.Command(ctx, rotate.Name(cr.Name), cmd)
		return err
	}
	release, err := m.lock()
	if err != nil {
		return err
	}
	defer release()
	begun, err := m.resume(ctx)
	switch {
	case err != nil:
		return err
	case begun && m.takes == nil:
		return nil // a person's apply
	case !begun:
		if err := m.ready(ctx); err != nil {
			return err
		}
		m.aim(&takeover{From: m.id(), Portal: cr.Portal})
	}
	return m.checkAndRun(ctx)
}
