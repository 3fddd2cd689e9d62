package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/fleet"
	"rotatord/internal/journal"
	"rotatord/internal/metrics"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
)

// journalPath of a config's journal.
func journalPath(cfg *config.Config) string {
	return filepath.Join(string(cfg.State.Dir), "journal.db")
}

// app is one process's parts, as far as a command needs them.
type app struct {
	cfg      *config.Config
	log      *slog.Logger
	instance string
	writes   bool        // this process holds the journal's lock
	db       *journal.DB // nil: there is none yet, and this process only reads
	metrics  *metrics.Metrics
	fleet    *fleet.Fleet
	adapters *adapters
	engine   *rotate.Engine
	pauses   *pauses
	started  time.Time
	process  *process // set once a daemon runs, before anybody asks
}

// openApp opens the journal and builds the adapters. A command that changes something is named in holder; "" only reads.
func (c *cli) openApp(ctx context.Context, holder string, extra ...rotate.Observer) (*app, error) {
	cfg, err := c.loadConfig()
	if err != nil {
		return nil, err
	}
	log, err := c.logger(cfg)
	if err != nil {
		return nil, err
	}
	a := &app{cfg: cfg, log: log, started: time.Now().UTC()}
	if err := a.openJournal(ctx, holder); err != nil {
		return nil, err
	}
	if err := a.follow(ctx, cfg); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	cfg, gone, err := withoutRetired(ctx, a.cfg, a.db)
	for _, text := range gone {
		c.say("%s", text)
	}
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	a.cfg = cfg
	if err := a.build(extra); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *app) openJournal(ctx context.Context, holder string) (err error) {
	o := journal.Options{Path: journalPath(a.cfg), Log: a.log, ReadOnly: holder == ""}
	if a.instance, err = a.instanceID(o.ReadOnly); err != nil {
		return err
	}
	if !o.ReadOnly {
		a.writes = true
		o.Holder = &journal.Holder{Instance: a.instance, Command: holder, Since: time.Now().UTC()}
	}
	a.db, err = journal.Open(ctx, o)
	if o.ReadOnly && errors.Is(err, os.ErrNotExist) {
		a.log.LogAttrs(ctx, slog.LevelInfo, "no journal yet", slog.String("path", o.Path))
		return nil
	}
	return err
}

// instanceID of this rotatord. Who only reads makes none.
func (a *app) instanceID(reading bool) (string, error) {
	dir := string(a.cfg.State.Dir)
	if _, err := os.Stat(filepath.Join(dir, "instance")); reading && errors.Is(err, os.ErrNotExist) {
		return "reader", nil
	}
	return journal.Instance(dir)
}

// build metrics, adapters and engine from the config.
func (a *app) build(extra []rotate.Observer) error {
	b := buildOf()
	a.metrics = metrics.New(metrics.Options{Version: b.Version, Revision: b.Commit, Started: a.started, Operations: portal.Ops(),
		Series: metrics.Series(a.cfg.HTTP.CredentialSeries),
		Snapshot: func(yield func(*metrics.CredentialView)) {
			if a.process != nil {
				a.process.credentialViews(yield)
			}
		},
		Portals: func() []metrics.PortalView {
			if a.process == nil {
				return nil
			}
			return a.process.portalViews()
		},
		Vault: func() metrics.VaultView {
			if a.process == nil {
				return metrics.VaultView{}
			}
			return a.process.vaultView()
		}})
	var err error
	if a.adapters, err = newAdapters(a.cfg, a.log, a.metrics); err != nil {
		return err
	}
	if a.pauses, err = openPauses(context.Background(), a.db, a.writes, a.log); err != nil {
		return err
	}
	a.showIdleSettings()
	a.pauses.restore(a.adapters)
	a.adapters.keepAcks(a.db)
	elapsed, err := daemon.Elapsed()
	if err != nil {
		return err
	}
	if err := a.followNames(context.Background()); err != nil {
		return err
	}
	all := append(observers{eventLog{a.log}, a.metrics}, extra...)
	if err := a.joinFleet(); err != nil {
		return err
	}
	a.engine, err = rotate.New(rotate.Options{Journal: a.journal(), Observer: all, Instance: a.instance, Elapsed: elapsed})
	return err
}

