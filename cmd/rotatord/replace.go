package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/credspec"
	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

// takeover is what a maker's item is made for: to take another one's place.
type takeover struct {
	From        rotate.ID `json:"from"`
	Portal      string    `json:"portal"` // that the new one is made at
	Keep        bool      `json:"keep,omitempty"`
	Compromised bool      `json:"compromised,omitempty"`
}

// begin a replacement, if there is anything to replace; Done is set where there is not, or
// where the config wants it done in place.
func (m *maker) begin(ctx context.Context, o applyOptions, out *applied) error {
	if o.to != "" && m.a.portals[o.to] == nil {
		return unknownPortal(o.to, slices.Sorted(maps.Keys(m.a.portals)))
	}
	want, err := resolved(ctx, m.client, m.spec)
	if err != nil {
		return err
	}
	have, err := m.have(ctx)
	if err != nil && !(o.compromised && rotate.CauseOf(err) == rotate.CauseNotFound) {
		return err
	}
	left := credspec.Diff(want, have)
	moves := o.to != "" && o.to != m.cr.Portal
	if !left.NeedReplacement() && !o.compromised && !moves {
		m.c.say("%s differs in nothing that kills keys: there is nothing to replace", m.cr.Name)
		out.Edited, out.Changes, err = m.edit(ctx, o.dry, o.yes)
		out.Done = err == nil
		return err
	}
	if m.cr.Create.InPlace && !o.compromised && !moves {
		out.Done = true
		out.Changes = left
		return m.inPlace(ctx, o, want, have, out)
	}
	if err := m.ready(ctx); err != nil {
		return err
	}
	t := &takeover{From: m.id(), Portal: m.cr.Portal, Keep: o.keep, Compromised: o.compromised}
	if moves {
		t.Portal = o.to
	}
	out.Replaces = string(t.From.Item)
	m.aim(t)
	return nil
}

func (m *maker) id() rotate.ID {
	return rotate.ID{Portal: rotate.PortalID(m.cr.Portal), Item: rotate.ItemID(m.cr.Item)}
}

// aim the maker at a takeover's item.
func (m *maker) aim(t *takeover) {
	m.takes = t
	if t == nil || t.Portal == m.cr.Portal {
		return
	}
	there := *m.cr
	there.Portal = t.Portal
	m.cr, m.client = &there, m.a.portals[t.Portal]
}

// status of the credential, from whoever has its journal.
func (m *maker) status(ctx context.Context) (st daemon.Status, err error) {
	if m.ask != nil {
		return m.ask(ctx)
	}
	s, err := m.c.connect(ctx, "")
	if err != nil {
		return st, err
	}
	defer func() { _ = s.Close() }() // it was only read
	all, err := s.Status(ctx, rotate.Name(m.cr.Name))
	if err != nil {
		return st, explain(err)
	}
	if len(all) != 1 {
		return st, fmt.Errorf("%d credentials are called %s", len(all), m.cr.Name)
	}
	return all[0], nil
}

// ready tells why a replacement would be refused, before anything is made for it.
func (m *maker) ready(ctx context.Context) error {
	st, err := m.status(ctx)
	switch {
	case err != nil:
		return err
	case st.AdoptedAt.IsZero():
		return fmt.Errorf("it was never adopted: run rotatord adopt %s first", m.cr.Name)
	case st.Mode != rotate.ModeRotate:
		return fmt.Errorf("its mode is %s: set mode: rotate first", st.Mode)
	case st.Former != nil:
		return fmt.Errorf("item %s of the last replacement is not retired yet: wait for that, or rotatord cancel %s where no sink serves the new key", st.Former.Item, m.cr.Name)
	case st.Request != nil:
		return fmt.Errorf("%s was already asked for by %s: rotatord cancel %s drops it", st.Request.Kind, st.Request.By, m.cr.Name)
	}
	return nil
}

// steps of what is to be made, for people.
func (m *maker) steps(folder bool) []credspec.Step {
	steps := credspec.Steps(m.spec, folder)
	if m.takes == nil {
		return steps
	}
	steps = slices.DeleteFunc(steps, func(s credspec.Step) bool { return s.Act == credspec.ActRecord })
	last := &steps[len(steps)-1]
	last.Why = "it takes over from item " + string(m.takes.From.Item) + ": its key is made, proved and written into every sink; the old keys go after the overlap"
	return steps
}

// resume what an earlier process began; begun is false where there is nothing to go on
// with. What it had handed over already is over: only the end of its progress was lost.
func (m *maker) resume(ctx context.Context) (begun bool, err error) {
	cr, client := m.cr, m.client
	if begun, err = m.load(); err != nil || !begun || m.takes == nil || m.state.Item == "" {
		return begun, err
	}
	st, err := m.status(ctx)
	if err != nil || !takenOver(st, rotate.ItemID(m.state.Item)) {
		return true, err
	}
	if err := m.file().remove(); err != nil {
		return false, err
	}
	m.cr, m.client, m.takes = cr, client, nil
	return m.load()
}

