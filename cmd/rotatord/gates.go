package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/journal"
	"rotatord/internal/quiet"
	"rotatord/internal/rotate"
	"rotatord/internal/sinks"
)

// ackLedger is the journal's table of acknowledgements, which is opened after the gates are made.
type ackLedger struct{ db atomic.Pointer[journal.DB] }

var _ quiet.Ledger = (*ackLedger)(nil)

// Put implements quiet.Ledger.
func (l *ackLedger) Put(ctx context.Context, a quiet.Ack) error {
	db := l.db.Load()
	if db == nil {
		return errNoArchive
	}
	return db.Acks().Put(ctx, journal.Ack(a))
}

// Latest implements quiet.Ledger. Without a journal nobody has acknowledged anything.
func (l *ackLedger) Latest(ctx context.Context, name rotate.Name) ([]quiet.Ack, error) {
	db := l.db.Load()
	if db == nil {
		return nil, nil
	}
	acks, err := db.Acks().List(ctx, name)
	out := make([]quiet.Ack, len(acks))
	for i, a := range acks {
		out[i] = quiet.Ack(a)
	}
	return out, err
}

// addGates gives a credential its gates and hooks.
func (a *adapters) addGates(c *rotate.Credential, cr *config.Credential) error {
	if q := cr.Quiet; q != nil {
		gates, err := a.newGates(cr, q)
		if err != nil {
			return err
		}
		c.Gates = gates
	}
	names := map[string]int{}
	for _, h := range cr.Hooks {
		var points []rotate.HookPoint
		for _, p := range h.On {
			points = append(points, rotate.HookPoint(p))
		}
		o := callOptions(h.Command, h.HTTP, h.Timeout)
		hook, err := quiet.NewHook(o, points)
		if err != nil {
			return err
		}
		// Two hooks of one name could not be told apart in the history.
		if names[hook.Name()]++; names[hook.Name()] > 1 {
			o.Name = fmt.Sprintf("%s (%d)", hook.Name(), names[hook.Name()])
			if hook, err = quiet.NewHook(o, points); err != nil {
				return err
			}
		}
		c.Hooks = append(c.Hooks, hook)
	}
	return nil
}

func (a *adapters) newGates(cr *config.Credential, q *config.Quiet) ([]rotate.Gate, error) {
	var gates []rotate.Gate
	var errs []error
	add := func(g rotate.Gate, err error) {
		gates, errs = append(gates, g), append(errs, err)
	}
	if len(q.Acks) > 0 {
		add(quiet.NewAcks(&a.acks, texts(q.Acks)))
	}
	if t, ok := cr.FirstVault(); ok && len(q.VaultAcks) > 0 {
		g, err := a.vault.AckGate(ackSpec(t, q))
		add(timedGate{g, q.Timeout.Std()}, err)
	}
	if len(q.Command) > 0 {
		add(quiet.NewGate(callOptions(q.Command, nil, q.Timeout)))
	}
	if q.HTTP != nil {
		add(quiet.NewGate(callOptions(nil, q.HTTP, q.Timeout)))
	}
	return gates, errors.Join(errs...)
}

func texts(names []config.Name) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return out
}

// timedGate has a time limit of its own.
type timedGate struct {
	*sinks.VaultAcks
	limit time.Duration
}

// Ask implements rotate.Gate.
func (g timedGate) Ask(ctx context.Context, q rotate.Quiet) (rotate.QuietAnswer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, g.limit, fmt.Errorf("no answer within %s", g.limit))
	defer cancel()
	return g.VaultAcks.Ask(ctx, q)
}

// ackSpec of the secret beside which acknowledgements lie.
func ackSpec(t config.Target, q *config.Quiet) sinks.SinkSpec {
	return sinks.SinkSpec{Name: t.Sink, Mount: t.Vault.Mount, Path: t.Path, KeyField: t.Vault.KeyField, MetaField: t.Vault.MetaField, Acks: texts(q.VaultAcks)}
}

func callOptions(argv []string, c *config.Call, timeout config.Duration) quiet.Options {
	o := quiet.Options{Command: argv, Timeout: timeout.Std()}
	if c != nil {
		o.URL, o.CAFile, o.ServerName = string(c.URL), string(c.TLS.CAFile), c.TLS.ServerName
		if !c.Token.IsZero() {
			o.Token = c.Token.Resolve
		}
	}
	return o
}

// keepAcks in a journal; nil where there is none.
func (a *adapters) keepAcks(db *journal.DB) { a.acks.db.Store(db) }

// ledger of a command; nil where there is no journal.
func (a *app) ledger() quiet.Ledger {
	if a.db == nil {
		return nil
	}
	return &a.adapters.acks
}

// ackConsumers are who may acknowledge over HTTP under a config.
func ackConsumers(ctx context.Context, cfg *config.Config) (*quiet.Consumers, error) {
	var all []quiet.Consumer
	if cfg.Acks != nil {
		for _, name := range slices.Sorted(maps.Keys(cfg.Acks.Consumers)) {
			c := quiet.Consumer{Name: name, Token: cfg.Acks.Consumers[name].Token.Resolve}
			for _, cr := range cfg.AckCredentials(name) {
				c.Credentials = append(c.Credentials, rotate.Name(cr))
			}
			all = append(all, c)
		}
	}
	consumers, err := quiet.NewConsumers(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("acks.consumers: %w", err)
	}
	return consumers, nil
}

// newAckServer listens for acknowledgements; nil where the config has no such section.
func newAckServer(ctx context.Context, cfg *config.Config, log *slog.Logger, store func(context.Context, quiet.Ack) (quiet.Receipt, error)) (*quiet.Server, error) {
	if cfg.Acks == nil {
		return nil, nil
	}
	consumers, err := ackConsumers(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return quiet.NewServer(quiet.ServerOptions{Listen: cfg.Acks.Listen, CertFile: string(cfg.Acks.CertFile), KeyFile: string(cfg.Acks.KeyFile),
		Consumers: consumers, Store: store, Log: log})
}
