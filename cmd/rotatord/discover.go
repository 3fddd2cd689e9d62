package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/config"
	"rotatord/internal/metrics"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
)

func (c *cli) discoverCmd() *cobra.Command {
	var write string
	cmd := &cobra.Command{Use: "discover [PORTAL]", Short: "List what the portals hold, legacy keys too, and write config for it in watch mode",
		Long: "Lists every API key credential and legacy key that the config's identities can see, and says which are in the config.\n" +
			"--write FILE adds what is not to a copy of the config, in watch mode; FILE may be the config itself.",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.completePortals,
		RunE: func(cmd *cobra.Command, args []string) error { return c.discover(cmd.Context(), args, write) }}
	cmd.Flags().StringVar(&write, "write", "", "write the config with what was found to `FILE`")
	return cmd
}

// found is one listing of discover.
type found struct {
	Portal     string        `json:"portal"`
	Item       rotate.ItemID `json:"item"`
	Title      string        `json:"title"`
	Owner      string        `json:"owner"`
	Legacy     bool          `json:"legacy,omitempty"`
	Credential config.Name   `json:"credential,omitempty"` // as configured
	Keys       [2]foundKey   `json:"keys"`                 // slots 1 and 2
}

type foundKey struct {
	Present bool      `json:"present"`
	Expires time.Time `json:"expires,omitzero"`
}

func (c *cli) discover(ctx context.Context, args []string, write string) error {
	a, err := c.openAdapters()
	if err != nil {
		return err
	}
	defer a.close()
	names := slices.Sorted(maps.Keys(a.portals))
	if len(args) == 1 {
		if a.portals[args[0]] == nil {
			return unknownPortal(args[0], names)
		}
		names = args
	}
	all, err := a.discover(ctx, names)
	if err != nil {
		return err
	}
	if write != "" {
		if err := c.writeFound(a.cfg, write, all); err != nil {
			return err
		}
	}
	return c.showFound(all)
}

// openAdapters is for commands that ask portals and need no journal.
func (c *cli) openAdapters() (*adapters, error) {
	cfg, err := c.loadConfig()
	if err != nil {
		return nil, err
	}
	log, err := c.logger(cfg)
	if err != nil {
		return nil, err
	}
	if err := followAnyone(context.Background(), cfg); err != nil {
		c.say("the items are those of the config; the journal, which may know others, could not be asked: %v", err)
	}
	return newAdapters(cfg, log, metrics.New(metrics.Options{}))
}

func unknownPortal(name string, known []string) error {
	if guess := nearest(name, known); guess != "" {
		return usage("no portal %s in the config; did you mean %s?", name, guess)
	}
	return usage("no portal %s in the config", name)
}

func (a *adapters) discover(ctx context.Context, names []string) ([]found, error) {
	configured := map[rotate.ID]config.Name{}
	for _, cr := range a.cfg.Credentials {
		configured[rotate.ID{Portal: rotate.PortalID(cr.Portal), Item: rotate.ItemID(cr.Item)}] = cr.Name
	}
	all := []found{}
	for _, name := range names {
		for l, err := range a.portals[name].Discover(ctx) {
			if err != nil {
				return nil, fmt.Errorf("list credentials of portal %s: %w", name, err)
			}
			all = append(all, foundOf(name, l, configured))
		}
	}
	return all, nil
}

func foundOf(name string, l portal.Listing, configured map[rotate.ID]config.Name) found {
	f := found{Portal: name, Item: l.Item, Title: l.Title, Owner: l.Owner, Legacy: l.Legacy,
		Credential: configured[rotate.ID{Portal: rotate.PortalID(name), Item: l.Item}]}
	for i, slot := range rotate.Slots() {
		f.Keys[i] = foundKey{Present: l.Keys[slot].Present, Expires: l.Keys[slot].Expires}
	}
	return f
}

func (c *cli) showFound(all []found) error {
	if c.json {
		return c.printJSON(all)
	}
	now := time.Now()
	rows := make([][]string, len(all))
	for i, f := range all {
		kind := "credential"
		if f.Legacy {
			kind = "legacy key"
		}
		rows[i] = []string{f.Portal, string(f.Item), f.Title, f.Owner, kind, expiresIn(f.Keys[0].Expires, now), expiresIn(f.Keys[1].Expires, now),
			orDash(string(f.Credential))}
	}
	return c.printTable([]string{"portal", "item", "title", "owner", "kind", "slot 1 until", "slot 2 until", "in config as"}, rows)
}

// writeFound adds what is not in the config yet, but no legacy key: those have no slots to rotate.
func (c *cli) writeFound(cfg *config.Config, path string, all []found) error {
	src, err := os.ReadFile(cfg.Name())
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	var add []config.Found
	for _, f := range all {
		if f.Legacy || f.Credential != "" {
			continue
		}
		expires := f.Keys[0].Expires
		if f.Keys[1].Expires.After(expires) {
			expires = f.Keys[1].Expires
		}
		add = append(add, config.Found{Portal: f.Portal, Item: string(f.Item), Title: f.Title, Owner: f.Owner, Expires: expires})
	}
	out, n, err := config.AppendCredentials(cfg.Name(), src, add)
	if err != nil {
		return err
	}
	if err := checkTarget(path, cfg.Name()); err != nil {
		return err
	}
	if err := writeConfig(path, out); err != nil {
		return err
	}
	c.say("%s: %s added in watch mode", path, plural(n, "credential"))
	return nil
}

func sameFile(a, b string) (bool, error) {
	x, err := os.Stat(a)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write config: %w", err)
	}
	y, err := os.Stat(b)
	if err != nil {
		return false, fmt.Errorf("write config: %w", err)
	}
	return os.SameFile(x, y), nil
}

// writeConfig replaces the file at once and keeps its mode and owner: a config is read by others at any time.
func writeConfig(path string, b []byte) error {
	mode, uid, gid := fs.FileMode(0o640), -1, -1
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
		uid, gid = ownerOf(info)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".rotatord-config-")
	if err != nil {
		return fmt.Errorf("write config: %w", err)
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Chown(uid, gid), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write config: %w", err), os.Remove(tmp.Name()))
	}
	return nil
}
