package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/journal"
	"rotatord/internal/metrics"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
	used "rotatord/internal/usage"
)

// usageDesk is what a running daemon knows of usage. A reload replaces it.
type usageDesk struct {
	runner  *used.Runner
	targets []used.Target
}

// usageStore is the journal as usage keeps things in it.
type usageStore struct{ db *journal.DB }

var (
	_ used.Store  = usageStore{}
	_ used.Reader = usageReader{}
	_ used.Keys   = (*usageKeys)(nil)
)

// Rows implements used.Store.
func (s usageStore) Rows(ctx context.Context, name rotate.Name, from used.Day) ([]used.Row, error) {
	if s.db == nil {
		return nil, nil // there is no journal yet
	}
	rows, err := s.db.Usage(ctx, name, int(from))
	return usageRows(rows), err
}

// Change implements used.Store.
func (s usageStore) Change(ctx context.Context, changes ...used.Change) error {
	out := make([]journal.UsageChange, len(changes))
	for i, c := range changes {
		out[i] = journal.UsageChange{Name: c.Name, From: int(c.From), Until: int(c.Until), Make: func(known []journal.UsageRow) []journal.UsageRow {
			made := c.Make(usageRows(known))
			rows := make([]journal.UsageRow, len(made))
			for i, r := range made {
				rows[i] = journal.UsageRow{Day: int(r.Day), Service: r.Service, Requests: r.Requests, Credits: r.Credits, ReadAt: r.ReadAt, Source: string(r.Source)}
			}
			return rows
		}}
	}
	return s.db.ChangeUsage(ctx, out...)
}

func usageRows(rows []journal.UsageRow) []used.Row {
	out := make([]used.Row, len(rows))
	for i, r := range rows {
		out[i] = used.Row{Day: used.Day(r.Day), Service: r.Service, Requests: r.Requests, Credits: r.Credits, ReadAt: r.ReadAt, Source: used.Source(r.Source)}
	}
	return out
}

// Prune implements used.Store.
func (s usageStore) Prune(ctx context.Context, before used.Day) (int64, error) {
	return s.db.PruneUsage(ctx, int(before))
}

// Note implements used.Store.
func (s usageStore) Note(ctx context.Context, key string) ([]byte, bool, error) {
	if s.db == nil {
		return nil, false, nil
	}
	return s.db.UsageState().Get(ctx, key)
}

// PutNote implements used.Store.
func (s usageStore) PutNote(ctx context.Context, key string, value []byte) error {
	return s.db.UsageState().Put(ctx, key, value)
}

// DropNote implements used.Store.
func (s usageStore) DropNote(ctx context.Context, key string) error {
	return s.db.UsageState().Delete(ctx, key)
}

// usageReader asks a portal, after everything that a rotation asks.
type usageReader struct{ client *portal.Client }

func patient(ctx context.Context) context.Context {
	return rotate.WithUrgency(rotate.WithPurpose(ctx, rotate.PurposeSurvey), rotate.UrgencySurvey)
}

// ClientID implements used.Reader.
func (r usageReader) ClientID(ctx context.Context, id rotate.ID) (string, error) {
	app, err := r.client.App(patient(ctx), id, "")
	return app.ClientID, err
}

// Use implements used.Reader.
func (r usageReader) Use(ctx context.Context, clientID string, from, until time.Time) ([]used.Use, error) {
	points, err := r.client.Usage(patient(ctx), clientID, from, until)
	if err != nil {
		return nil, err
	}
	uses := make([]used.Use, len(points))
	for i, p := range points {
		uses[i] = used.Use{At: p.At, Service: p.Service, Requests: p.Requests, Credits: p.Credits}
	}
	return uses, nil
}

// usageKeys gives a budget's orders the way that a person's go.
type usageKeys struct {
	process *process
	fleet   *daemon.Fleet
}

// orderTimeout bounds how long a budget waits for its order to be noted; it is given again.
const orderTimeout = 30 * time.Second

