package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/credspec"
	"rotatord/internal/rotate"
)

// creator makes what the config has and its portal has not, in a running daemon, for
// credentials that say create.by_daemon. It writes nothing into the config: the journal
// knows the item.
type creator struct {
	p    *process
	a    *adapters
	list []*config.Credential
	spec map[rotate.Name]*credspec.Spec
}

const (
	createFirst = time.Minute // between two tries, doubled up to createMost
	createMost  = time.Hour
)

// withCreation has missing credentials made as long as the fleet of a config is looked after.
func (p *process) withCreation(cfg *config.Config, a *adapters) {
	c := &creator{p: p, a: a, spec: map[rotate.Name]*credspec.Spec{}}
	for _, cr := range cfg.Credentials {
		if !cr.Made() && cr.Create != nil && cr.Create.ByDaemon {
			c.list = append(c.list, cr)
			c.spec[rotate.Name(cr.Name)] = cfg.Spec(cr)
		}
	}
	if len(c.list) == 0 {
		return
	}
	before := a.fleet.Background
	a.fleet.Background = func(ctx context.Context) error {
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.run(ctx)
		}()
		var err error
		if before != nil {
			err = before(ctx)
		}
		<-done
		return err
	}
}

// run until all are made, or ctx ends. What was made is taken over by a reload.
func (c *creator) run(ctx context.Context) {
	for wait := createFirst; len(c.list) > 0; wait = min(2*wait, createMost) {
		before := len(c.list)
		c.list = slices.DeleteFunc(c.list, func(cr *config.Credential) bool {
			err := c.one(ctx, cr)
			if err != nil && ctx.Err() == nil {
				c.a.log.LogAttrs(ctx, slog.LevelError, "credential not created", slog.String("credential", string(cr.Name)), slog.Any("err", err),
					slog.Duration("again_in", wait))
			}
			return err == nil
		})
		if len(c.list) < before {
			select {
			case c.p.hup <- syscall.SIGHUP:
			default: // a reload is asked for already
			}
		}
		if len(c.list) == 0 || pauseUntil(ctx, time.Now().Add(wait)) != nil {
			return
		}
	}
}

// unserved refuses where a sink has a key already: its item is known to somebody, or to a
// journal that is lost, and a second one is not wanted.
func (c *creator) unserved(ctx context.Context, cr *config.Credential) error {
	list, err := c.a.sinksOf(cr)
	if err != nil {
		return err
	}
	for _, sink := range list {
		e, err := sink.Read(ctx)
		if err != nil {
			return err
		}
		if e.Meta != nil && e.Meta.Item != "" {
			return fmt.Errorf("sink %s has the key of item %s: set item: %s in the config, or empty the sink", sink.Name(), e.Meta.Item, e.Meta.Item)
		}
		if !e.Key.IsZero() {
			return fmt.Errorf("sink %s has the key %s: set item in the config to that of the key, or empty the sink", sink.Name(), e.Key.Fingerprint())
		}
	}
	return nil
}

// one credential's item, and a record of it in the journal that asks for its adoption.
func (c *creator) one(ctx context.Context, cr *config.Credential) error {
	m := silentMaker(c.a, cr, c.spec[rotate.Name(cr.Name)])
	m.journalled = true
	m.command = func(ctx context.Context, cmd rotate.Command) error {
		id := rotate.ID{Portal: rotate.PortalID(cr.Portal), Item: rotate.ItemID(m.state.Item)}
		cmd.By = "rotatord"
		_, err := c.p.app.engine.Command(ctx, &rotate.Credential{Name: rotate.Name(cr.Name), ID: id}, cmd)
		return err
	}
	release, err := m.lock()
	if err != nil {
		return err
	}
	defer release()
	begun, err := m.load()
	if err != nil {
		return err
	}
	if !begun {
		if err := c.unserved(ctx, cr); err != nil {
			return err
		}
	}
	return m.checkAndRun(ctx)
}
