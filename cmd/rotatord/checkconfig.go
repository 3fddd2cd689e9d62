package main

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"rotatord/internal/config"
	"rotatord/internal/metrics"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
	"rotatord/internal/sinks"
)

func (c *cli) checkConfigCmd() *cobra.Command {
	var online bool
	cmd := &cobra.Command{Use: "check-config", Short: "Report every mistake of the config, and with --online everything that would not work",
		Long: "Reads the config and the files it names, and reports every problem with its place, an excerpt and the cure.\n" +
			"--online also asks portals, sinks and notifiers whether what the config wants is possible. It changes nothing and tells nobody. Ends with 2 on any problem.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.checkConfig(cmd.Context(), online) }}
	cmd.Flags().BoolVar(&online, "online", false, "ask portals, sinks and notifiers too")
	return cmd
}

// finding is one result of an online check.
type finding struct {
	Severity   string      `json:"severity"`
	Portal     string      `json:"portal,omitempty"`
	Sink       string      `json:"sink,omitempty"`
	Notifier   string      `json:"notifier,omitempty"`
	Credential rotate.Name `json:"credential,omitempty"`
	Sentence   string      `json:"sentence"`
	Cure       string      `json:"cure,omitempty"`
}

// checkReport is the output of check-config --json.
type checkReport struct {
	File     string           `json:"file"`
	OK       bool             `json:"ok"`
	Problems []config.Problem `json:"problems"`
	Online   []finding        `json:"online,omitempty"`
}

func (c *cli) checkConfig(ctx context.Context, online bool) error {
	report := checkReport{File: c.configPath, Problems: []config.Problem{}}
	cfg, err := config.Load(c.configPath)
	problems, bad := errors.AsType[config.Problems](err)
	switch {
	case bad:
		report.Problems = problems
	case err != nil:
		return &exitError{exitUsage, err}
	default:
		report.Problems = append(report.Problems, cfg.CheckFiles()...)
		if online && !hasError(report) {
			if report.Online, err = c.checkOnline(ctx, cfg); err != nil {
				return err
			}
		}
	}
	report.OK = !hasError(report)
	if err := c.showCheck(report); err != nil {
		return err
	}
	if !report.OK {
		return &exitError{code: exitUsage}
	}
	return nil
}

// hasError tells whether anything is worse than a warning.
func hasError(r checkReport) bool {
	return slices.ContainsFunc(r.Problems, func(p config.Problem) bool { return !p.Warning }) ||
		slices.ContainsFunc(r.Online, func(f finding) bool { return f.Severity == string(portal.SeverityError) })
}

func (c *cli) showCheck(r checkReport) error {
	if c.json {
		return c.printJSON(r)
	}
	for _, p := range r.Problems {
		c.say("%s", p.Text())
	}
	for _, f := range r.Online {
		where := f.Portal
		if f.Sink != "" {
			where = f.Sink
		}
		if f.Notifier != "" {
			where = "alerts." + f.Notifier
		}
		if f.Credential != "" {
			where += " " + string(f.Credential)
		}
		c.say("%s: %s: %s", f.Severity, where, f.Sentence)
		if f.Cure != "" {
			c.say("  cure: %s", f.Cure)
		}
	}
	if !r.OK {
		return nil
	}
	return c.print("%s is fine\n", r.File)
}

func (c *cli) checkOnline(ctx context.Context, cfg *config.Config) ([]finding, error) {
	log, err := c.logger(cfg)
	if err != nil {
		return nil, err
	}
	a, err := newAdapters(cfg, log, metrics.New(metrics.Options{}))
	if err != nil {
		return nil, err
	}
	defer a.close()
	var out []finding
	for _, name := range slices.Sorted(maps.Keys(a.portals)) {
		out = append(out, a.checkPortal(ctx, name)...)
		out = append(out, a.checkOwnKey(ctx, name)...)
		out = append(out, a.checkUsage(ctx, name)...)
		out = append(out, a.checkItems(ctx, name)...)
	}
	out = append(out, a.checkSinks(ctx)...)
	out = append(out, checkSlack(ctx, cfg)...)
	return append(out, checkNotifiers(ctx, cfg, log)...), nil
}

func (a *adapters) checkPortal(ctx context.Context, name string) []finding {
	names := map[rotate.ItemID]rotate.Name{}
	req := portal.CheckRequest{Verb: portal.VerbWatch}
	for _, cr := range a.cfg.Made() {
		if cr.Portal != name {
			continue
		}
		id := rotate.ItemID(cr.Item)
		names[id] = rotate.Name(cr.Name)
		req.Items = append(req.Items, portal.CheckItem{Item: id})
		if rotate.Mode(cr.Mode) == rotate.ModeRotate {
			req.Verb = portal.VerbRotate
		}
	}
	var out []finding
	for _, f := range a.portals[name].Check(ctx, req) {
		out = append(out, finding{Severity: string(f.Severity), Portal: name, Credential: names[f.Item], Sentence: f.Sentence, Cure: f.Cure})
	}
	return out
}

// vaultSpecs are the Vault secrets that the config's credentials, and our own identities, live in.
func vaultSpecs(cfg *config.Config) []sinks.SinkSpec {
	var specs []sinks.SinkSpec
	for _, name := range slices.Sorted(maps.Keys(cfg.Portals)) {
		if p := cfg.Portals[name]; p.Identity.OAuth != nil && p.IdentityStore.Vault != nil {
			specs = append(specs, grantSpec(p.IdentityStore.Vault))
		}
	}
	for _, cr := range cfg.Credentials {
		beside, _ := cr.FirstVault()
		for _, t := range cr.Targets() {
			if t == beside && cr.Quiet != nil {
				specs = append(specs, ackSpec(t, cr.Quiet))
			} else if v := t.Vault; v != nil {
				specs = append(specs, sinks.SinkSpec{Name: t.Sink, Mount: v.Mount, Path: t.Path, KeyField: v.KeyField, MetaField: v.MetaField})
			}
		}
	}
	return specs
}

// vaultPolicy is the least that our Vault identity needs.
func vaultPolicy(cfg *config.Config) string {
	policy := sinks.Policy(vaultSpecs(cfg))
	if v := cfg.Vault; v != nil && v.Auth.AppRole != nil && v.Auth.AppRole.Rotate != nil {
		policy += sinks.SecretIDPolicy(v.Auth.AppRole.Mount, v.Auth.AppRole.Role)
	}
	return policy
}

// checkOwnKey finds a key that we only read, and whose credential we are asked to rotate: with its old key we would
// lose our own sign-in.
func (a *adapters) checkOwnKey(ctx context.Context, name string) []finding {
	if a.cfg.Portals[name].Identity.APIKey.IsZero() {
		return nil
	}
	self, err := a.portals[name].Whoami(ctx)
	if err != nil {
		return nil // Check says so
	}
	var out []finding
	for _, cr := range a.cfg.Credentials {
		if rotate.ItemID(cr.Item) == self.KeyItem && rotate.Mode(cr.Mode) == rotate.ModeRotate {
			out = append(out, finding{Severity: string(portal.SeverityError), Portal: name, Credential: rotate.Name(cr.Name),
				Sentence: "rotatord itself signs in to " + name + " with a key of this credential, which it only reads: its rotation would not reach identity.api_key, and the old key could never be retired.",
				Cure:     "Write own_key: " + string(cr.Name) + " instead of api_key, and run: rotatord login " + name + " < FILE"})
		}
	}
	return out
}

func (a *adapters) checkSinks(ctx context.Context) []finding {
	var out []finding
	if specs := vaultSpecs(a.cfg); a.vault != nil && len(specs) > 0 {
		for _, f := range a.vault.Check(ctx, specs) {
			out = append(out, finding{Severity: string(f.Severity), Sink: cmp.Or(f.Sink, "vault"), Sentence: f.Sentence, Cure: f.Cure})
		}
	}
	for _, m := range a.fleet.Credentials {
		for _, s := range m.Sinks {
			if counted, ok := s.(*countedSink); ok {
				s = counted.Sink
			}
			if _, isFile := s.(*sinks.File); !isFile {
				continue
			}
			if _, err := s.Read(ctx); err != nil {
				out = append(out, finding{Severity: string(sinks.SeverityError), Sink: s.Name(), Credential: m.Name,
					Sentence: "The file cannot be used: " + err.Error() + ".", Cure: "Make its folder, owned by rotatord's user."})
			}
		}
	}
	return out
}
