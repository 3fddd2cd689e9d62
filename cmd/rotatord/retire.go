package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/journal"
	"rotatord/internal/rotate"
	used "rotatord/internal/usage"
)

// What becomes of a retired credential's sinks and item.
const (
	sinkKeep   = "keep"
	sinkClear  = "clear"
	sinkDelete = "delete"
	itemKeep   = "keep"
	itemDelete = "delete"
)

type retireFlags struct {
	sink, item           string
	take, undo, dry, yes bool
}

func (c *cli) retireCmd() *cobra.Command {
	var f retireFlags
	cmd := &cobra.Command{Use: "retire NAME", Short: "End a credential for good: both keys, what sinks serve, and its item",
		Long: "Invalidates both keys and proves that they are dead, takes the key out of the sinks, and with --item delete unregisters the app and\n" +
			"deletes the item. It shows first who consumes it. The history says that it was retired, and no key is made for that item\n" +
			"again, also where the config still has it: remove it there. It may be killed anywhere and started again. --undo lets an item that\n" +
			"was kept be adopted again.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{sinkKeep, sinkClear, sinkDelete}, f.sink) {
				return usage("--sink: want keep, clear or delete")
			}
			if !slices.Contains([]string{itemKeep, itemDelete}, f.item) {
				return usage("--item: want keep or delete")
			}
			return c.retire(cmd.Context(), args[0], f)
		}}
	fl := cmd.Flags()
	fl.StringVar(&f.sink, "sink", sinkClear, "what becomes of the sinks: keep leaves the dead key, clear takes it out, delete removes the secret or file")
	fl.StringVar(&f.item, "item", itemKeep, "what becomes of the item at the portal: keep, or delete with its app")
	fl.BoolVar(&f.take, "take-slot", false, "also a key that somebody unknown made")
	fl.BoolVar(&f.undo, "undo", false, "an item that was retired may be adopted again")
	fl.BoolVar(&f.dry, "dry-run", false, "change nothing")
	confirmFlag(cmd, &f.yes)
	return cmd
}

// retiredReport is what retire would do, or did.
type retiredReport struct {
	Credential config.Name     `json:"credential"`
	Portal     string          `json:"portal"`
	Item       config.ItemID   `json:"item"`
	Consumers  []string        `json:"consumers,omitempty"`
	Acks       []lastWord      `json:"acknowledged,omitempty"`
	LastUsed   string          `json:"last_used,omitempty"` // the last UTC day of which the portal told requests
	Serves     rotate.KeyFacts `json:"serves,omitzero"`
	Steps      []string        `json:"steps"`
	Done       bool            `json:"done"`
}

// lastWord of a consumer about the key that it runs.
type lastWord struct {
	Consumer    string             `json:"consumer"`
	Fingerprint rotate.Fingerprint `json:"fingerprint,omitempty"`
	At          time.Time          `json:"at"`
}

func (c *cli) retire(ctx context.Context, name string, f retireFlags) (err error) {
	a, err := c.openAdapters()
	if err != nil {
		return err
	}
	defer a.close()
	list, err := chosen(a.cfg, []string{name})
	if err != nil {
		return err
	}
	return c.retireFrom(ctx, newRetirer(c, a, list[0]), f)
}

// retireFrom where an earlier try has come to.
func (c *cli) retireFrom(ctx context.Context, r *retirer, f retireFlags) error {
	name := r.cr.Name
	if !r.cr.Made() {
		return usage("%s has no item yet: there is nothing to retire", name)
	}
	if portal := r.cr.OwnKeyOf(); portal != "" {
		return usage("%s: the daemon signs in to portal %s with its key; give portals.%s.identity another one first", name, portal, portal)
	}
	if !f.dry {
		release, err := r.file().lock("retire of " + string(name))
		if err != nil {
			return err
		}
		defer release()
	}
	gone, err := r.a.retired(ctx)
	if err != nil {
		return err
	}
	was, ended := gone[r.id()]
	begun, err := r.file().read(&r.state)
	if err != nil {
		return err
	}
	switch {
	case f.undo && !ended:
		return usage("%s is not retired", name)
	case f.undo:
		return c.unretire(ctx, r, was)
	case ended && !begun:
		return &exitError{exitFailed, errors.New(retiredText(was, r.a.cfg.Name()))}
	case !begun:
		r.state = retirement{ID: r.id(), By: daemon.Actor(), Sink: f.sink, Item: f.item, Take: f.take}
	}
	r.state.Ended, r.state.Take = r.state.Ended || ended, r.state.Take || f.take
	return c.retireNow(ctx, r, f, begun)
}

