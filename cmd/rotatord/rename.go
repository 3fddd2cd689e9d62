package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/journal"
	"rotatord/internal/rotate"
)

func (c *cli) renameCmd() *cobra.Command {
	var dry bool
	cmd := &cobra.Command{Use: "rename OLD NEW", Short: "Give a credential another name, with its history",
		Long: "Writes the new name into the config, where no other byte changes but a path_name that keeps every sink's path, and has the\n" +
			"journal follow: record, history, acknowledgements and usage. Keys, sinks and portal are not touched. A running daemon does it at a reload;\n" +
			"what it refuses changes nothing. A name that was changed in the config by hand is followed in the same way at the next start or reload.",
		Args: cobra.ExactArgs(2), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.rename(cmd.Context(), config.Name(args[0]), config.Name(args[1]), dry)
		}}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "change nothing")
	return cmd
}

// renamedReport is what rename did.
type renamedReport struct {
	From     config.Name `json:"from"`
	To       config.Name `json:"to"`
	PathName config.Name `json:"path_name,omitempty"` // that sinks' paths have from now on
	Done     bool        `json:"done"`
}

func (c *cli) rename(ctx context.Context, from, to config.Name, dry bool) (err error) {
	cfg, err := c.loadConfig()
	if err != nil {
		return err
	}
	if _, err := chosen(cfg, []string{string(from)}); err != nil {
		return err
	}
	src, err := os.ReadFile(cfg.Name())
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	out, err := config.Rename(cfg.Name(), src, from, to)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	next, err := config.Parse(cfg.Name(), out)
	if err != nil {
		return err
	}
	holder := "rename"
	if dry {
		holder = ""
	}
	s, err := c.connect(ctx, holder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	report := renamedReport{From: from, To: to, PathName: pathName(next, to), Done: !dry}
	if err := c.mayRename(ctx, s, cfg, from); err != nil || dry {
		return errors.Join(err, c.showRenamed(report, err == nil))
	}
	if err := writeConfig(cfg.Name(), out); err != nil {
		return err
	}
	if err := s.follow(ctx, from, to); err != nil {
		return errors.Join(err, putBack(cfg.Name(), out, src))
	}
	return c.showRenamed(report, true)
}

func pathName(cfg *config.Config, name config.Name) config.Name {
	for _, cr := range cfg.Credentials {
		if cr.Name == name {
			return cr.PathName
		}
	}
	return ""
}

// mayRename refuses what is in the middle of something that goes by its name.
func (c *cli) mayRename(ctx context.Context, s *session, cfg *config.Config, from config.Name) error {
	for _, dir := range []string{"creations", "retirements"} {
		path := progressOf(cfg, dir, from)
		if _, err := os.Stat(string(path)); err == nil {
			return fmt.Errorf("rename %s refused: %s says that it is not done; finish that first", from, path)
		}
	}
	all, err := s.Status(ctx, rotate.Name(from))
	if _, unknown := errors.AsType[*daemon.NotFoundError](err); unknown {
		return nil // to be made, or not loaded yet: it has no history
	}
	if err != nil {
		return err
	}
	if p := all[0].Phase; p.InCutOver() {
		return fmt.Errorf("rename %s refused: a rotation is in cut-over (%s); try again in a minute", from, p)
	}
	return nil
}

// putBack the config as it was, unless somebody has edited it since.
func putBack(path string, written, before []byte) error {
	now, err := os.ReadFile(path)
	if err != nil || !slices.Equal(now, written) {
		return errors.Join(err, fmt.Errorf("%s was changed meanwhile and is left as it is", path))
	}
	return writeConfig(path, before)
}

// follow has the journal follow the config.
func (s *session) follow(ctx context.Context, from, to config.Name) error {
	if s.client == nil {
		return s.app.followNow(ctx, from, to)
	}
	res, err := s.client.Reload(ctx)
	if err != nil {
		return fmt.Errorf("the daemon does not take the new name: %w", err)
	}
	neverJournalled := slices.Contains(res.Removed, string(from)) && slices.Contains(res.Added, string(to))
	if !slices.Contains(res.Renamed, string(from)+" -> "+string(to)) && !neverJournalled {
		return errors.New("the daemon's config has not changed: it reads another file; name that with --config")
	}
	return nil
}

// followNow renames in the journal, if it knows the credential.
func (a *app) followNow(ctx context.Context, from, to config.Name) error {
	r, err := a.db.Load(ctx, rotate.Name(from))
	if err != nil || r.Epoch == 0 || r.ID == (rotate.ID{}) {
		return err
	}
	_, err = a.db.Rename(ctx, journal.Rename{From: rotate.Name(from), To: rotate.Name(to), By: daemon.Actor()})
	return err
}

func (c *cli) showRenamed(r renamedReport, ok bool) error {
	if !ok {
		return nil
	}
	if c.json {
		return c.printJSON(r)
	}
	verb := "is"
	if !r.Done {
		verb = "would be"
	}
	text := fmt.Sprintf("%s %s named %s; its sinks stay as they are", r.From, verb, r.To)
	if r.PathName != "" {
		text += fmt.Sprintf(" (path_name: %s)", r.PathName)
	}
	return c.print("%s\n", text)
}

// rename in the journal what has another name in the config; fleet limits go by names too.
func (a *app) rename(ctx context.Context, namings []daemon.Naming) ([]rotate.Record, error) {
	list := make([]journal.Rename, len(namings))
	for i, n := range namings {
		list[i] = journal.Rename{From: n.From, To: n.To, By: daemon.ActorOf(ctx)}
	}
	out, err := a.db.Rename(ctx, list...)
	for _, r := range out {
		if a.fleet != nil {
			a.fleet.Saw(r)
		}
	}
	return out, err
}

// followNames at the start: what has another name in the config than in the journal goes on under it.
func (a *app) followNames(ctx context.Context) error {
	if !a.writes || a.db == nil {
		return nil
	}
	records, err := a.db.List(ctx)
	if err != nil {
		return err
	}
	namings := daemon.Namings(records, a.adapters.fleet)
	if len(namings) == 0 {
		return nil
	}
	if _, err := a.rename(ctx, namings); err != nil {
		return err
	}
	for _, n := range namings {
		a.log.LogAttrs(ctx, slog.LevelInfo, "a credential has another name in the config, and its history goes on under that",
			slog.String("former", string(n.From)), slog.String("credential", string(n.To)))
	}
	return nil
}
