package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

// followItems has each credential of a config name the item that the journal knows under
// its name, where a replacement made that another one than the config says, or the daemon
// has made it.
func followItems(cfg *config.Config, records []rotate.Record) {
	known := make(map[rotate.Name]*rotate.Record, len(records))
	for i := range records {
		known[records[i].Name] = &records[i]
	}
	for _, cr := range cfg.Credentials {
		id := rotate.ID{Portal: rotate.PortalID(cr.Portal), Item: rotate.ItemID(cr.Item)}
		r := known[rotate.Name(cr.Name)]
		if r == nil || r.Epoch == 0 || r.ID.Item == "" || r.ID == id || cfg.Portals[string(r.ID.Portal)] == nil {
			continue
		}
		if cr.Made() && r.Means(id) || !cr.Made() && byDaemon(cr) {
			point(cr, r.ID)
		}
	}
}

// point a credential of a config at the item that it has.
func point(cr *config.Credential, id rotate.ID) {
	cr.Portal, cr.Item = string(id.Portal), config.ItemID(id.Item)
}

// byDaemon: the daemon may make it.
func byDaemon(cr *config.Credential) bool { return cr.Create != nil && cr.Create.ByDaemon }

// follow the journal; there is none before the first start.
func (a *app) follow(ctx context.Context, cfg *config.Config) error {
	if a.db == nil {
		return nil
	}
	records, err := a.db.List(ctx)
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	followItems(cfg, records)
	return nil
}

// followAnyone is follow for a command that opens no journal: a running daemon is asked,
// or the journal of one that does not run.
func followAnyone(ctx context.Context, cfg *config.Config) error {
	client := daemon.NewClient(string(cfg.Admin.Socket))
	defer client.Close()
	all, err := client.Status(ctx)
	switch {
	case daemon.Unreachable(err):
		return followJournal(ctx, cfg)
	case err != nil:
		return err
	}
	for _, s := range all {
		for _, cr := range cfg.Credentials {
			if (cr.Made() || byDaemon(cr)) && rotate.Name(cr.Name) == s.Name && cfg.Portals[string(s.Portal)] != nil {
				point(cr, rotate.ID{Portal: s.Portal, Item: s.Item})
			}
		}
	}
	return nil
}

// followJournal of a daemon that does not run.
func followJournal(ctx context.Context, cfg *config.Config) (err error) {
	db, err := readJournal(ctx, cfg)
	if db == nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return (&app{db: db}).follow(ctx, cfg)
}

// configSum of the file as it is now; the zero sum where it cannot be read.
func configSum(path string) (sum [sha256.Size]byte) {
	if src, err := os.ReadFile(path); err == nil {
		sum = sha256.Sum256(src)
	}
	return sum
}

// configSum of the config in force.
func (p *process) configSum() [sha256.Size]byte {
	if sum := p.inForce.Load(); sum != nil {
		return *sum
	}
	return [sha256.Size]byte{}
}

// itemChanged takes the config in force anew, so that everything that it is the basis of knows
// the other item. One that was edited meanwhile is not put in force for that.
func (p *process) itemChanged(path string) func(rotate.Name) {
	return func(name rotate.Name) {
		if configSum(path) != p.configSum() {
			p.app.log.LogAttrs(context.Background(), slog.LevelWarn, "another item has taken over, and the config was edited: usage and settings follow with the next reload",
				slog.String("credential", string(name)))
			return
		}
		select {
		case p.hup <- syscall.SIGHUP:
		default: // one is under way, or about to be
		}
	}
}
