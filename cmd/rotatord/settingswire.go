package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/credspec"
	"rotatord/internal/daemon"
	"rotatord/internal/journal"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
	"rotatord/internal/settings"
)

var (
	_ settings.Portal = (*settingsPortal)(nil)
	_ settings.Store  = settingsStore{}
	_ settings.Keys   = (*settingsKeys)(nil)
)

// settingsPointer is a runner that a reload replaces.
type settingsPointer = atomic.Pointer[settings.Runner]

// settingsStore is the journal as settings are kept in it. Who only reads writes nothing.
type settingsStore struct {
	db     *journal.DB // nil: there is none yet
	writes bool
}

// Get implements settings.Store.
func (s settingsStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if s.db == nil {
		return nil, false, nil
	}
	return s.db.SettingsState().Get(ctx, key)
}

// Put implements settings.Store.
func (s settingsStore) Put(ctx context.Context, key string, value []byte) error {
	if !s.writes {
		return nil
	}
	return s.db.SettingsState().Put(ctx, key, value)
}

// settingsPortal reads and edits one portal's items, after everything that a rotation asks.
type settingsPortal struct {
	client *portal.Client

	mu      sync.Mutex
	folders map[string]folderList // by owner; guarded by mu
}

type folderList struct {
	at   time.Time
	list []portal.Folder
}

// foldersFor is how long a user's folders are taken for what they were: one listing serves a
// pass over many credentials.
const foldersFor = 5 * time.Minute

// Read implements settings.Portal.
func (p *settingsPortal) Read(ctx context.Context, item rotate.ItemID) (credspec.Settings, error) {
	ctx = patient(ctx)
	d, err := p.client.Details(ctx, item)
	if err != nil {
		return credspec.Settings{}, err
	}
	app, err := p.client.AppSettings(ctx, item, d.Owner)
	if err != nil {
		return credspec.Settings{}, err
	}
	folders, err := p.foldersOf(ctx, d)
	if err != nil {
		return credspec.Settings{}, err
	}
	return settingsOf(d, app, folders), nil
}

// foldersOf the item's owner; none are needed for the root folder. A folder that is not among
// those that are known is newer.
func (p *settingsPortal) foldersOf(ctx context.Context, d portal.Details) ([]portal.Folder, error) {
	if d.Folder == "" {
		return nil, nil
	}
	p.mu.Lock()
	known := p.folders[d.Owner]
	p.mu.Unlock()
	if time.Since(known.at) < foldersFor {
		for _, f := range known.list {
			if f.ID == d.Folder {
				return known.list, nil
			}
		}
	}
	list, err := p.client.Folders(ctx, d.Owner)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.folders[d.Owner] = folderList{time.Now(), list}
	return list, nil
}

// Resolve implements settings.Portal.
func (p *settingsPortal) Resolve(ctx context.Context, want *credspec.Spec) (*credspec.Spec, error) {
	return resolved(patient(ctx), p.client, want)
}

// Edit implements settings.Portal.
func (p *settingsPortal) Edit(ctx context.Context, item rotate.ItemID, owner string, c credspec.Change) error {
	return itemEditor{p.client}.Edit(patient(ctx), item, owner, c)
}

// settingsTargets are the credentials whose settings a config states.
func settingsTargets(cfg *config.Config, portals map[string]*portal.Client) []settings.Target {
	byName := map[string]*settingsPortal{}
	for name, client := range portals {
		byName[name] = &settingsPortal{client: client, folders: map[string]folderList{}}
	}
	var out []settings.Target
	for _, cr := range cfg.Made() {
		if cr.Create != nil {
			out = append(out, settings.Target{Name: rotate.Name(cr.Name), ID: rotate.ID{Portal: rotate.PortalID(cr.Portal), Item: rotate.ItemID(cr.Item)},
				Spec: cfg.Spec(cr), Portal: byName[cr.Portal]})
		}
	}
	return out
}

// settingsKeys tells what a running daemon does with its credentials.
type settingsKeys struct {
	process *process
	fleet   *daemon.Fleet
}

