package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"rotatord/internal/config"
	"rotatord/internal/credspec"
	"rotatord/internal/daemon"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
)

func (c *cli) applyCmd() *cobra.Command {
	var o applyOptions
	cmd := &cobra.Command{Use: "apply [NAME]", Short: "Make the credentials that the config has and their portals have not",
		Long: "Makes the item of each credential that has create and no item: folder, item, app with privileges, item access and referrers, protection.\n" +
			"Then it writes the item's id into the config, and has the first key made by an ordinary rotation. It may be killed anywhere and started\n" +
			"again: it finds what it made and goes on. Of credentials that have their item it makes the portal as the config says where that is harmless:\n" +
			"title, folder, tags, texts, sharing, protection. What would kill both keys is shown and left as it is.\n\n" +
			"--replace brings that about without an outage: it makes a second item as the config says, and the daemon has it take over, with a first key,\n" +
			"proof, every sink and an overlap; then the keys of the item before are revoked and it is deleted. rotatord cancel NAME gives it up until a\n" +
			"sink serves the new key. With create.in_place both keys die at once instead, and a new one is made: it says for how long that breaks what.\n\n" +
			"--dry-run checks and shows what would be done. Ends with 3 where settings differ still.",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.apply(cmd.Context(), args, o) }}
	f := cmd.Flags()
	f.BoolVar(&o.dry, "dry-run", false, "change nothing")
	f.BoolVar(&o.replace, "replace", false, "have another item take over where settings differ that kill both keys; NAME is needed")
	f.BoolVar(&o.keep, "keep-item", false, "with --replace: keep the item before, without keys")
	f.BoolVar(&o.compromised, "compromised", false, "with --replace: somebody else knows the item's client secret or keys; replace it though nothing differs, and without an overlap")
	f.StringVar(&o.to, "to", "", "with --replace: make the new item at this `PORTAL` of the config")
	f.BoolVar(&o.again, "again", false, "make anew what was retired for good under that name")
	confirmFlag(cmd, &o.yes)
	return cmd
}

// applied is what apply would do, or did, for one credential.
type applied struct {
	Credential config.Name        `json:"credential"`
	Portal     string             `json:"portal"`
	Item       string             `json:"item,omitempty"`
	Replaces   string             `json:"replaces,omitempty"` // the item that it takes over from
	Steps      []credspec.Step    `json:"steps,omitempty"`
	Edited     credspec.Changes   `json:"edited,omitempty"`  // of one that has its item: made at the portal just now
	Changes    credspec.Changes   `json:"changes,omitempty"` // and what differs still
	Problems   []credspec.Problem `json:"problems,omitempty"`
	Done       bool               `json:"done"`
}

// applyOptions are apply's flags.
type applyOptions struct {
	dry, yes, replace, keep, compromised, again bool
	to                                          string
}

func (o *applyOptions) check(args []string) error {
	switch {
	case o.replace && len(args) != 1:
		return usage("--replace wants one NAME")
	case !o.replace && (o.keep || o.compromised || o.to != ""):
		return usage("--keep-item, --compromised and --to go with --replace")
	}
	return nil
}

func (c *cli) apply(ctx context.Context, args []string, o applyOptions) error {
	if err := o.check(args); err != nil {
		return err
	}
	a, err := c.openAdapters()
	if err != nil {
		return err
	}
	defer a.close()
	list, err := chosen(a.cfg, args)
	if err != nil {
		return err
	}
	out := []applied{}
	attention := false
	for _, cr := range list {
		if cr.Create == nil {
			if len(args) == 1 {
				return usage("%s has no create in the config: there is nothing to make", cr.Name)
			}
			continue
		}
		r, err := c.applyOne(ctx, a, cr, o)
		if gone, ok := errors.AsType[*retiredError](err); ok && len(args) == 0 {
			c.say("%s: left alone, %v", cr.Name, gone)
			continue
		}
		if err != nil {
			return fmt.Errorf("apply %s: %w", cr.Name, err)
		}
		out = append(out, r)
		attention = attention || len(r.Changes) > 0 || (!o.dry && !r.Done) || hasSpecError(r.Problems)
	}
	if !o.dry {
		if err := c.retarget(ctx, a.cfg.Name(), list); err != nil {
			return err
		}
	}
	if err := c.showApplied(out); err != nil {
		return err
	}
	if attention {
		return &exitError{code: exitAttention}
	}
	return nil
}

