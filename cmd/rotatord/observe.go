package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rotatord/internal/daemon"
	"rotatord/internal/metrics"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
)

// credentialViews for a scrape.
func (p *process) credentialViews(yield func(*metrics.CredentialView)) {
	var out metrics.CredentialView
	p.daemon.Each(func(v *daemon.View) {
		due, _ := rotate.DueAt(v.Record, v.Policy)
		out = metrics.CredentialView{Name: v.Name, Portal: v.ID.Portal, Product: v.Product, Owner: v.Owner, Environment: v.Environment,
			Item: v.ID.Item, Mode: v.Mode, ConfigHold: v.Hold != "", Record: v.Record, DueAt: due}
		yield(&out)
	})
}

// portalViews for a scrape, of the config in force.
func (p *process) portalViews() []metrics.PortalView {
	a := p.adapters.Load()
	if a == nil {
		return nil
	}
	var out []metrics.PortalView
	for _, name := range slices.Sorted(maps.Keys(a.portals)) {
		client := a.portals[name]
		v := metrics.PortalView{Portal: rotate.PortalID(name), Identity: client.IdentityExpires()}
		if v.Identity.IsZero() {
			v.Identity = a.keyEnds.of(name)
		}
		v.Offset, _, v.OffsetKnown = client.Clock()
		st := client.Standing()
		v.Breaker, v.PausedUntil, v.UnderWay, v.Waiting = metrics.Breaker(st.Breaker), st.PausedUntil, st.UnderWay, st.Waiting
		v.Waits, v.Waited = st.Waits, st.Waited
		out = append(out, v)
	}
	return out
}

// vaultView for a scrape, of the config in force.
func (p *process) vaultView() metrics.VaultView {
	a := p.adapters.Load()
	if a == nil || a.vault == nil {
		return metrics.VaultView{}
	}
	return metrics.VaultView{Token: a.vault.TokenExpiry(), SecretID: a.vault.SecretIDExpiry(), SecretIDDue: a.vault.SecretIDDue()}
}

// watch has metrics show the portals and sinks of a config that is in force now.
func (p *process) watch(a *adapters) {
	p.adapters.Store(a)
	ids := make([]rotate.PortalID, 0, len(a.portals))
	for name := range a.portals {
		ids = append(ids, rotate.PortalID(name))
	}
	a.metrics.SetPortals(ids, time.Now())
	var sinks []string
	for _, m := range a.fleet.Credentials {
		for _, s := range m.Sinks {
			if !slices.Contains(sinks, s.Name()) {
				sinks = append(sinks, s.Name())
			}
		}
	}
	a.metrics.SetSinks(sinks)
}

// survey of one portal: what it lists, and how that went, for metrics. What a listing
// that broke off had seen counts for nothing.
func (a *adapters) survey(name string, client *portal.Client) func(context.Context) ([]daemon.Seen, error) {
	return func(ctx context.Context) ([]daemon.Seen, error) {
		began := time.Now()
		list, err := seen(rotate.PortalID(name), client.Listings(ctx))
		if ctx.Err() == nil || !errors.Is(context.Cause(ctx), context.Canceled) { // else nobody wants to know any more
			now := time.Now()
			due := a.surveyAt.Next(now)
			a.metrics.SurveyDone(metrics.Survey{Portal: rotate.PortalID(name), Err: err, Took: now.Sub(began), Credentials: len(list), At: now, Due: due})
			a.troubles.surveyed(name, err, now, due)
		}
		if err == nil {
			a.lookAtKey(ctx, name, client)
		}
		return list, err
	}
}

// keyEnds is when the API keys end that we sign in with, by portal.
type keyEnds struct {
	mu sync.Mutex
	at map[string]time.Time // guarded by mu
}

func (k *keyEnds) of(portal string) time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.at[portal]
}

func (k *keyEnds) set(portal string, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.at == nil {
		k.at = map[string]time.Time{}
	}
	k.at[portal] = at
}

