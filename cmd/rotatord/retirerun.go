package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/journal"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
	"rotatord/internal/sinks"
)

// retirement is the progress of one, in STATE/retirements/NAME.json. Up to Ended the journal's
// record and the portal say how far it is, after it this does.
type retirement struct {
	ID     rotate.ID `json:"id"`
	By     string    `json:"by"`
	Sink   string    `json:"sink"` // keep, clear or delete
	Item   string    `json:"item"` // keep or delete
	Take   bool      `json:"take_slots,omitempty"`
	Ended  bool      `json:"ended,omitempty"`   // in the journal
	Sinks  int       `json:"sinks,omitempty"`   // so many are seen to
	ItemOK bool      `json:"item_ok,omitempty"` // the item is seen to
}

// retirer retires one credential, step by step, with a daemon or without one.
type retirer struct {
	c       *cli
	a       *adapters
	cr      *config.Credential
	client  *portal.Client
	session *session // nil once the journal has ended it
	state   retirement
	steps   []string
	// kill is for tests: it is called before and after every effect and every write.
	kill func(point string) error
}

func (r *retirer) file() progressFile { return progressOf(r.a.cfg, "retirements", r.cr.Name) }

// save is on disk when it returns.
func (r *retirer) save(s retirement) error {
	if err := r.file().write(s); err != nil {
		return err
	}
	r.state = s
	return r.kill("saved")
}

// did a step: it is told, and a test may end the process here.
func (r *retirer) did(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	r.steps = append(r.steps, text)
	if !r.c.json {
		r.c.say("%s: %s", r.cr.Name, text)
	}
	return r.kill("did")
}

// run everything that is left to do.
func (r *retirer) run(ctx context.Context) error {
	if !r.state.Ended {
		if err := r.end(ctx); err != nil {
			return err
		}
	}
	if err := r.seeToSinks(ctx); err != nil {
		return err
	}
	if err := r.seeToItem(ctx); err != nil {
		return err
	}
	return r.file().remove()
}

// end both keys by the engine's own revokes, prove it, and end the credential in the journal.
func (r *retirer) end(ctx context.Context) error {
	if err := r.hold(ctx); err != nil {
		return err
	}
	if err := r.killKeys(ctx); err != nil {
		return err
	}
	if err := r.proveDead(ctx); err != nil {
		return err
	}
	if err := r.endInJournal(ctx); err != nil {
		return err
	}
	if err := r.did("the journal has it as retired for good"); err != nil {
		return err
	}
	s := r.state
	s.Ended = true
	return r.save(s)
}

const retiring = "it is being retired for good"

// hold: without it the daemon would find a dead key and make the next one at once.
func (r *retirer) hold(ctx context.Context) error {
	st, err := r.status(ctx)
	if err != nil {
		return err
	}
	if st.Hold == nil || st.Hold.Reason != retiring || !st.Hold.Until.IsZero() {
		if _, err := r.order(ctx, rotate.Command{Kind: rotate.CommandHold, Text: retiring}); err != nil {
			return err
		}
		if err := r.did("held, so that no key is made"); err != nil {
			return err
		}
	}
	foreign, err := r.foreign(ctx, st)
	if err != nil || foreign == rotate.NoSlot || !r.state.Take {
		return err
	}
	if _, err := r.order(ctx, rotate.Command{Kind: rotate.CommandAdopt, Slot: foreign}); err != nil {
		return err
	}
	return r.did("slot %s is taken, whoever made its key", foreign)
}

// foreign is the slot with a key that rotatord did not make, as far as the journal knows.
func (r *retirer) foreign(ctx context.Context, st daemon.Status) (rotate.Slot, error) {
	for i, slot := range st.Slots {
		s := rotate.Slot(i + 1)
		if s == st.Live.Slot || slot.Use != rotate.UseUnknown && slot.Use != rotate.UseEmpty {
			continue
		}
		active, err := r.active(ctx, s)
		if err != nil || active {
			return s, err
		}
	}
	return rotate.NoSlot, nil
}