// Key implements used.Keys.
func (k *usageKeys) Key(ctx context.Context, name rotate.Name) (used.Key, error) {
	r, err := k.process.app.db.Load(ctx, name)
	if err != nil {
		return used.Key{}, err
	}
	for _, m := range k.fleet.Credentials {
		if m.Name == name {
			return used.KeyOf(r, m.Mode, m.Hold, time.Now()), nil
		}
	}
	return used.Key{}, &daemon.NotFoundError{Name: name}
}

// Order implements used.Keys.
func (k *usageKeys) Order(ctx context.Context, name rotate.Name, cmd rotate.Command) error {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	_, err := k.process.daemon.Command(ctx, name, cmd)
	return err
}

// usageTargets of a config. Without portals nobody can be asked.
func usageTargets(cfg *config.Config, portals map[string]*portal.Client) []used.Target {
	targets := make([]used.Target, 0, len(cfg.Credentials))
	for _, cr := range cfg.Made() {
		p := cfg.Portals[cr.Portal]
		b := cr.Budget
		t := used.Target{Name: rotate.Name(cr.Name), ID: rotate.ID{Portal: rotate.PortalID(cr.Portal), Item: rotate.ItemID(cr.Item)},
			Page: usagePage(p, string(cr.Item)), Missing: usageMissing(p, cr),
			Budget: used.Budget{PerDay: valueOr(b.PerDay, 0), PerMonth: valueOr(b.PerMonth, 0), WarnAt: b.Levels(), CutOff: valueOr(b.CutOff, false)}}
		if client := portals[cr.Portal]; client != nil && t.Missing == used.MissingNothing {
			t.Reader = usageReader{client}
		}
		targets = append(targets, t)
	}
	return targets
}

func valueOr[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}

// usageMissing is why a credential's portal is not asked.
func usageMissing(p *config.Portal, cr *config.Credential) used.Missing {
	switch {
	case p.Product == "location-platform":
		return used.MissingLocationPlatform
	case p.Product == "enterprise":
		return used.MissingEnterprise
	case p.Usage == "never" || cr.Usage == "never":
		return used.MissingOff
	}
	return used.MissingNothing
}

// usagePage is Esri's own page of an item's use. That of Location Platform is documented
// (contract 8.2), the other is the item page's tab.
func usagePage(p *config.Portal, item string) string {
	if p.Product == "location-platform" {
		return "https://location.arcgis.com/usage/credentials/" + url.PathEscape(item) + "/"
	}
	return strings.TrimRight(string(p.URL), "/") + "/home/item.html?id=" + url.QueryEscape(item) + "#usage"
}

// withUsage has the fleet of a config followed as long as it is looked after.
func (p *process) withUsage(cfg *config.Config, a *adapters) error {
	schedule, err := config.ParseSchedule(cfg.Schedules.Usage, cfg.Schedules.TimeZone)
	if err != nil {
		return fmt.Errorf("schedules.usage: %w", err)
	}
	desk := &usageDesk{targets: usageTargets(cfg, a.portals)}
	desk.runner, err = used.New(used.Options{Targets: desk.targets, Store: usageStore{p.app.db}, Keys: &usageKeys{p, a.fleet}, Schedule: schedule,
		OnRead: a.metrics.UsageRead, Log: a.log})
	if err != nil {
		return err
	}
	before := a.fleet.Background
	a.fleet.Background = func(ctx context.Context) error {
		p.usage.Store(desk)
		done := make(chan error, 1)
		go func() { done <- desk.runner.Run(ctx) }()
		var first error
		if before != nil {
			first = before(ctx)
		}
		return errors.Join(first, <-done)
	}
	return nil
}

// usageViews for a scrape, of the config in force.
func (p *process) usageViews(yield func(*metrics.UsageView)) {
	desk := p.usage.Load()
	if desk == nil {
		return
	}
	var v metrics.UsageView // one for all: it is copied if wanted
	desk.runner.Each(func(f *used.Finding) {
		v = usageView(f)
		yield(&v)
	})
}