// Busy implements settings.Keys.
func (k *settingsKeys) Busy(ctx context.Context, name rotate.Name) (string, error) {
	r, err := k.process.app.db.Load(ctx, name)
	if err != nil {
		return "", err
	}
	for _, m := range k.fleet.Credentials {
		if m.Name == name {
			return busyWith(m, &r, time.Now()), nil
		}
	}
	return "", &daemon.NotFoundError{Name: name}
}

// busyWith says why nothing of a credential may be edited, "" if it may.
func busyWith(m daemon.Managed, r *rotate.Record, now time.Time) string {
	switch {
	case m.Mode != rotate.ModeRotate:
		return "its mode is " + string(m.Mode)
	case r.AdoptedAt.IsZero():
		return "it was never adopted"
	case m.Hold != "":
		return "the config holds it: " + m.Hold
	case r.Hold.Active(now):
		return "it is held: " + r.Hold.Reason
	case r.Quarantine != nil:
		return "it is quarantined"
	case r.Phase.InCutOver():
		return "a rotation is under way"
	}
	return ""
}

// Note implements settings.Keys. What the credential is busy with comes first; the line stays
// queued then.
func (k *settingsKeys) Note(ctx context.Context, name rotate.Name, line string) error {
	waiting, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	_, err := k.process.daemon.Command(waiting, name, settingsNote(line, settings.Actor))
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

// withSettings has the settings of a config's credentials compared as long as its fleet is looked after.
func (p *process) withSettings(cfg *config.Config, a *adapters) error {
	schedule, err := config.ParseSchedule(cfg.Schedules.Settings, cfg.Schedules.TimeZone)
	if err != nil {
		return fmt.Errorf("schedules.settings: %w", err)
	}
	runner, err := settings.New(settings.Options{Targets: settingsTargets(cfg, a.portals), Store: settingsStore{p.app.db, p.app.writes},
		Keys: &settingsKeys{p, a.fleet}, Replace: p.newReplacer(cfg, a).Replace, Schedule: schedule, Log: a.log})
	if err != nil {
		return err
	}
	showSettings(a.fleet, func() *settings.Runner { return runner })
	before := a.fleet.Background
	a.fleet.Background = func(ctx context.Context) error {
		p.settings.Store(runner)
		done := make(chan error, 1)
		go func() { done <- runner.Run(ctx) }()
		var first error
		if before != nil {
			first = before(ctx)
		}
		return errors.Join(first, <-done)
	}
	return nil
}

// idleSettings knows what a daemon has learnt, and looks for a command that changes nothing.
func (a *app) idleSettings() (*settings.Runner, error) {
	schedule, err := config.ParseSchedule(a.cfg.Schedules.Settings, a.cfg.Schedules.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("schedules.settings: %w", err)
	}
	return settings.New(settings.Options{Targets: settingsTargets(a.cfg, a.adapters.portals), Store: settingsStore{db: a.db}, Schedule: schedule, Log: a.log})
}

// showIdleSettings has a status without a daemon tell of them, read when somebody asks.
func (a *app) showIdleSettings() {
	showSettings(a.adapters.fleet, sync.OnceValue(func() *settings.Runner {
		runner, err := a.idleSettings()
		if err == nil {
			err = runner.Load(context.Background())
		}
		if err != nil {
			return nil
		}
		return runner
	}))
}

// showSettings in the status of each credential that has any.
func showSettings(f *daemon.Fleet, runner func() *settings.Runner) {
	for i := range f.Credentials {
		name := f.Credentials[i].Name
		f.Credentials[i].Settings = func() *daemon.SettingsStatus {
			if r := runner(); r != nil {
				if found, ok := r.Finding(name); ok {
					return settingsStatus(&found)
				}
			}
			return nil
		}
	}
}

// settingsVerbs of the admin socket: what was found last, or, with fresh, now.
func (p *process) settingsVerbs() []daemon.Extra {
	return []daemon.Extra{{Pattern: "GET /v1/settings", Serve: func(ctx context.Context, _ string, q url.Values, _ io.Reader) (any, error) {
		r := p.settings.Load()
		if r == nil {
			return []settings.Finding{}, nil
		}
		if q.Get("fresh") == "" {
			return chosenFindings(r, namesFrom(q["name"])), nil
		}
		return lookAtSettings(ctx, r, namesFrom(q["name"])), nil
	}}}
}
