package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"rotatord/internal/daemon"
	"rotatord/internal/journal"
	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/sinks"
)

// The demo's times: seconds in place of months.
const (
	demoLifetime = 20 * time.Second
	demoSpread   = 6 * time.Second
	demoOverlap  = 3 * time.Second
	demoCache    = demoOverlap - demoFlight
	demoFlight   = 500 * time.Millisecond // of a consumer's request on a busy machine: it must arrive within the overlap too
	demoAdopted  = 14 * time.Second       // left of a key that was there before rotatord
)

func demoPolicy() rotate.Policy {
	return rotate.Policy{RenewBeforeShare: 0.5, Overlap: demoOverlap, CriticalBefore: 3 * time.Second, Lifetime: demoLifetime, Spread: demoSpread,
		Precision: rotate.PrecisionSecond, MinInterval: 2 * time.Second, MinGain: 2 * time.Second, ProbeEvery: time.Second,
		DeepEvery: 8 * time.Second, OrphanDelay: 4 * time.Second, EffectHorizon: 2 * time.Second, RetryBase: 250 * time.Millisecond,
		RetryMax: 2 * time.Second, DeadProbes: 3, DeadAfter: 2 * time.Second, DeathsPerHour: 100, AutoAdopt: true}
}

// demoPortal is one emulated portal with the daemon's client and the consumers' own.
type demoPortal struct {
	id        rotate.PortalID
	product   portaltest.Product
	uses      []string // what its credentials are for
	emulator  *portaltest.Emulator
	client    *portal.Client
	consumers *portal.Client
}

func demoPortals() []*demoPortal {
	return []*demoPortal{
		{id: "platform", product: portaltest.LocationPlatform, uses: []string{"basemaps", "geocoding", "routing"}},
		{id: "online", product: portaltest.Online, uses: []string{"webmap", "survey", "dashboard"}},
		{id: "enterprise", product: portaltest.Enterprise114, uses: []string{"cadastre", "utilities", "hydrants"}},
	}
}

// demoCredential is one credential with its consumer.
type demoCredential struct {
	daemon.Managed
	portal   *demoPortal
	consumer *consumer
}

// demoWorld is everything that a demo runs.
type demoWorld struct {
	dir         string
	show        *demoShow
	portals     []*demoPortal
	credentials []*demoCredential
	vault       *sinks.Vault // nil: files
	db          *journal.DB
	daemon      *daemon.Daemon
	enough      chan struct{} // closed to stop the consumers
}

func newDemoWorld(ctx context.Context, dir string, log *slog.Logger, show *demoShow) (w *demoWorld, err error) {
	w = &demoWorld{dir: dir, show: show, portals: demoPortals(), enough: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if err := w.openVault(); err != nil {
		return w, err
	}
	run := strings.ToLower(rand.Text()[:8])
	for _, p := range w.portals {
		if err := p.start(); err != nil {
			return w, err
		}
		for i, use := range p.uses {
			if err := w.addCredential(ctx, p, run, i, use); err != nil {
				return w, err
			}
		}
	}
	return w, w.start(ctx, log)
}

// openVault as the environment says, as the vault command does.
func (w *demoWorld) openVault() error {
	address, token := os.Getenv("VAULT_ADDR"), os.Getenv("VAULT_TOKEN")
	if address == "" || token == "" {
		return nil
	}
	file := filepath.Join(w.dir, "vault-token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		return fmt.Errorf("keep Vault's token for the demo: %w", err)
	}
	v, err := sinks.NewVault(sinks.VaultOptions{Address: address, CAFile: os.Getenv("VAULT_CACERT"), Namespace: os.Getenv("VAULT_NAMESPACE"),
		Auth: sinks.VaultAuth{Method: sinks.AuthTokenFile, TokenFile: file}})
	w.vault = v
	return err
}

// start the emulator and make two clients: the daemon's requests are counted apart from the consumers'.
func (p *demoPortal) start() error {
	p.emulator = portaltest.New(portaltest.Options{Product: p.product, Switches: map[string]string{portaltest.SwitchDateRounding: "none",
		portaltest.SwitchManner: "strict"}})
	password := func(context.Context) (rotate.Secret, error) {
		return rotate.NewSecret(portaltest.StandardPassword), nil
	}
	o := portal.Options{URL: "https://" + string(p.id) + ".example.com", Transport: p.emulator.Transport(),
		Identity: portal.Identity{Password: &portal.PasswordIdentity{Username: portaltest.AdminUser, Password: password}}}
	var err error
	if p.client, err = portal.New(o); err != nil {
		return err
	}
	p.consumers, err = portal.New(o)
	return err
}

// addCredential seeds one. The first of each portal has a key in use already, which rotatord adopts; the others are empty.
func (w *demoWorld) addCredential(ctx context.Context, p *demoPortal, run string, i int, use string) error {
	name := rotate.Name(string(p.id) + "-" + use)
	seed := portaltest.CredentialSeed{Title: "Demo " + use}
	if i == 0 {
		seed.Minted, seed.Expires = true, [2]time.Time{time.Now().Add(demoAdopted)}
	}
	made := p.emulator.AddCredential(seed)
	sink, read, err := w.newSink(name, run)
	if err != nil {
		return err
	}
	if i == 0 {
		if _, err := sink.Write(ctx, rotate.Entry{Key: rotate.NewSecret(made.Keys[0])}, ""); err != nil {
			return fmt.Errorf("put the adopted key of %s into its sink: %w", name, err)
		}
	}
	cache := time.Second
	if i == 1 {
		cache = demoCache
	}
	c := &rotate.Credential{Name: name, ID: rotate.ID{Portal: p.id, Item: rotate.ItemID(made.ItemID)}, Policy: demoPolicy(),
		Mode: rotate.ModeRotate, Portal: p.client, Sinks: []rotate.Sink{sink}}
	if err := c.Policy.Validate(); err != nil {
		return fmt.Errorf("the demo's policy: %w", err)
	}
	w.credentials = append(w.credentials, &demoCredential{portal: p, consumer: &consumer{read: read, cache: cache, portal: p.consumers},
		Managed: daemon.Managed{Credential: c, Product: string(p.product), Owner: "demo", Environment: "demo"}})
	return nil
}

// newSink makes a sink and a consumer's way to read it.
func (w *demoWorld) newSink(name rotate.Name, run string) (rotate.Sink, readKey, error) {
	if w.vault != nil {
		spec := sinks.SinkSpec{Name: "vault", Mount: "secret", Path: "rotatord-demo/" + run + "/" + string(name)}
		s, err := w.vault.Sink(spec)
		if err != nil {
			return nil, nil, err
		}
		reader, err := w.vault.Sink(spec)
		return s, func(ctx context.Context) (rotate.Secret, error) {
			e, err := reader.Read(ctx)
			return e.Key, err
		}, err
	}
	path := filepath.Join(w.dir, string(name)+".key")
	s, err := sinks.NewFile(sinks.FileOptions{Name: "file", Path: path, Format: sinks.FormatBare, KeepPrevious: 1})
	return s, func(context.Context) (rotate.Secret, error) {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return rotate.Secret{}, nil
		}
		return rotate.NewSecret(string(b)), err
	}, err
}

