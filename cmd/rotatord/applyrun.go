package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/credspec"
	"rotatord/internal/daemon"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
)

// maker makes one credential, step by step. Its progress is STATE/creations/NAME.json: apply
// works beside a running daemon.
type maker struct {
	c      *cli
	a      *adapters
	cr     *config.Credential
	client *portal.Client
	spec   *credspec.Spec
	owner  string
	// asked: this process has asked the portal to register the items that its search came to. Before that, what an
	// earlier one registered is what the search came to then.
	asked bool
	// adapted: this process has edited the app to the specification, and the portal said that it did.
	adapted bool
	state   credspec.Creation
	takes   *takeover // nil: the credential has no item yet
	// journalled: the item's id goes into the journal, and not into the config.
	journalled bool
	// ask and command, if set, reach the daemon that this maker is a part of.
	ask     func(ctx context.Context) (daemon.Status, error)
	command func(ctx context.Context, cmd rotate.Command) error
	// kill is for tests: it is called before and after every effect and every write.
	kill func(point string) error
}

func newMaker(c *cli, a *adapters, cr *config.Credential) *maker {
	return &maker{c: c, a: a, cr: cr, client: a.portals[cr.Portal], spec: a.cfg.Spec(cr), kill: func(string) error { return nil }}
}

// silentMaker is a maker of the daemon's: what it does is in the log and the history.
func silentMaker(a *adapters, cr *config.Credential, spec *credspec.Spec) *maker {
	m := newMaker(&cli{stdio: stdio{out: io.Discard, err: io.Discard}, json: true}, a, cr)
	m.spec = spec
	return m
}

func (m *maker) file() progressFile { return progressOf(m.a.cfg, "creations", m.cr.Name) }

// progress is what is on disk.
type progress struct {
	credspec.Creation
	Takeover *takeover `json:"takeover,omitempty"`
}

// load the progress; begun tells whether there is any.
func (m *maker) load() (begun bool, err error) {
	var p progress
	if begun, err = m.file().read(&p); err == nil && begun && p.Mark == "" {
		err = fmt.Errorf("read progress %s: it has no mark", m.file())
	}
	if err != nil {
		return false, fmt.Errorf("%w; if it is damaged, look at the portal for items tagged rotatord-..., then remove the file", err)
	}
	if !begun {
		m.state = credspec.Creation{Mark: "rotatord-" + strings.ToLower(rand.Text())}
		return false, nil
	}
	m.state = p.Creation
	m.aim(p.Takeover)
	return true, nil
}

// save is on disk when it returns.
func (m *maker) save(s credspec.Creation) error {
	if err := m.file().write(progress{s, m.takes}); err != nil {
		return err
	}
	m.state = s
	return m.kill("saved")
}

// lock keeps a second apply of the same credential out.
func (m *maker) lock() (release func(), err error) {
	if release, err = m.file().lock("apply of " + string(m.cr.Name)); err != nil {
		return nil, err
	}
	if _, err := m.load(); err != nil { // what another one did before we had the lock
		release()
		return nil, err
	}
	return release, nil
}

// run until the credential is there; the steps that were taken come back.
func (m *maker) run(ctx context.Context) ([]credspec.Step, error) {
	steps := []credspec.Step{}
	keyed := false
	for {
		seen, err := m.see(ctx)
		if err != nil {
			return steps, err
		}
		seen.Keyed = keyed
		step := m.state.Next(m.spec, seen, time.Now(), m.spec.Expiry.EffectHorizon)
		for _, id := range step.Extra {
			m.c.say("%s: item %s was made by this creation too, and nothing uses it", m.cr.Name, id)
		}
		switch step.Act {
		case credspec.ActDone:
			return steps, m.file().remove()
		case credspec.ActStuck:
			return steps, fmt.Errorf("%s: %s", orDash(step.Item), step.Why)
		case credspec.ActWait:
			m.c.say("%s: %s; waiting until %s", m.cr.Name, step.Why, step.Until.UTC().Format(time.RFC3339))
			if err := pauseUntil(ctx, step.Until); err != nil {
				return steps, err
			}
			continue
		default:
		}
		if !m.c.json {
			m.c.say("%s: %s", m.cr.Name, step.Act)
		}
		if err := m.step(ctx, step); err != nil {
			return steps, err
		}
		steps = append(steps, step)
		keyed = keyed || step.Act == credspec.ActFirstKey
	}
}

