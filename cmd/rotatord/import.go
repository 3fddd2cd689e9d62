package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rotatord/internal/config"
	"rotatord/internal/credspec"
	"rotatord/internal/portal"
)

func (c *cli) importCmd() *cobra.Command {
	var write string
	var all, again bool
	cmd := &cobra.Command{Use: "import [NAME | --all]", Short: "Write the settings that a credential has at its portal as config",
		Long: "Reads title, folder, tags, texts, privileges, item access, referrers and protection from the portal, and prints the create for them.\n" +
			"--write FILE puts it below the credential's name in a copy of the config; every other byte stays. FILE may be the config itself.\n" +
			"It changes nothing at the portal. A credential that has create already is left alone, which rotatord plan compares; with --again its create\n" +
			"is written anew from what the portal has, and keeps use, acknowledge, and a search or group that comes to the same items.",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return usage("name one credential, or say --all")
			}
			return c.importSettings(cmd.Context(), args, write, again)
		}}
	cmd.Flags().BoolVar(&all, "all", false, "every credential of the config")
	cmd.Flags().BoolVar(&again, "again", false, "also credentials that have create: it is replaced")
	cmd.Flags().StringVar(&write, "write", "", "write the config with the settings to `FILE`")
	return cmd
}

// imported is what became of one credential.
type imported struct {
	Credential config.Name        `json:"credential"`
	Portal     string             `json:"portal"`
	Item       config.ItemID      `json:"item"`
	Settings   *credspec.Settings `json:"settings,omitempty"`
	Skipped    string             `json:"skipped,omitempty"` // why it was left alone
	Error      string             `json:"error,omitempty"`
	create     *config.Create
}

func (c *cli) importSettings(ctx context.Context, args []string, write string, again bool) error {
	a, err := c.openAdapters()
	if err != nil {
		return err
	}
	defer a.close()
	list, err := chosen(a.cfg, args)
	if err != nil {
		return err
	}
	reader := settingsReader{adapters: a, folders: map[[2]string][]portal.Folder{}}
	results, failed := make([]imported, len(list)), 0
	add := map[config.Name]config.Amendment{}
	for i, cr := range list {
		results[i] = reader.one(ctx, cr, again)
		if results[i].Error != "" {
			failed++
		}
		if n := results[i].create; n != nil {
			add[cr.Name] = config.Amendment{Create: n, Again: again}
		}
	}
	if write != "" && len(add) > 0 {
		if err := c.writeAmended(a.cfg, write, add); err != nil {
			return err
		}
	}
	if err := c.showImported(results, write == ""); err != nil {
		return err
	}
	switch {
	case failed == 0:
		return nil
	case len(list) == 1:
		return &exitError{code: exitFailed}
	}
	return &exitError{code: exitAttention}
}

// chosen are the named credentials; all without a name.
func chosen(cfg *config.Config, args []string) ([]*config.Credential, error) {
	if len(args) == 0 {
		return cfg.Credentials, nil
	}
	known := make([]string, len(cfg.Credentials))
	for i, cr := range cfg.Credentials {
		if known[i] = string(cr.Name); known[i] == args[0] {
			return cfg.Credentials[i : i+1], nil
		}
	}
	if guess := nearest(args[0], known); guess != "" {
		return nil, usage("no credential %s in the config; did you mean %s?", args[0], guess)
	}
	return nil, usage("no credential %s in the config", args[0])
}

func (r settingsReader) one(ctx context.Context, cr *config.Credential, again bool) imported {
	out := imported{Credential: cr.Name, Portal: cr.Portal, Item: cr.Item}
	switch {
	case !cr.Made():
		out.Skipped = "it has no item yet"
		return out
	case cr.Create != nil && !again:
		out.Skipped = "it has create already"
		return out
	}
	s, err := r.settings(ctx, cr)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	spec := credspec.SpecOf(s)
	if was := r.cfg.Spec(cr); was != nil {
		keepMeant(ctx, r.portals[cr.Portal], &spec, was)
	}
	for _, p := range credspec.Validate(&spec, credspec.Product(r.cfg.Portals[cr.Portal].Product), nil) {
		if !p.Warning {
			out.Error = "what the portal has cannot stand in the config: " + p.Text()
			return out
		}
	}
	out.Settings, out.create = &s, config.CreateOf(&spec)
	return out
}

// keepMeant takes from what the config said what the portal does not keep: the use, with what
// goes with it, and a search or group where that comes to the same items.
func keepMeant(ctx context.Context, client *portal.Client, spec, was *credspec.Spec) {
	spec.Use, spec.AcknowledgePersonal = was.Use, was.AcknowledgePersonal || spec.AcknowledgePersonal && was.Use != credspec.UsePublic
	everywhere := []string{credspec.AnyReferrer}
	if was.Use == credspec.UsePublic && slices.Equal(spec.Referrers, everywhere) && !slices.Equal(was.Referrers, everywhere) {
		spec.Referrers = nil // that it may be used from everywhere is for a person to say
	}
	if want, err := resolved(ctx, client, was); err == nil && was.Sourced() && slices.Equal(want.Items, spec.Items) {
		spec.Items, spec.ItemsSearch, spec.ItemsGroup = was.Items, was.ItemsSearch, was.ItemsGroup
	}
}

func (c *cli) showImported(results []imported, text bool) error {
	if c.json {
		return c.printJSON(results)
	}
	var b strings.Builder
	for _, r := range results {
		switch {
		case r.Error != "":
			c.say("%s: %s", r.Credential, r.Error)
		case r.Skipped != "":
			c.say("%s: left alone, %s", r.Credential, r.Skipped)
		case text:
			fmt.Fprintf(&b, "  - name: %s\n    item: %s\n%s", r.Credential, r.Item, r.create.Text("    "))
		}
	}
	return c.print("%s", b.String())
}

// writeAmended writes a copy of the config, or the config itself, and nothing else that is there.
func (c *cli) writeAmended(cfg *config.Config, path string, add map[config.Name]config.Amendment) error {
	src, err := os.ReadFile(cfg.Name())
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	out, err := config.Amend(cfg.Name(), src, add)
	if err != nil {
		return err
	}
	if err := checkTarget(path, cfg.Name()); err != nil {
		return err
	}
	if err := writeConfig(path, out); err != nil {
		return err
	}
	c.say("%s: %s with settings", path, plural(len(add), "credential"))
	return nil
}

// checkTarget refuses to overwrite what is not the config.
func checkTarget(path, configPath string) error {
	same, err := sameFile(path, configPath)
	if err != nil {
		return err
	}
	if !same {
		if _, err := os.Lstat(path); err == nil {
			return usage("%s is there already; name a new file, or the config itself", path)
		}
	}
	return nil
}
