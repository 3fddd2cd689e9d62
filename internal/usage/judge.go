package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"rotatord/internal/rotate"
)

// The keys of notes.
func clientKey(name rotate.Name) string { return "client/" + string(name) }
func cutKey(name rotate.Name) string    { return "cut-off/" + string(name) }

// clientNote remembers the client id of an item's app, which never changes: reading it
// takes two requests.
type clientNote struct {
	Item     rotate.ItemID `json:"item"`
	ClientID string        `json:"client_id"`
}

func (r *Runner) clientID(ctx context.Context, t Target) (string, error) {
	note, ok, err := noteOf[clientNote](ctx, r.o.Store, clientKey(t.Name))
	if err != nil {
		return "", err
	}
	if ok && note.Item == t.ID.Item && note.ClientID != "" {
		return note.ClientID, nil
	}
	id, err := t.Reader.ClientID(ctx, t.ID)
	if err != nil {
		return "", err
	}
	return id, putNote(ctx, r.o.Store, clientKey(t.Name), clientNote{Item: t.ID.Item, ClientID: id})
}

// ClientOf a credential, as far as it was needed before; "" if not.
func ClientOf(ctx context.Context, s Store, name rotate.Name) (string, error) {
	note, _, err := noteOf[clientNote](ctx, s, clientKey(name))
	return note.ClientID, err
}

func noteOf[T any](ctx context.Context, s Store, key string) (v T, ok bool, err error) {
	raw, ok, err := s.Note(ctx, key)
	if err != nil || !ok {
		return v, false, err
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, false, fmt.Errorf("read note %s: %w", key, err)
	}
	return v, true, nil
}

func putNote(ctx context.Context, s Store, key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write note %s: %w", key, err)
	}
	return s.PutNote(ctx, key, raw)
}

// judgeAll at the start, after every pass, and as the clock goes on. In between only
// credentials that are cut off are looked at: a person may have resumed them.
func (r *Runner) judgeAll(ctx context.Context) {
	var pruned Day
	var allAt time.Time // when all are judged again
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.wake:
			allAt = time.Time{}
		}
		now := time.Now()
		if today := DayOf(now); today != pruned {
			if _, err := r.o.Store.Prune(ctx, today-KeepDays); err != nil {
				r.o.Log.LogAttrs(ctx, slog.LevelWarn, "old usage not removed", slog.Any("err", err))
			}
			pruned = today
		}
		all := !now.Before(allAt)
		if all {
			allAt = now.Add(judgeEvery)
		}
		nap := allAt.Sub(now)
		for _, t := range r.o.Targets {
			if !all && !r.cutOff(t.Name).InForce() {
				continue
			}
			is, err := r.judge(ctx, t, now)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				r.o.Log.LogAttrs(ctx, slog.LevelWarn, "usage not judged", slog.String("credential", string(t.Name)), slog.Any("err", err))
			}
			switch {
			case is.underWay():
				nap = min(nap, cutEvery)
			case is.InForce():
				nap = min(nap, watchEvery)
			}
		}
		timer.Reset(nap)
	}
}

func (r *Runner) cutOff(name rotate.Name) *CutOff {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.found[name].finding; f != nil {
		return f.CutOff
	}
	return nil
}

// judge one credential, and tell how far its cut-off is.
func (r *Runner) judge(ctx context.Context, t Target, now time.Time) (*CutOff, error) {
	t.Missing = r.why(t)
	f, err := Look(ctx, r.o.Store, t, now)
	if err != nil {
		return nil, err
	}
	f.CutOff, err = r.cut(ctx, t, f.Spent, f.CutOff, now)
	v := verdict{missing: f.Missing}
	if !reflect.DeepEqual(f, nothing(&t, f.Missing)) {
		v.finding = &f
	}
	r.mu.Lock()
	r.found[t.Name] = v
	r.mu.Unlock()
	return f.CutOff, err
}

func (r *Runner) why(t Target) Missing {
	if t.Missing != MissingNothing {
		return t.Missing
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.missing[t.Name]
}

// Look at one credential as it is stored.
func Look(ctx context.Context, s Store, t Target, now time.Time) (Finding, error) {
	rows, err := s.Rows(ctx, t.Name, DayOf(now)-BackfillDays)
	if err != nil {
		return Finding{}, err
	}
	f := Evaluate(now, Input{Credential: t.Name, Missing: t.Missing, Page: t.Page, Rows: rows, Budget: t.Budget})
	note, ok, err := noteOf[CutOff](ctx, s, cutKey(t.Name))
	if ok {
		f.CutOff = &note
	}
	return f, err
}

// cut does the next thing about a spent budget. The state is on disk before the order is given.
func (r *Runner) cut(ctx context.Context, t Target, spent []Spent, was *CutOff, now time.Time) (*CutOff, error) {
	if r.o.Keys == nil || was == nil && spentOut(now, t.Budget, spent) == nil {
		return was, nil // nearly always
	}
	k, err := r.o.Keys.Key(ctx, t.Name)
	if err != nil {
		return was, err
	}
	is, cmd := Decide(now, t.Budget, spent, was, k)
	if err := r.remember(ctx, t.Name, was, is); err != nil {
		return was, err
	}
	if cmd == nil {
		return is, nil
	}
	err = r.o.Keys.Order(ctx, t.Name, *cmd)
	if refused, ok := errors.AsType[*rotate.RefusedError](err); ok {
		r.o.Log.LogAttrs(ctx, slog.LevelWarn, "credit budget's order refused", slog.String("credential", string(t.Name)),
			slog.String("command", string(cmd.Kind)), slog.Any("err", refused))
		return is, nil
	}
	return is, err
}

func (r *Runner) remember(ctx context.Context, name rotate.Name, was, is *CutOff) error {
	switch {
	case is == nil && was == nil, is != nil && was != nil && *is == *was:
		return nil
	case is == nil:
		return r.o.Store.DropNote(ctx, cutKey(name))
	}
	if was == nil || was.Stage != is.Stage {
		r.o.Log.LogAttrs(ctx, slog.LevelWarn, "credit budget is spent", slog.String("credential", string(name)), slog.String("period", string(is.Period)),
			slog.String("cut_off", string(is.Stage)), slog.String("detail", is.Why))
	}
	return putNote(ctx, r.o.Store, cutKey(name), is)
}