// killKeys revokes slot by slot, the served one last.
func (r *retirer) killKeys(ctx context.Context) error {
	st, err := r.status(ctx)
	if err != nil {
		return err
	}
	order := []rotate.Slot{st.Live.Slot.Other(), st.Live.Slot}
	if !st.Live.Slot.Valid() {
		order = []rotate.Slot{rotate.Slot1, rotate.Slot2}
	}
	for _, s := range order {
		active, err := r.active(ctx, s)
		if err != nil {
			return err
		}
		if !active {
			continue
		}
		now, err := r.order(ctx, rotate.Command{Kind: rotate.CommandInvalidate, Slot: s, OutageOK: true, Text: retiring})
		if err != nil {
			return err
		}
		if active, err = r.active(ctx, s); err != nil {
			return err
		}
		if active {
			return &exitError{exitAttention, fmt.Errorf("the key of slot %s still works: %s; run the same command again later, it goes on", s, orDash(strings.TrimSpace(now.Detail+blockedText(now))))}
		}
		if err := r.did("the key of slot %s is invalidated", s); err != nil {
			return err
		}
	}
	return nil
}

// active reads the flag. An item that is gone, or has no app, has no key.
func (r *retirer) active(ctx context.Context, s rotate.Slot) (bool, error) {
	d, err := r.client.Details(ctx, r.state.ID.Item)
	if rotate.CauseOf(err) == rotate.CauseNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	app, err := r.client.App(ctx, r.state.ID, d.Owner)
	if rotate.CauseOf(err) == rotate.CauseNotCredential {
		return false, nil
	}
	return app.Active[s], err
}

// proveDead asks the portal about each key that a sink still serves.
func (r *retirer) proveDead(ctx context.Context) error {
	list, err := r.a.sinksOf(r.cr)
	if err != nil {
		return err
	}
	for _, s := range list {
		e, err := s.Read(ctx)
		if err != nil {
			r.c.say("%s: sink %s cannot be read, so its key is not probed: %v", r.cr.Name, s.Name(), err)
			continue
		}
		if e.Key.IsZero() {
			continue
		}
		p, err := r.client.Prove(ctx, e.Key, r.cr.Referrer)
		switch {
		case err != nil:
			return err
		case p.Valid && (p.Item == "" || p.Item == r.state.ID.Item):
			return &exitError{exitAttention, fmt.Errorf("sink %s serves %s, which still works although both flags are false; run the same command again in a minute", s.Name(), e.Key.Fingerprint())}
		case p.Valid:
			r.c.say("%s: sink %s serves a key of item %s: that is left alone", r.cr.Name, s.Name(), p.Item)
		}
	}
	return nil
}

// endInJournal has the daemon let go of it, or writes it where none runs.
func (r *retirer) endInJournal(ctx context.Context) error {
	o := retireOrder{Name: rotate.Name(r.cr.Name), ID: r.state.ID, Detail: "both keys are dead; sinks: " + r.state.Sink + ", item: " + r.state.Item}
	if r.session.client != nil {
		return r.session.client.Ask(ctx, http.MethodPost, "/v1/retire", nil, o, new(string))
	}
	return r.session.app.db.Retire(ctx, journal.Retired{Name: o.Name, ID: o.ID, By: r.state.By}, o.Detail)
}

func (r *retirer) status(ctx context.Context) (daemon.Status, error) {
	all, err := r.session.Status(ctx, rotate.Name(r.cr.Name))
	if err != nil {
		return daemon.Status{}, explain(err)
	}
	return all[0], nil
}

// order gives one command and waits for what becomes of it.
func (r *retirer) order(ctx context.Context, cmd rotate.Command) (daemon.Status, error) {
	cmd.By = daemon.Actor()
	since := time.Now().Add(-time.Second)
	results, err := r.session.Command(ctx, cmd, rotate.Name(r.cr.Name))
	if err == nil {
		results, err = r.c.seeThrough(ctx, r.session, cmd.Kind, since, results)
	}
	if err != nil {
		return daemon.Status{}, explain(err)
	}
	res := results[0]
	switch {
	case res.Refused != "":
		return res.Status, &rotate.RefusedError{Command: cmd.Kind, Why: res.Refused, Cure: res.Cure}
	case res.Error != "":
		return res.Status, errors.New(res.Error)
	}
	return res.Status, nil
}

