package alert

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// NotFoundError tells that an id is no alert's.
type NotFoundError struct {
	ID    string
	Known []string // that could be meant
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("alert %q is not there", e.ID) }

// StateError tells why an alert cannot be acknowledged or snoozed.
type StateError struct{ why string }

func (e *StateError) Error() string { return e.why }

// ErrNotLoaded is the answer before Run has read what was stored.
var ErrNotLoaded = errors.New("alerts are not loaded yet; try again in a moment")

// Listed is one alert as people see it in a list.
type Listed struct {
	Alert
	Told []Told `json:"told,omitempty"`
}

// List returns every alert that holds, the most urgent first and what is part of another
// last; with ended ones also those that are kept for a while.
func (a *Alerter) List(ended bool) ([]Listed, error) {
	a.desk.Lock()
	defer a.desk.Unlock()
	if !a.loaded {
		return nil, ErrNotLoaded
	}
	out := []Listed{}
	for _, r := range a.sorted() {
		if !r.Ended.IsZero() && !ended {
			continue
		}
		one := Listed{Alert: *r, Told: a.toldBy(r)}
		one.Story, one.Members, one.Opens = slices.Clone(r.Story), slices.Clone(r.Members), nil
		if one.Title == "" {
			one.Title = a.title(r, time.Now().UTC())
		}
		out = append(out, one)
	}
	part := func(l Listed) int {
		if l.Cause != "" || l.Group != "" {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(x, y Listed) int { return part(x) - part(y) })
	return out, nil
}

// Acknowledge an alert: somebody works on it, and it is not repeated. It lapses when the
// alert gets more severe, and ends with it.
func (a *Alerter) Acknowledge(ctx context.Context, id, who string) (Alert, error) {
	return a.act(ctx, id, func(r *Alert, now time.Time) {
		r.State, r.By, r.Until = StateAcknowledged, who, time.Time{}
		r.tell(now, who, "acknowledged")
	})
}

// Snooze an alert: it is quiet until a time, or until it gets more severe.
func (a *Alerter) Snooze(ctx context.Context, id, who string, until time.Time) (Alert, error) {
	if !until.After(time.Now()) {
		return Alert{}, &StateError{"a snooze ends in the future; give --for 4h, say"}
	}
	return a.act(ctx, id, func(r *Alert, now time.Time) {
		r.State, r.By, r.Until = StateSnoozed, who, until.UTC()
		r.tell(now, who, "snoozed until %s", When(until, now))
	})
}

// Unsnooze takes a snooze or an acknowledgement back.
func (a *Alerter) Unsnooze(ctx context.Context, id, who string) (Alert, error) {
	return a.act(ctx, id, func(r *Alert, now time.Time) {
		if r.State == StateOpen {
			return
		}
		r.tell(now, who, "is no longer %s", r.State)
		r.State, r.By, r.Until = StateOpen, "", time.Time{}
	})
}

// Credentials that an alert is about, itself or as a group; none of one on a portal, a
// sink or the daemon.
func (r Alert) Credentials() []rotate.Name {
	keys := r.Members
	if keys == nil {
		keys = []string{r.Key}
	}
	var out []rotate.Name
	for _, key := range keys {
		condition, subject, _ := strings.Cut(key, "/")
		if k, ok := kindOf(Condition(condition)); ok && k.subject == SubjectCredential && !slices.Contains(out, rotate.Name(subject)) {
			out = append(out, rotate.Name(subject))
		}
	}
	return out
}

func (a *Alerter) act(ctx context.Context, id string, do func(*Alert, time.Time)) (Alert, error) {
	a.desk.Lock()
	defer a.desk.Unlock()
	if !a.loaded {
		return Alert{}, ErrNotLoaded
	}
	r := a.state.alerts[id]
	switch {
	case r == nil:
		return Alert{}, &NotFoundError{ID: id, Known: slices.Sorted(maps.Keys(a.state.alerts))}
	case !r.Ended.IsZero():
		return Alert{}, &StateError{fmt.Sprintf("alert %s is resolved", id)}
	case r.Group != "":
		return Alert{}, &StateError{fmt.Sprintf("alert %s is told as part of %s: name that", id, r.Group)}
	}
	do(r, time.Now().UTC())
	r.Rev++
	a.save(ctx, r)
	for _, w := range a.ways {
		ring(w.wake)
	}
	return *r, nil
}
