package settings

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"rotatord/internal/credspec"
	"rotatord/internal/rotate"
)

// Finding is what is known of one credential's settings.
type Finding struct {
	Credential rotate.Name     `json:"credential"`
	Portal     rotate.PortalID `json:"portal"`
	Policy     credspec.Drift  `json:"policy"`
	CheckedAt  time.Time       `json:"checked_at,omitzero"` // of the last look that succeeded; zero: none has
	// Changes would make the portal as the config says; what was adopted is apart.
	Changes credspec.Changes `json:"changes"`
	Adopted credspec.Changes `json:"adopted,omitempty"`
	// Contested are changes that are made no more: somebody undoes them.
	Contested []credspec.Field `json:"contested,omitempty"`
	Waits     string           `json:"waits,omitempty"` // why nothing is corrected now
	// Unrestricted: a public key works from everywhere, by the config, and as the portal has it.
	Unrestricted      bool   `json:"unrestricted,omitempty"`
	UnrestrictedThere bool   `json:"unrestricted_at_portal,omitempty"`
	Error             string `json:"error,omitempty"` // of the last look or edit
}

// publish what is known, for who asks. It is called with work held.
func (e *entry) publish(waits string) {
	b := &e.book
	f := Finding{Credential: e.Name, Portal: e.ID.Portal, Policy: e.Spec.Drift, CheckedAt: b.CheckedAt, Waits: waits, Unrestricted: e.Spec.Unrestricted(), Error: cmp.Or(b.Looks.Error, b.Edits.Error)}
	f.Changes, f.Adopted = b.differing(b.want(e.Spec))
	f.Contested = b.contested(f.Changes)
	f.UnrestrictedThere = !b.CheckedAt.IsZero() && e.Spec.UnrestrictedAt(b.Have)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.found = f
}

// Look at one credential now, as plan does. Nothing is edited.
func (r *Runner) Look(ctx context.Context, name rotate.Name) (Finding, error) {
	e := r.entries[name]
	if e == nil {
		return Finding{}, fmt.Errorf("the config does not state the settings of %s", name)
	}
	e.work.Lock()
	defer e.work.Unlock()
	err := r.read(ctx, e)
	if err == nil {
		err = r.save(ctx, e)
	}
	e.publish(e.finding().Waits)
	return e.finding(), err
}

// one credential of a pass. asked tells whether its portal was.
func (r *Runner) one(ctx context.Context, e *entry, wanted func(*entry) bool) (asked bool, err error) {
	e.work.Lock()
	defer e.work.Unlock()
	if !wanted(e) {
		return false, nil
	}
	waits := ""
	if err = r.read(ctx, e); ctx.Err() != nil {
		return true, ctx.Err()
	}
	if err != nil {
		e.book.Looks.failed(err, time.Now().UTC().Round(0))
	} else {
		e.book.Looks = ladder{}
		if waits, err = r.correct(ctx, e); ctx.Err() != nil {
			return true, ctx.Err()
		}
	}
	err = errors.Join(err, r.save(ctx, e))
	r.tell(ctx, e)
	e.publish(waits)
	return true, err
}

// read both sides. What was known stays where that fails.
func (r *Runner) read(ctx context.Context, e *entry) error {
	want, err := e.Portal.Resolve(ctx, e.Spec)
	if err != nil {
		return err
	}
	have, err := e.Portal.Read(ctx, e.ID.Item)
	if err != nil {
		return err
	}
	e.book.look(e.Spec, want, have, time.Now().UTC().Round(0))
	return nil
}

// correct what the policy lets be corrected, unless it failed a moment ago. waits says why
// nothing may be done now.
func (r *Runner) correct(ctx context.Context, e *entry) (waits string, err error) {
	b := &e.book
	changes, _ := b.differing(b.want(e.Spec))
	if e.Spec.Drift != credspec.DriftCorrect || len(changes) == 0 || r.o.Keys == nil {
		b.Edits = ladder{}
		return "", nil
	}
	waits, err = r.o.Keys.Busy(ctx, e.Name)
	switch {
	case err != nil || waits != "":
	case b.Edits.RetryAt.After(time.Now()):
		return "the last edit failed, and is tried again at " + b.Edits.RetryAt.Format(time.RFC3339), nil
	default:
		err = r.edits(ctx, e, changes)
	}
	if err != nil {
		b.Edits.failed(err, time.Now().UTC().Round(0))
	} else if waits == "" {
		b.Edits = ladder{}
	}
	return waits, err
}

// edits makes what is harmless, one request at a time, each proved by reading again, and
// hands on what kills keys.
func (r *Runner) edits(ctx context.Context, e *entry, changes credspec.Changes) error {
	b := &e.book
	for c, ok := b.next(changes, time.Now()); ok; c, ok = b.next(changes, time.Now()) {
		if err := r.edit(ctx, e, c); err != nil {
			return err
		}
		changes, _ = b.differing(b.want(e.Spec))
	}
	if killing := changes.Killing(); len(killing) > 0 && r.o.Replace != nil {
		if err := r.o.Replace(ctx, e.Name, killing); err != nil {
			return fmt.Errorf("replace: %w", err)
		}
	}
	return nil
}

// edit makes one change. The intent is kept before the request, so that a change whose
// answer is lost is known for ours.
func (r *Runner) edit(ctx context.Context, e *entry, c credspec.Change) error {
	e.book.Pending = &pending{Field: c.Field, From: c.From, To: c.To, At: time.Now().UTC().Round(0)}
	if err := r.save(ctx, e); err != nil {
		e.book.Pending = nil
		return err
	}
	if err := e.Portal.Edit(ctx, e.ID.Item, e.book.Have.Owner, c); err != nil {
		return fmt.Errorf("correct %s: %w", c.Field, err)
	}
	if err := r.read(ctx, e); err != nil {
		return fmt.Errorf("read %s back: %w", c.Field, err)
	}
	if f := e.book.Fields[c.Field]; !slices.Equal(f.Have, c.To) {
		return fmt.Errorf("correct %s: the portal took the change, and has it otherwise still", c.Field)
	}
	return nil
}

// tell the history what it does not have yet. What cannot be said now is said after the next
// look; a line may come twice where the process is killed in between.
func (r *Runner) tell(ctx context.Context, e *entry) {
	if r.o.Keys == nil || len(e.book.Unsaid) == 0 {
		return
	}
	said := 0
	for _, line := range e.book.Unsaid {
		if err := r.o.Keys.Note(ctx, e.Name, line); err != nil {
			r.o.Log.LogAttrs(ctx, slog.LevelWarn, "a change of settings is not in the history yet", slog.String("credential", string(e.Name)), slog.Any("err", err))
			break
		}
		said++
	}
	e.book.Unsaid = slices.Delete(e.book.Unsaid, 0, said)
	if err := r.save(ctx, e); err != nil && ctx.Err() == nil {
		r.o.Log.LogAttrs(ctx, slog.LevelWarn, "what is known of settings was not kept", slog.String("credential", string(e.Name)), slog.Any("err", err))
	}
}