func pauseUntil(ctx context.Context, until time.Time) error {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// step journals the intent, acts, and journals the answer. An unknown outcome is left as it is: the next look decides.
func (m *maker) step(ctx context.Context, s credspec.Step) error {
	if err := m.save(m.state.Begin(s, time.Now())); err != nil {
		return err
	}
	item, err := m.act(ctx, s)
	switch {
	case rotate.KindOf(err) == rotate.KindUnknownOutcome && err != nil:
		m.c.say("%s: %s: whether that happened is not known: %v", m.cr.Name, s.Act, err)
		return nil
	case err != nil:
		return errors.Join(err, m.save(m.state.Refused(s)))
	}
	if err := m.kill("acted"); err != nil {
		return err
	}
	return m.save(m.state.End(s, item))
}

// act makes the one request of a step.
func (m *maker) act(ctx context.Context, s credspec.Step) (item string, err error) {
	id := rotate.ItemID(s.Item)
	switch s.Act {
	case credspec.ActFolder:
		_, err = m.client.CreateFolder(ctx, m.owner, m.spec.Folder)
		if errors.Is(err, portal.ErrFolderTaken) {
			err = nil
		}
	case credspec.ActItem:
		return m.addItem(ctx)
	case credspec.ActKeep, credspec.ActDone, credspec.ActWait, credspec.ActStuck:
	case credspec.ActRemove:
		if err = m.client.DeleteItem(ctx, id, m.owner, true); rotate.CauseOf(err) == rotate.CauseNotFound {
			err = nil // an earlier request of unknown outcome
		}
	case credspec.ActRegister:
		m.asked = true
		_, err = m.client.RegisterApp(ctx, id, portal.Settings{Privileges: m.spec.Grants(), Referrers: m.spec.HTTPReferrers(), Personal: m.personal()})
	case credspec.ActAdapt:
		m.asked = true
		err = m.adapt(ctx, id)
		m.adapted = err == nil
	case credspec.ActTidy:
		tags := slices.Clone(m.spec.Tags)
		err = m.client.UpdateItem(ctx, id, m.owner, portal.ItemEdit{Tags: &tags})
	case credspec.ActProtect:
		err = m.client.Protect(ctx, id, m.owner)
	case credspec.ActRecord:
		err = m.record(s.Item)
	case credspec.ActFirstKey:
		if m.takes != nil {
			return "", m.handOver(ctx)
		}
		if m.journalled {
			return "", m.order(ctx, rotate.Command{Kind: rotate.CommandAdopt})
		}
		err = m.firstKey(ctx)
	case credspec.ActShare:
		err = m.client.ShareItem(ctx, id, m.owner, m.spec.Sharing == credspec.ShareOrg)
	}
	return "", err
}

// adapt the app, which has no key that could die of it.
func (m *maker) adapt(ctx context.Context, id rotate.ItemID) error {
	app, err := m.client.AppSettings(ctx, id, m.owner)
	if err != nil {
		return err
	}
	return m.editApp(ctx, app, m.spec)
}

// editApp replaces the settings of an app. Both its keys die of it.
func (m *maker) editApp(ctx context.Context, app portal.AppRecord, want *credspec.Spec) error {
	_, err := m.client.EditApp(ctx, app.App.ClientID, portal.Settings{Privileges: want.Grants(), Referrers: want.HTTPReferrers(), RedirectURIs: app.RedirectURIs, Personal: m.personal()})
	return err
}

func (m *maker) personal() bool {
	return m.spec.Use == credspec.UsePersonal || len(m.spec.Personal()) > 0
}

func (m *maker) addItem(ctx context.Context) (string, error) {
	folder, _, err := m.folder(ctx)
	if err != nil {
		return "", err
	}
	id, err := m.client.CreateItem(ctx, portal.NewItem{Owner: m.owner, Folder: folder, Title: m.spec.Title, Mark: m.state.Mark, Tags: m.spec.Tags,
		Snippet: m.spec.Snippet, Description: m.spec.Description, Personal: m.personal()})
	return string(id), err
}

// folder of the specification: its id, "" for the root, and whether it is there.
func (m *maker) folder(ctx context.Context) (id string, there bool, err error) {
	if m.spec.Folder == "" || m.spec.Folder == credspec.RootFolder {
		return "", true, nil
	}
	list, err := m.client.Folders(ctx, m.owner)
	if err != nil {
		return "", false, err
	}
	for _, f := range list {
		if f.Title == m.spec.Folder {
			return f.ID, true, nil
		}
	}
	return "", false, nil
}

// record the id in the config, and take the config as it now is.
func (m *maker) record(item string) error {
	out, err := m.amended(item)
	if err != nil {
		return err
	}
	return writeConfig(m.a.cfg.Name(), out)
}

// see reads everything afresh.
func (m *maker) see(ctx context.Context) (credspec.Seen, error) {
	var s credspec.Seen
	var err error
	if _, s.Folder, err = m.folder(ctx); err != nil {
		return s, err
	}
	found, err := m.client.FindItems(ctx, m.owner, m.state.Mark)
	if err != nil {
		return s, err
	}
	for _, d := range found {
		s.Candidates = append(s.Candidates, credspec.Candidate{Item: string(d.Item), HasApp: d.HasApp})
	}
	if m.state.Item == "" {
		return s, nil
	}
	return m.seeItem(ctx, s)
}

// recorded tells whether the config names the item; that of a takeover is in the journal.
func (m *maker) recorded() (bool, error) {
	if m.takes != nil || m.journalled {
		return true, nil
	}
	cfg, err := config.Load(m.a.cfg.Name())
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(cfg.Credentials, func(cr *config.Credential) bool {
		return cr.Name == m.cr.Name && string(cr.Item) == m.state.Item
	}), nil
}

// seeItem reads the item, its app and whether the config names it.
func (m *maker) seeItem(ctx context.Context, s credspec.Seen) (credspec.Seen, error) {
	id := rotate.ItemID(m.state.Item)
	d, err := m.client.Details(ctx, id)
	if rotate.CauseOf(err) == rotate.CauseNotFound {
		s.Gone = true
		return s, nil
	}
	if err != nil {
		return s, err
	}
	app, err := m.client.AppSettings(ctx, id, d.Owner)
	if rotate.CauseOf(err) == rotate.CauseNotCredential {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	folders, err := m.client.Folders(ctx, d.Owner)
	if err != nil {
		return s, err
	}
	if s.Recorded, err = m.recorded(); err != nil {
		return s, err
	}
	if want := m.a.cfg.Spec(m.cr); want != nil && want.Sourced() && !m.asked {
		m.spec = want.WithItems(settingsOf(d, app, folders).Items)
	}
	s.Active, s.Adapted = app.App.Active[rotate.Slot1] || app.App.Active[rotate.Slot2], m.adapted
	s.HasApp, s.Settings, s.Marked = true, settingsOf(d, app, folders), slices.Contains(d.Tags, m.state.Mark)
	return s, nil
}