// seeToSinks as the person chose.
func (r *retirer) seeToSinks(ctx context.Context) error {
	list, err := r.a.sinksOf(r.cr)
	if err != nil {
		return err
	}
	for i, s := range list {
		if i < r.state.Sinks {
			continue
		}
		if err := r.seeToSink(ctx, s); err != nil {
			return err
		}
		next := r.state
		next.Sinks = i + 1
		if err := r.save(next); err != nil {
			return err
		}
	}
	return nil
}

func (r *retirer) seeToSink(ctx context.Context, s rotate.Sink) error {
	if r.state.Sink == sinkKeep {
		return nil
	}
	e, err := s.Read(ctx)
	if err != nil {
		return err
	}
	ours := e.Meta == nil && e.Key.IsZero() || e.Meta != nil && (e.Meta.Item == "" || e.Meta.Item == r.state.ID.Item)
	if !ours {
		return r.did("sink %s holds what is not of item %s: left alone", s.Name(), r.state.ID.Item)
	}
	if r.state.Sink == sinkDelete {
		err := s.(interface {
			Remove(ctx context.Context) error
		}).Remove(ctx)
		switch {
		case errors.Is(err, sinks.ErrShared):
			return r.did("sink %s: %v", s.Name(), err)
		case rotate.CauseOf(err) == rotate.CauseForbidden:
			return fmt.Errorf("%w; rotatord's policy has no right to delete: give it for this once, or delete by hand and run the same command with --sink keep", err)
		case err != nil:
			return err
		}
		return r.did("sink %s: deleted", s.Name())
	}
	if !e.Ever || e.Meta == nil || e.Key.IsZero() && retiredMeta(e.Meta) {
		return nil
	}
	m := *e.Meta
	m.Claim = nil
	m.Hold = &rotate.Hold{Reason: retiredWord, By: r.state.By, Since: time.Now().UTC().Round(0)}
	if _, err := s.Write(ctx, rotate.Entry{Meta: &m}, e.Version); err != nil {
		return err
	}
	return r.did("sink %s: the key is taken out, its facts say that it is retired", s.Name())
}

// seeToItem deletes it with its app, or leaves both.
func (r *retirer) seeToItem(ctx context.Context) error {
	if r.state.Item == itemKeep {
		return nil
	}
	d, err := r.client.Details(ctx, r.state.ID.Item)
	if rotate.CauseOf(err) == rotate.CauseNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if d.Protected {
		if err := r.client.Unprotect(ctx, r.state.ID.Item, d.Owner); err != nil {
			return err
		}
		if err := r.did("item %s is not protected any more", r.state.ID.Item); err != nil {
			return err
		}
	}
	if err := r.unregister(ctx, d.Owner); err != nil {
		return err
	}
	if err := r.client.DeleteItem(ctx, r.state.ID.Item, d.Owner, false); err != nil && rotate.CauseOf(err) != rotate.CauseNotFound {
		return err
	}
	return r.did("item %s is deleted; the portal may keep it in its recycle bin", r.state.ID.Item)
}

// unregister the app: an item that is taken out of a recycle bin gives nobody a key.
func (r *retirer) unregister(ctx context.Context, owner string) error {
	app, err := r.client.App(ctx, r.state.ID, owner)
	if rotate.CauseOf(err) == rotate.CauseNotCredential {
		return nil
	}
	if err != nil {
		return err
	}
	if err := r.client.UnregisterApp(ctx, app.ClientID); err != nil && rotate.CauseOf(err) != rotate.CauseNotFound {
		return err
	}
	return r.did("its app is unregistered: the client secret makes no key any more")
}