// retireNow checks, asks and acts.
func (c *cli) retireNow(ctx context.Context, r *retirer, f retireFlags, begun bool) (err error) {
	report := retiredReport{Credential: r.cr.Name, Portal: r.cr.Portal, Item: r.cr.Item, Consumers: r.cr.Consumers}
	if !r.state.Ended {
		holder := "retire"
		if f.dry {
			holder = ""
		}
		if r.session, err = c.connect(ctx, holder); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.session.Close()) }()
		st, err := r.precheck(ctx, begun)
		if err != nil {
			return err
		}
		report.Serves = st.Live
	}
	if err := r.uses(ctx, &report); err != nil {
		return err
	}
	if f.dry {
		report.Steps = r.plan()
		return c.showRetired(report, true)
	}
	c.sayWhatDies(report)
	if err := c.sure(f.yes, string(r.cr.Name), "retire"); err != nil {
		return err
	}
	if !begun {
		if err := r.save(r.state); err != nil {
			return err
		}
	}
	err = r.run(ctx)
	report.Steps, report.Done = r.steps, err == nil
	return errors.Join(c.showRetired(report, false), err)
}

func newRetirer(c *cli, a *adapters, cr *config.Credential) *retirer {
	return &retirer{c: c, a: a, cr: cr, client: a.portals[cr.Portal], steps: []string{}, kill: func(string) error { return nil }}
}

func (r *retirer) id() rotate.ID {
	return rotate.ID{Portal: rotate.PortalID(r.cr.Portal), Item: rotate.ItemID(r.cr.Item)}
}

// precheck refuses what would stop half-way, or kill what is not ours.
func (r *retirer) precheck(ctx context.Context, begun bool) (daemon.Status, error) {
	st, err := r.status(ctx)
	if err != nil {
		return st, err
	}
	refuse := func(format string, args ...any) error {
		return &exitError{exitFailed, fmt.Errorf("retire "+string(r.cr.Name)+" refused: "+format, args...)}
	}
	switch {
	case st.Mode != rotate.ModeRotate:
		return st, refuse("mode is %s: rotatord changes nothing of it; set mode: rotate, or delete the item at its portal", st.Mode)
	case st.AdoptedAt.IsZero():
		return st, refuse("it was never adopted; run `rotatord adopt %s` first, or delete the item at its portal", r.cr.Name)
	case st.Former != nil:
		return st, refuse("the item before it, %s, still has keys until %s; wait for that", st.Former.Item, st.Former.RetireAt.Format(time.RFC3339))
	case st.Phase.InCutOver():
		return st, refuse("a rotation is in its phase %s; wait for it", st.Phase)
	case st.Request != nil && !begun:
		return st, refuse("%s was asked for by %s and waits; `rotatord cancel %s` drops it", st.Request.Kind, st.Request.By, r.cr.Name)
	}
	known, err := r.journalled(ctx)
	if err == nil && known != r.id() {
		err = refuse("the journal knows item %s under that name, the config says %s; `rotatord plan %s` says why", known, r.id(), r.cr.Name)
	}
	if err != nil {
		return st, err
	}
	foreign, err := r.foreign(ctx, st)
	if err == nil && foreign != rotate.NoSlot && !r.state.Take {
		err = refuse("slot %s holds a key that rotatord did not make, and somebody may use; --take-slot retires it with the rest", foreign)
	}
	return st, err
}