// takenOver tells whether the item that was to take over has done so, or was given up after that.
func takenOver(st daemon.Status, item rotate.ItemID) bool {
	return st.Item == item || st.Former != nil && st.Former.Item == item
}

// handOver orders that the item takes over.
func (m *maker) handOver(ctx context.Context) error {
	heir := &rotate.Heir{ID: rotate.ID{Portal: rotate.PortalID(m.takes.Portal), Item: rotate.ItemID(m.state.Item)}, Made: true, Keep: m.takes.Keep,
		Compromised: m.takes.Compromised}
	st, err := m.status(ctx)
	if err != nil || takenOver(st, heir.ID.Item) {
		return err
	}
	return m.order(ctx, rotate.Command{Kind: rotate.CommandReplace, Heir: heir}) // given again, it is gone on with
}

// aside is a command line whose results go where apply's messages go: what is printed to the pipe is apply's own.
func (m *maker) aside() *cli {
	quiet := &cli{stdio: m.c.stdio, configPath: m.c.configPath, logLevel: m.c.logLevel}
	quiet.out = m.c.err
	return quiet
}

// order a command of whoever looks after the credential, and watch what becomes of it.
func (m *maker) order(ctx context.Context, cmd rotate.Command) error {
	if m.command != nil {
		return m.command(ctx, cmd)
	}
	return attentionIsFine(m.aside().act(ctx, cmd, rotate.Name(m.cr.Name)))
}

// retarget has the config name the items that the journal knows. Without it everything works
// too, so what cannot be written is only said.
func (c *cli) retarget(ctx context.Context, path string, list []*config.Credential) error {
	fresh, err := config.Load(path)
	if err != nil {
		return err
	}
	said := make(map[config.Name]config.ItemID, len(fresh.Credentials))
	for _, cr := range fresh.Credentials {
		said[cr.Name] = cr.Item
	}
	if err := followAnyone(ctx, fresh); err != nil {
		return err
	}
	for _, is := range fresh.Credentials {
		was := said[is.Name]
		wanted := slices.ContainsFunc(list, func(cr *config.Credential) bool { return cr.Name == is.Name })
		if !wanted || was == "" || was == is.Item {
			continue
		}
		if err := c.retargetOne(path, is); err != nil {
			c.say("%s: the journal knows that it is item %s now; have the config say so when you can: %v", is.Name, is.Item, err)
			continue
		}
		c.say("%s: the config names item %s now", is.Name, is.Item)
	}
	return nil
}

func (c *cli) retargetOne(path string, is *config.Credential) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read config: %w", err)
	}
	out, err := config.Retarget(path, src, is.Name, is.Portal, is.Item)
	if err != nil || out == nil {
		return err
	}
	return writeConfig(path, out)
}

// inPlace edits the app that is in use: both keys die at once, and a new one is made.
func (m *maker) inPlace(ctx context.Context, o applyOptions, want *credspec.Spec, have credspec.Settings, out *applied) error {
	app, err := m.client.AppSettings(ctx, rotate.ItemID(m.cr.Item), have.Owner)
	if err != nil {
		return err
	}
	if !m.c.json {
		m.c.say("%s, in place:\n%s%s", m.cr.Name, indented(out.Changes.Text()), m.outage(ctx))
	}
	if o.dry {
		return nil
	}
	if err := m.c.sure(o.yes, string(m.cr.Name), "apply --replace in place"); err != nil {
		return err
	}
	if err := m.editApp(ctx, app, want); err != nil {
		return err
	}
	out.Edited, out.Changes = out.Changes, nil
	return m.order(ctx, rotate.Command{Kind: rotate.CommandRotate, Text: "its app was edited in place, which killed both keys"})
}

// outage says for how long an edit in place breaks what, from the credential's own history.
func (m *maker) outage(ctx context.Context) string {
	text := "  Both keys die at once. A new one is made then; "
	took := time.Duration(0)
	if s, err := m.c.connect(ctx, ""); err == nil {
		entries, err := s.History(ctx, daemon.HistoryQuery{Name: rotate.Name(m.cr.Name), Limit: 500})
		if err == nil {
			took = slowest(entries)
		}
		_ = s.Close() // it was only read
	}
	switch {
	case took == 0:
		text += "how long that takes here is not known yet, some seconds as a rule"
	case took < time.Second:
		text += "from its start to the last sink its rotations took less than a second"
	default:
		text += "from its start to the last sink its rotations took " + took.Round(time.Second).String() + " at most"
	}
	return text + ".\n  Until then, and until they read the new key, all of its consumers fail."
}

// slowest of the rotations in a history, from the start to the promotion.
func slowest(entries []daemon.HistoryEntry) time.Duration {
	began := map[string]time.Time{}
	longest := time.Duration(0)
	for _, e := range entries {
		switch e.Kind {
		case rotate.EventStarted:
			began[e.RotationID] = e.At
		case rotate.EventPromoted:
			if at, ok := began[e.RotationID]; ok {
				longest = max(longest, e.At.Sub(at))
			}
		default:
		}
	}
	return longest
}