// start makes journal, engine and daemon; run runs it.
func (w *demoWorld) start(ctx context.Context, log *slog.Logger) error {
	state, err := demoJournal(w.dir)
	if err != nil {
		return err
	}
	instance, err := journal.Instance(state)
	if err != nil {
		return err
	}
	w.db, err = journal.Open(ctx, journal.Options{Path: filepath.Join(state, "journal.db"), Log: log,
		Holder: &journal.Holder{Instance: instance, Command: "demo", Since: time.Now().UTC()}})
	if err != nil {
		return err
	}
	elapsed, err := daemon.Elapsed()
	if err != nil {
		return err
	}
	engine, err := rotate.New(rotate.Options{Journal: w.db, Instance: instance, Elapsed: elapsed, Observer: observers{eventLog{log}, w.show}})
	if err != nil {
		return err
	}
	fleet := &daemon.Fleet{Tick: cron.Every(time.Second)}
	for _, p := range w.portals {
		fleet.Portals = append(fleet.Portals, daemon.Portal{ID: p.id, SurveyAt: cron.Every(5 * time.Second),
			Survey: func(ctx context.Context) ([]daemon.Seen, error) { return seen(p.id, p.client.Listings(ctx)) }})
	}
	for _, m := range w.credentials {
		fleet.Credentials = append(fleet.Credentials, m.Managed)
	}
	w.daemon, err = daemon.New(daemon.Options{Engine: engine, Journal: w.db, Fleet: fleet, Log: log})
	return err
}

// Close releases everything.
func (w *demoWorld) Close() error {
	for _, p := range w.portals {
		for _, c := range []*portal.Client{p.client, p.consumers} {
			if c != nil {
				c.Close()
			}
		}
	}
	if w.db == nil {
		return nil
	}
	return w.db.Close()
}

// requests of the daemon to all portals, by purpose.
func (w *demoWorld) requests() map[rotate.Purpose]int {
	out := map[rotate.Purpose]int{}
	for _, p := range w.portals {
		for k, n := range p.client.Counts() {
			out[k.Purpose] += n
		}
	}
	return out
}

// orphans counts the valid keys at the emulators that no sink serves.
func (w *demoWorld) orphans(ctx context.Context) (int, error) {
	n := 0
	for _, m := range w.credentials {
		served, err := m.consumer.read(ctx)
		if err != nil {
			return n, fmt.Errorf("count orphans of %s: %w", m.Name, err)
		}
		now := m.portal.emulator.Now()
		n += len(slices.DeleteFunc(m.portal.emulator.Keys(), func(k portaltest.KeyInfo) bool {
			return k.ItemID != string(m.ID.Item) || !k.Valid(now) || rotate.NewSecret(k.Secret).Equal(served)
		}))
	}
	return n, nil
}