// journalled is the item that the journal has under the name.
func (r *retirer) journalled(ctx context.Context) (id rotate.ID, err error) {
	db, err := readJournal(ctx, r.a.cfg)
	if db == nil {
		return id, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	record, err := db.Load(ctx, rotate.Name(r.cr.Name))
	return record.ID, err
}

// uses tells who would notice, as far as anybody said.
func (r *retirer) uses(ctx context.Context, into *retiredReport) (err error) {
	db, err := readJournal(ctx, r.a.cfg)
	if db == nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	name := rotate.Name(r.cr.Name)
	acks, err := db.Acks().List(ctx, name)
	if err != nil {
		return err
	}
	for _, a := range acks {
		into.Acks = append(into.Acks, lastWord{Consumer: a.Consumer, Fingerprint: a.Fingerprint, At: a.At})
	}
	rows, err := db.Usage(ctx, name, int(used.DayOf(time.Now()))-used.BackfillDays)
	for _, row := range rows {
		if row.Service != "" && row.Requests > 0 {
			into.LastUsed = used.Day(row.Day).String()
		}
	}
	return err
}

// plan for a dry run.
func (r *retirer) plan() []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if !r.state.Ended {
		add("hold it, so that no key is made")
		add("invalidate both keys, the served one last, and prove that they are dead")
		add("note in the journal that it is retired for good")
	}
	for _, t := range r.cr.Targets() {
		switch r.state.Sink {
		case sinkClear:
			add("take the key out of sink %s (%s), and leave its facts there", t.Sink, t.Path)
		case sinkDelete:
			add("delete %s from sink %s", t.Path, t.Sink)
		default:
			add("leave the dead key in sink %s (%s)", t.Sink, t.Path)
		}
	}
	if r.state.Item == itemDelete {
		add("unprotect item %s, unregister its app, and delete it", r.state.ID.Item)
	} else {
		add("keep item %s with its app: who has its client secret can make keys", r.state.ID.Item)
	}
	return out
}

// sayWhatDies before the question.
func (c *cli) sayWhatDies(r retiredReport) {
	c.say("%s (item %s of %s) is retired for good: both keys die at once, without an overlap.", r.Credential, r.Item, r.Portal)
	if r.Serves.Fingerprint != "" {
		c.say("  serves     %s", r.Serves.Fingerprint)
	}
	c.say("  consumers  %s", orDash(strings.Join(r.Consumers, ", ")))
	for _, a := range r.Acks {
		c.say("  runs it    %s, said %s (%s)", a.Consumer, a.At.UTC().Format(time.RFC3339), orDash(string(a.Fingerprint)))
	}
	if r.LastUsed != "" {
		c.say("  last used  %s", r.LastUsed)
	}
}

func (c *cli) showRetired(r retiredReport, dry bool) error {
	if c.json {
		return c.printJSON(r)
	}
	if dry {
		c.sayWhatDies(r)
		var b strings.Builder
		fmt.Fprintf(&b, "%s would be retired:\n", r.Credential)
		for i, s := range r.Steps {
			fmt.Fprintf(&b, "  %d. %s\n", i+1, s)
		}
		return c.print("%s", b.String())
	}
	if !r.Done {
		return nil
	}
	return c.print("%s is retired for good; remove it from the config\n", r.Credential)
}

// unretire with a daemon or without one.
func (c *cli) unretire(ctx context.Context, r *retirer, was journal.Retired) (err error) {
	s, err := c.connect(ctx, "retire")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := r.a.releaseSinks(ctx, r.cr); err != nil {
		return err
	}
	if s.client != nil {
		err = s.client.Ask(ctx, http.MethodPost, "/v1/retire", nil, retireOrder{Name: was.Name, ID: was.ID, Undo: true}, new(string))
	} else {
		err = s.app.db.Unretire(ctx, journal.Retired{Name: was.Name, ID: was.ID, By: daemon.Actor()})
	}
	if err != nil {
		return err
	}
	return c.print("%s may be adopted again: `rotatord adopt %s`\n", r.cr.Name, r.cr.Name)
}