// joinFleet makes the fleet of the config, from what the journal says of each.
func (a *app) joinFleet() error {
	records, err := a.journal().List(context.Background())
	if err != nil {
		return err
	}
	a.fleet = fleet.New(records)
	a.fleet.Configure(a.cfg.FleetPolicy(), a.cfg.FleetMembers())
	a.adapters.join(a.fleet, a.journal())
	return nil
}

// journal for the domain: an empty one where none exists yet.
func (a *app) journal() rotate.Journal {
	if a.db == nil {
		return noJournal{}
	}
	return countedJournal{a.db, a.metrics}
}

// Close releases everything that is open.
func (a *app) Close() error {
	if a.adapters != nil {
		a.adapters.close()
	}
	a.pauses.close()
	if a.db == nil {
		return nil
	}
	return a.db.Close()
}

// verbs without a running daemon.
func (a *app) verbs() *daemon.Verbs {
	v := &daemon.Verbs{Fleet: a.adapters.fleet, Journal: a.journal(), Forecaster: a.engine, Archive: archive{a.db}, Ledger: a.ledger(),
		Version: buildOf().Version, Instance: a.instance, Started: a.started}
	if a.writes {
		v.Engine = a.engine
	}
	return v
}

// noJournal is the journal before the first start.
type noJournal struct{}

func (noJournal) Load(_ context.Context, name rotate.Name) (rotate.Record, error) {
	return rotate.Record{Name: name}, nil
}

func (noJournal) Save(context.Context, rotate.Record, ...rotate.Event) (rotate.Record, error) {
	return rotate.Record{}, errors.New("save record: the journal is open for reading only")
}

func (noJournal) List(context.Context) ([]rotate.Record, error) { return nil, nil }

func (noJournal) Deaths(context.Context, rotate.PortalID, time.Time) (int, error) { return 0, nil }

// archive is the journal as people ask it.
type archive struct{ db *journal.DB }

var errNoArchive = errors.New("there is no journal yet; start the daemon, or run rotatord once")

// History implements daemon.Archive.
func (a archive) History(ctx context.Context, q daemon.HistoryQuery) ([]daemon.HistoryEntry, error) {
	if a.db == nil {
		return []daemon.HistoryEntry{}, nil
	}
	entries, err := a.db.History(ctx, q.Name, journal.Filter{Since: q.Since, Until: q.Until, Limit: q.Limit})
	if err != nil {
		return nil, err
	}
	out := make([]daemon.HistoryEntry, len(entries))
	for i, e := range entries {
		out[i] = daemon.HistoryEntry{Seq: e.Seq, Event: e.Event}
	}
	return out, nil
}

// Verify implements daemon.Archive.
func (a archive) Verify(ctx context.Context, name rotate.Name) (int64, error) {
	if a.db == nil {
		return 0, errNoArchive
	}
	return a.db.Verify(ctx, name)
}

// Export implements daemon.Archive.
func (a archive) Export(ctx context.Context, q daemon.HistoryQuery, to io.Writer) error {
	if a.db == nil {
		return errNoArchive
	}
	return a.db.Export(ctx, to, q.Name, journal.Filter{Since: q.Since, Until: q.Until})
}

// Backup implements daemon.Archive: the copy is made beside the journal, sent, and removed.
func (a archive) Backup(ctx context.Context, to io.Writer) (err error) {
	if a.db == nil {
		return errNoArchive
	}
	dir, err := os.MkdirTemp(filepath.Dir(a.db.Path()), "backup-")
	if err != nil {
		return fmt.Errorf("back up journal: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "journal.db")
	if err := a.db.Backup(ctx, path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("back up journal: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(to, f); err != nil {
		return fmt.Errorf("send backup: %w", err)
	}
	return nil
}
