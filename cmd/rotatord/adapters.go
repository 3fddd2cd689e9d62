package main

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/fleet"
	"rotatord/internal/identity"
	"rotatord/internal/metrics"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
	"rotatord/internal/sinks"
)

// adapters are what one config needs to reach the world.
type adapters struct {
	cfg     *config.Config
	log     *slog.Logger
	metrics *metrics.Metrics
	portals map[string]*portal.Client
	byID    map[rotate.PortalID]rotate.Portal // the same, for credentials that move
	vault   *sinks.Vault                      // nil: no sink needs one
	files   []*sinks.File
	stores  map[string]*identity.Store // of portals that we sign in to with a key that we rotate ourselves
	fleet   *daemon.Fleet
	acks    ackLedger // of the gates; without a journal until keepAcks
	pauses  *pauses   // nil: a command that keeps nothing; set before the first request
	// surveyAt is the schedule of the light surveys.
	surveyAt cron.Schedule
	keyEnds  keyEnds
	troubles troubles
}

func newAdapters(cfg *config.Config, log *slog.Logger, m *metrics.Metrics) (*adapters, error) {
	a := &adapters{cfg: cfg, log: log, metrics: m, portals: map[string]*portal.Client{}, stores: map[string]*identity.Store{}}
	if cfg.Vault != nil {
		v, err := newVault(cfg.Vault, a.notice)
		if err != nil {
			return nil, err
		}
		a.vault = v
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Portals)) {
		client, err := a.newPortal(name, cfg.Portals[name])
		if err != nil {
			a.close()
			return nil, err
		}
		a.portals[name] = client
	}
	a.byID = make(map[rotate.PortalID]rotate.Portal, len(a.portals))
	for name, client := range a.portals {
		a.byID[rotate.PortalID(name)] = client
	}
	fleet, err := a.newFleet()
	if err != nil {
		a.close()
		return nil, err
	}
	a.fleet = fleet
	return a, nil
}

// close drops idle connections.
func (a *adapters) close() {
	for _, p := range a.portals {
		p.Close()
	}
}

func (a *adapters) notice(n sinks.Notice) {
	a.log.LogAttrs(context.Background(), slog.LevelWarn, "sink notice", slog.String("sink", n.Sink), slog.String("detail", n.Text), slog.Any("err", n.Err))
}

func (a *adapters) newPortal(name string, p *config.Portal) (*portal.Client, error) {
	o, err := a.portalOptions(name, p)
	if err != nil {
		return nil, err
	}
	c, err := portal.New(o)
	if err != nil {
		return nil, fmt.Errorf("portal %s: %w", name, err)
	}
	if store := a.stores[name]; store != nil {
		store.OnWrite(c.SignInAnew)
	}
	return c, nil
}

func (a *adapters) portalOptions(name string, p *config.Portal) (portal.Options, error) {
	o := portal.Options{URL: string(p.URL), Referer: p.Referer, CAFile: string(p.TLS.CAFile), ServerName: p.TLS.ServerName,
		ProxyURL: string(p.Proxy), Timeout: p.Timeout.Std(), UserAgent: "rotatord/" + buildOf().Version,
		Log: a.log.With(slog.String("portal", name)), OnPause: func(until time.Time) { a.pauses.note(name, until) },
		Limits: portal.Limits{AtOnce: p.Limits.AtOnce, PerSecond: p.Limits.PerSecond, BreakerAfter: p.Breaker.Failures,
			BreakerDelay: p.Breaker.OpenFor.Std()},
		OnRequest: func(op string, _ rotate.Purpose, result rotate.Result, took time.Duration) {
			a.metrics.PortalRequest(rotate.PortalID(name), op, result, took)
		}}
	if o.ProxyURL == "" {
		o.ProxyURL = "direct" // the environment's proxy variables are not used
	}
	var err error
	if o.Identity, err = a.portalIdentity(name, p); err != nil {
		return o, fmt.Errorf("portal %s: %w", name, err)
	}
	return o, nil
}