func usageView(f *used.Finding) metrics.UsageView {
	v := metrics.UsageView{Credential: f.Credential, Source: string(f.Source), Missing: string(f.Missing), Page: f.Page, Until: f.Until,
		All: usageOf(f.All), HasToday: f.HasToday, TodayRequests: f.Today.Requests, TodayCredits: f.Today.Credits, Spike: f.Spike, Silent: f.Silent}
	if f.HasDay {
		v.Day = f.LastFull.Start()
	}
	for _, s := range f.Services {
		v.Services = append(v.Services, usageOf(s))
	}
	if f.CutOff != nil {
		v.CutOff = string(f.CutOff.Stage)
	}
	// Of today and the last full day the one that took more: a budget has one series.
	for _, period := range used.Periods() {
		var most *used.Spent
		for i, s := range f.Spent {
			if s.Period == period && (most == nil || s.Share > most.Share) {
				most = &f.Spent[i]
			}
		}
		if most != nil {
			v.Budgets = append(v.Budgets, metrics.UsageBudget{Period: string(period), Credits: most.Budget, Used: most.Share, Level: most.Level})
		}
	}
	return v
}

func usageOf(o used.Of) metrics.UsageOf {
	return metrics.UsageOf{Service: o.Service, Requests: o.Requests, Credits: o.Credits, MonthRequests: o.MonthRequests, MonthCredits: o.MonthCredits,
		MedianRequests: o.MedianRequests, MedianCredits: o.MedianCredits, HasMedian: o.HasMedian}
}

// usageVerbs of the admin socket.
func (p *process) usageVerbs() []daemon.Extra {
	return []daemon.Extra{
		{Pattern: "GET /v1/usage", Serve: func(ctx context.Context, _ string, q url.Values, _ io.Reader) (any, error) {
			desk := p.usage.Load()
			if desk == nil {
				return []usageReport{}, nil
			}
			return usageReports(ctx, usageStore{p.app.db}, desk, namesFrom(q["name"]))
		}},
		{Pattern: "POST /v1/usage/import", Changes: true, Serve: func(ctx context.Context, _ string, _ url.Values, body io.Reader) (any, error) {
			var uses map[rotate.Name][]used.Use
			dec := json.NewDecoder(body)
			dec.DisallowUnknownFields()
			if err := dec.Decode(&uses); err != nil {
				return nil, daemon.BadRequest("the figures cannot be read")
			}
			desk := p.usage.Load()
			if desk == nil {
				return nil, errors.New("usage is not followed yet; try again in a moment")
			}
			if err := importUsage(ctx, usageStore{p.app.db}, desk.targets, uses); err != nil {
				return nil, err
			}
			desk.runner.Wake()
			return len(uses), nil
		}},
	}
}

// importUsage stores what a file told, whole or not at all.
func importUsage(ctx context.Context, store used.Store, targets []used.Target, uses map[rotate.Name][]used.Use) error {
	known := make([]rotate.Name, len(targets))
	for i, t := range targets {
		known[i] = t.Name
	}
	now := time.Now()
	var changes []used.Change
	for _, t := range targets {
		list := uses[t.Name]
		for _, u := range list {
			if !(u.Requests >= 0 && u.Credits >= 0) || math.IsInf(u.Requests+u.Credits, 0) || u.At.Before(now.AddDate(-2, 0, 0)) || u.At.After(now.AddDate(0, 0, 2)) {
				return daemon.BadRequest(fmt.Sprintf("use of %s on %s: it is no number, or not of the last two years", t.Name, u.At.UTC().Format(time.DateOnly)))
			}
		}
		if len(list) > 0 {
			changes = append(changes, used.Import(list, now).Change(t.Name))
		}
	}
	if len(changes) < len(uses) {
		for name := range uses {
			if len(uses[name]) > 0 && usageTarget(targets, name) == nil {
				return &daemon.NotFoundError{Name: name, Known: known}
			}
		}
	}
	return store.Change(ctx, changes...)
}

func usageTarget(targets []used.Target, name rotate.Name) *used.Target {
	for i := range targets {
		if targets[i].Name == name {
			return &targets[i]
		}
	}
	return nil
}

// usagePointer is a desk that a reload replaces.
type usagePointer = atomic.Pointer[usageDesk]