// lookAtKey asks the portal when the API key ends that we sign in with there; nobody
// else tells. Other identities need no such look.
func (a *adapters) lookAtKey(ctx context.Context, name string, client *portal.Client) {
	p := a.cfg.Portals[name]
	if p.Identity.APIKey.IsZero() {
		return
	}
	key, err := p.Identity.APIKey.Resolve(ctx)
	if err == nil {
		var proof rotate.Proof
		if proof, err = client.Prove(ctx, key, p.Referer); err == nil && proof.Valid {
			a.keyEnds.set(name, proof.Expires)
			return
		}
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "end of our own key not known", slog.String("portal", name), slog.Any("err", err))
}

// countedJournal tells metrics of every operation.
type countedJournal struct {
	rotate.Journal
	metrics *metrics.Metrics
}

// Load implements rotate.Journal.
func (j countedJournal) Load(ctx context.Context, name rotate.Name) (rotate.Record, error) {
	r, err := j.Journal.Load(ctx, name)
	j.metrics.JournalUsed(metrics.JournalRead, err)
	return r, err
}

// Save implements rotate.Journal.
func (j countedJournal) Save(ctx context.Context, r rotate.Record, events ...rotate.Event) (rotate.Record, error) {
	saved, err := j.Journal.Save(ctx, r, events...)
	j.metrics.JournalUsed(metrics.JournalWrite, err)
	return saved, err
}

// List implements rotate.Journal.
func (j countedJournal) List(ctx context.Context) ([]rotate.Record, error) {
	list, err := j.Journal.List(ctx)
	j.metrics.JournalUsed(metrics.JournalRead, err)
	return list, err
}

// Deaths implements rotate.Journal.
func (j countedJournal) Deaths(ctx context.Context, portal rotate.PortalID, since time.Time) (int, error) {
	n, err := j.Journal.Deaths(ctx, portal, since)
	j.metrics.JournalUsed(metrics.JournalRead, err)
	return n, err
}

// countedSink tells metrics of every operation. The read after a write that succeeded
// is its read-back, which wants the written version.
type countedSink struct {
	rotate.Sink
	metrics  *metrics.Metrics
	troubles *troubles
	wrote    atomic.Pointer[rotate.Version]
}

func (s *countedSink) used(op metrics.SinkOperation, result rotate.Result, began time.Time) {
	now := time.Now()
	s.metrics.SinkUsed(metrics.SinkUse{Sink: s.Name(), Operation: op, Result: result, At: now, Took: now.Sub(began)})
	s.troubles.used(s.Name(), op, result, now)
}

// Read implements rotate.Sink.
func (s *countedSink) Read(ctx context.Context) (rotate.Entry, error) {
	op, began := metrics.SinkRead, time.Now()
	wrote := s.wrote.Swap(nil)
	if wrote != nil {
		op = metrics.SinkReadBack
	}
	e, err := s.Sink.Read(ctx)
	result := resultOf(err)
	if err == nil && wrote != nil && e.Version != *wrote {
		result = rotate.Result(rotate.KindConflict) // somebody wrote over it
	}
	s.used(op, result, began)
	return e, err
}

// Write implements rotate.Sink.
func (s *countedSink) Write(ctx context.Context, e rotate.Entry, cas rotate.Version) (rotate.Version, error) {
	began := time.Now()
	v, err := s.Sink.Write(ctx, e, cas)
	if err == nil {
		s.wrote.Store(&v)
	}
	s.used(metrics.SinkWrite, resultOf(err), began)
	return v, err
}

// Earlier implements rotate.Sink.
func (s *countedSink) Earlier(ctx context.Context) ([]rotate.Entry, error) {
	began := time.Now()
	list, err := s.Sink.Earlier(ctx)
	s.used(metrics.SinkRead, resultOf(err), began)
	return list, err
}

func resultOf(err error) rotate.Result {
	if err == nil {
		return rotate.ResultOK
	}
	return rotate.Result(rotate.KindOf(err))
}

// counted tells metrics of each call of the heartbeat.
func counted(m *metrics.Metrics, beat func(context.Context) error) func(context.Context) error {
	if beat == nil {
		return nil
	}
	return func(ctx context.Context) error {
		err := beat(ctx)
		d := metrics.DeliveryOK
		if err != nil {
			d = metrics.DeliveryFailed
		}
		m.Heartbeat(d)
		return err
	}
}