func hasSpecError(ps []credspec.Problem) bool {
	for _, p := range ps {
		if !p.Warning {
			return true
		}
	}
	return false
}

func (c *cli) applyOne(ctx context.Context, a *adapters, cr *config.Credential, o applyOptions) (applied, error) {
	out := applied{Credential: cr.Name, Portal: cr.Portal, Item: string(cr.Item)}
	m := newMaker(c, a, cr)
	begun, err := m.resume(ctx)
	if err != nil {
		return out, err
	}
	if err := a.refuseRetired(ctx, cr, begun || o.again); err != nil {
		return out, err
	}
	switch {
	case cr.Made() && !begun && o.replace:
		if err := m.begin(ctx, o, &out); err != nil || out.Done {
			return out, err
		}
	case cr.Made() && !begun:
		out.Edited, out.Changes, err = m.edit(ctx, o.dry, o.yes)
		out.Done = err == nil
		return out, err
	}
	folder, problems, err := m.check(ctx)
	if err != nil {
		return out, err
	}
	out.Problems, out.Steps = problems, m.steps(folder)
	if o.dry || hasSpecError(problems) {
		return out, nil
	}
	if err := c.sure(o.yes, string(cr.Name), "apply"); err != nil {
		return out, err
	}
	out.Steps = nil
	release, err := m.lock()
	if err != nil {
		return out, err
	}
	defer release()
	if out.Steps, err = m.run(ctx); err == nil && m.takes != nil {
		out.Replaces = string(m.takes.From.Item)
	}
	out.Portal, out.Item, out.Done = m.cr.Portal, m.state.Item, err == nil
	return out, err
}

func (c *cli) showApplied(list []applied) error {
	if c.json {
		return c.printJSON(list)
	}
	if len(list) == 0 {
		c.say("no credential of the config has create")
	}
	var b strings.Builder
	for _, r := range list {
		for _, c := range r.Edited {
			fmt.Fprintf(&b, "%s: edited %s\n", r.Credential, c.Line())
		}
		switch {
		case len(r.Changes) > 0:
			fmt.Fprintf(&b, "%s differs from what its portal has (- portal, + config):\n%s", r.Credential, indented(r.Changes.Text()))
			if r.Changes.NeedReplacement() {
				fmt.Fprintf(&b, "  A replacement brings the rest about: rotatord apply %s --replace\n", r.Credential)
			}
		case r.Steps == nil && r.Done:
			fmt.Fprintf(&b, "%s is as the config says\n", r.Credential)
		case r.Done && r.Replaces != "":
			fmt.Fprintf(&b, "%s: item %s of %s takes over from %s\n", r.Credential, r.Item, r.Portal, r.Replaces)
		case r.Done:
			fmt.Fprintf(&b, "%s is made: item %s of %s\n", r.Credential, r.Item, r.Portal)
		default:
			fmt.Fprintf(&b, "%s would be made at %s:\n", r.Credential, r.Portal)
			for _, p := range r.Problems {
				fmt.Fprintf(&b, "  %s\n", p.Text())
			}
			for i, s := range r.Steps {
				fmt.Fprintf(&b, "  %d. %s: %s\n", i+1, s.Act, s.Why)
			}
		}
	}
	return c.print("%s", b.String())
}

func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("  " + line)
	}
	return b.String()
}