func newVault(v *config.Vault, notice func(sinks.Notice)) (*sinks.Vault, error) {
	o := sinks.VaultOptions{Address: string(v.Address), Namespace: v.Namespace, CAFile: string(v.TLS.CAFile), ServerName: v.TLS.ServerName,
		Timeout: v.Timeout.Std(), OnNotice: notice}
	switch auth := v.Auth; {
	case auth.AppRole != nil:
		var err error
		if o.Auth, err = appRoleAuth(auth.AppRole); err != nil {
			return nil, err
		}
	case auth.Kubernetes != nil:
		o.Auth = sinks.VaultAuth{Method: sinks.AuthKubernetes, Mount: auth.Kubernetes.Mount, RoleName: auth.Kubernetes.Role, JWTFile: string(auth.Kubernetes.JWTFile)}
	case auth.Cert != nil:
		o.ClientCertFile, o.ClientKeyFile = string(auth.Cert.CertFile), string(auth.Cert.KeyFile)
		o.Auth = sinks.VaultAuth{Method: sinks.AuthCert, Mount: auth.Cert.Mount, RoleName: auth.Cert.Role}
	default:
		o.Auth = sinks.VaultAuth{Method: sinks.AuthTokenFile, TokenFile: string(auth.TokenFile)}
	}
	return sinks.NewVault(o)
}

func (a *adapters) newFleet() (*daemon.Fleet, error) {
	tick, err := config.ParseSchedule(a.cfg.Schedules.Tick, a.cfg.Schedules.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("schedules.tick: %w", err)
	}
	survey, err := config.ParseSchedule(a.cfg.Schedules.Survey, a.cfg.Schedules.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("schedules.survey: %w", err)
	}
	a.surveyAt = survey
	f := &daemon.Fleet{Tick: tick, Close: func() error {
		a.close()
		return nil
	}}
	f.Background = a.background
	for _, name := range slices.Sorted(maps.Keys(a.cfg.Portals)) {
		client := a.portals[name]
		id := rotate.PortalID(name)
		f.Portals = append(f.Portals, daemon.Portal{ID: id, Workers: a.cfg.Workers, SurveyAt: survey, Survey: a.survey(name, client)})
	}
	calendars := config.NewCalendars()
	for _, cr := range a.cfg.Made() {
		m, err := a.newCredential(cr, calendars)
		if err != nil {
			return nil, fmt.Errorf("credential %s: %w", cr.Name, err)
		}
		f.Credentials = append(f.Credentials, m)
	}
	return f, nil
}

// background is what runs beside the credentials until ctx ends: the sign-in to
// Vault, and after-write commands that a crash or a failure left owed.
func (a *adapters) background(ctx context.Context) error {
	var g sync.WaitGroup
	if len(a.files) > 0 {
		g.Go(func() { a.keepFiles(ctx) })
	}
	var err error
	if a.vault != nil {
		err = a.vault.Run(ctx)
	}
	g.Wait()
	return err
}

// owedLook is how often owed after-write commands are tried again.
const owedLook = time.Minute