// check what only the portal knows, before anything is sent: who we are there, what the
// owner may do, the items to be granted, and that the config can be written.
func (m *maker) check(ctx context.Context) (folder bool, problems []credspec.Problem, err error) {
	if err := m.writable(); err != nil {
		return false, nil, err
	}
	who, err := m.client.Account(ctx, "")
	if err != nil {
		return false, nil, err
	}
	m.owner = who.Username
	product := credspec.Product(m.a.cfg.Portals[m.cr.Portal].Product)
	may := who.Privileges
	if product == credspec.LocationPlatform {
		may = nil // such an account holds privileges that it does not list
	}
	problems = credspec.Validate(m.spec, product, may)
	listed := m.spec.Items // a search finds only what is there
	if m.spec, err = resolved(ctx, m.client, m.spec); err != nil {
		if kind := rotate.KindOf(err); kind != rotate.KindPermanent {
			return false, nil, err
		}
		field := "items_search"
		if m.spec.ItemsSearch == "" {
			field = "items_group"
		}
		problems = append(problems, credspec.Problem{Field: field, What: err.Error(), Cure: "correct it, or write the ids under items"})
	}
	for i, id := range listed {
		d, err := m.client.Details(ctx, rotate.ItemID(id))
		if why := portal.GrantTrouble(rotate.ItemID(id), d, err, who.OrgID); why != "" {
			problems = append(problems, credspec.Problem{Field: fmt.Sprintf("items[%d]", i), What: why, Cure: "correct the id, or leave it out", Warning: err == nil && d.Access == "public"})
		}
	}
	_, folder, err = m.folder(ctx)
	return folder, problems, err
}

// checkAndRun is a run without a person who reads what check finds.
func (m *maker) checkAndRun(ctx context.Context) error {
	_, problems, err := m.check(ctx)
	for _, p := range problems {
		if !p.Warning {
			err = errors.Join(err, errors.New(p.Text()))
		}
	}
	if err != nil {
		return err
	}
	_, err = m.run(ctx)
	return err
}

// writable tries, in memory, what ActRecord will do, and whether the file may be replaced.
func (m *maker) writable() error {
	if m.cr.Made() || m.takes != nil || m.journalled {
		return nil
	}
	if _, err := m.amended(strings.Repeat("0", 32)); err != nil {
		return fmt.Errorf("the item's id could not be written into the config: %w", err)
	}
	f, err := os.OpenFile(m.a.cfg.Name(), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("the item's id could not be written into the config: %w", err)
	}
	return f.Close()
}

func (m *maker) amended(item string) ([]byte, error) {
	src, err := os.ReadFile(m.a.cfg.Name())
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return config.Amend(m.a.cfg.Name(), src, map[config.Name]config.Amendment{m.cr.Name: {Item: config.ItemID(item)}})
}

// firstKey has a running daemon read the config again, or acts without one: the credential
// is adopted, and what follows is an ordinary rotation of a sink that never had a key.
func (m *maker) firstKey(ctx context.Context) error {
	if err := m.a.releaseSinks(ctx, m.cr); err != nil {
		return err
	}
	client := daemon.NewClient(string(m.a.cfg.Admin.Socket))
	defer client.Close()
	if _, err := client.Health(ctx); err == nil {
		if _, err := client.Reload(ctx); err != nil {
			return fmt.Errorf("the item is there and in the config, but the daemon could not take it over: %w", err)
		}
	} else if !daemon.Unreachable(err) {
		return err
	}
	if rotate.Mode(m.cr.Mode) != rotate.ModeRotate {
		m.c.say("%s: mode is %s: the item is there, and no key is made", m.cr.Name, m.cr.Mode)
		return nil
	}
	st, err := m.status(ctx)
	if err != nil {
		return err
	}
	if !st.AdoptedAt.IsZero() { // by a process before this one
		return attentionIsFine(m.aside().goOn(ctx, rotate.CommandAdopt, rotate.Name(m.cr.Name)))
	}
	return attentionIsFine(m.aside().act(ctx, rotate.Command{Kind: rotate.CommandAdopt}, rotate.Name(m.cr.Name)))
}

// attentionIsFine: what else is the matter with a credential is told by status and plan.
func attentionIsFine(err error) error {
	if e, ok := errors.AsType[*exitError](err); ok && e.code == exitAttention && e.err == nil {
		return nil
	}
	return err
}