func (a *adapters) keepFiles(ctx context.Context) {
	tick := time.NewTicker(owedLook)
	defer tick.Stop()
	for {
		a.runOwed(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// runOwed runs the after-write commands that are owed; one that fails says so by a
// notice and is tried again.
func (a *adapters) runOwed(ctx context.Context) {
	for _, f := range a.files {
		if err := f.RunOwed(ctx); err != nil && ctx.Err() == nil {
			a.log.LogAttrs(ctx, slog.LevelWarn, "after-write command not looked at", slog.String("sink", f.Name()), slog.Any("err", err))
		}
	}
}

// seen turns a portal's listing into the daemon's words.
func seen(id rotate.PortalID, listings iter.Seq2[portal.Listing, error]) ([]daemon.Seen, error) {
	var out []daemon.Seen
	for l, err := range listings {
		if err != nil {
			return nil, err
		}
		s := daemon.Seen{ID: rotate.ID{Portal: id, Item: l.Item}}
		for i, k := range l.Keys {
			// A date on the item outlives its key: only a list of keys tells that one is there.
			s.Slots[i] = rotate.ListedKey{Present: k.Present && l.Exact, Expires: k.Expires}
		}
		out = append(out, s)
	}
	return out, nil
}

// join gives every credential its peers, and the daemon's own keys their place at the end.
func (a *adapters) join(f *fleet.Fleet, j rotate.Journal) {
	for _, m := range a.fleet.Credentials {
		m.Peers = f
	}
	a.ownKeysLast(j)
}

func (a *adapters) newCredential(cr *config.Credential, calendars *config.Calendars) (daemon.Managed, error) {
	c := &rotate.Credential{Name: rotate.Name(cr.Name), ID: rotate.ID{Portal: rotate.PortalID(cr.Portal), Item: rotate.ItemID(cr.Item)},
		Policy: a.cfg.RotatePolicy(cr), Mode: rotate.Mode(cr.Mode), Referrer: cr.Referrer, Hold: cr.Hold, Portal: a.portals[cr.Portal],
		Portals: a.byID}
	cal, err := calendars.Of(cr)
	if err != nil {
		return daemon.Managed{}, err
	}
	if cal != nil {
		c.Policy.Calendar = cal
	}
	list, err := a.sinksOf(cr)
	if err != nil {
		return daemon.Managed{}, err
	}
	for _, s := range list {
		c.Sinks = append(c.Sinks, &countedSink{Sink: s, metrics: a.metrics, troubles: &a.troubles})
	}
	if len(cr.Probe.URLs) > 0 {
		p, err := a.newParity(cr)
		if err != nil {
			return daemon.Managed{}, err
		}
		c.Parity = p
	}
	if cr.Probe.Grants == "free" || cr.Probe.Grants == "billed" {
		g, err := a.newGrants(cr)
		if err != nil {
			return daemon.Managed{}, err
		}
		c.Grants = g
	}
	if err := a.addGates(c, cr); err != nil {
		return daemon.Managed{}, err
	}
	c.Gates = append(c.Gates, a.ownGates(cr)...)
	return daemon.Managed{Credential: c, Places: placesOf(cr), Product: productLabel(a.cfg.Portals[cr.Portal].Product), Owner: cr.Owner, Environment: cr.Environment, Consumers: cr.Consumers}, nil
}

// placesOf its sinks, for people.
func placesOf(cr *config.Credential) []string {
	var out []string
	for _, t := range cr.Targets() {
		path := t.Path
		if t.Vault != nil {
			path = t.Vault.Mount + "/" + path
		}
		out = append(out, t.Sink+" ("+path+")")
	}
	return out
}

func (a *adapters) newSink(t config.Target) (rotate.Sink, error) {
	if v := t.Vault; v != nil {
		return a.vault.Sink(sinks.SinkSpec{Name: t.Sink, Mount: v.Mount, Path: t.Path, KeyField: v.KeyField, MetaField: v.MetaField})
	}
	f := t.File
	o := sinks.FileOptions{Name: t.Sink, Path: t.Path, Format: sinks.FileFormat(f.Format), Owner: f.Owner, Group: f.Group,
		Mode: os.FileMode(f.Mode), AllowWide: f.AllowWiderMode, KeepPrevious: f.KeepPrevious, OnNotice: a.notice}
	switch o.Format {
	case sinks.FormatDotenv:
		o.Field = f.Variable
	case sinks.FormatJSON:
		o.Field = f.Field
	case sinks.FormatBare: // the key alone
	}
	if h := f.AfterWrite; h != nil {
		o.AfterWrite = sinks.AfterWrite{Command: h.Command, ReloadUnit: h.ReloadUnit, Timeout: h.Timeout.Std(), Attempts: h.Attempts}
	}
	file, err := sinks.NewFile(o)
	if err != nil {
		return nil, err
	}
	a.files = append(a.files, file)
	return file, nil
}

func (a *adapters) newGrants(cr *config.Credential) (*portal.Grants, error) {
	return portal.NewGrants(portal.GrantsOptions{Portal: a.portals[cr.Portal], Product: portal.Product(a.cfg.Portals[cr.Portal].Product),
		AllowBilled: cr.Probe.Grants == "billed", Services: a.probeOptions(cr)})
}

func (a *adapters) newParity(cr *config.Credential) (*portal.Parity, error) {
	o := a.probeOptions(cr)
	for _, u := range cr.Probe.URLs {
		o.URLs = append(o.URLs, string(u))
	}
	return portal.NewParity(o)
}

// probeOptions say how services are asked with a credential's keys.
func (a *adapters) probeOptions(cr *config.Credential) portal.ParityOptions {
	p := a.cfg.Portals[cr.Portal]
	o := portal.ParityOptions{AllowHosts: cr.Probe.AllowHosts, CAFile: string(p.TLS.CAFile), ProxyURL: string(p.Proxy), Timeout: p.Timeout.Std(),
		UserAgent: "rotatord/" + buildOf().Version, OnRequest: func(op string, _ rotate.Purpose, result rotate.Result, took time.Duration) {
			a.metrics.PortalRequest(rotate.PortalID(cr.Portal), op, result, took)
		}}
	if o.ProxyURL == "" {
		o.ProxyURL = "direct"
	}
	return o
}
