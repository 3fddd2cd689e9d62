package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The keys of the store.
const (
	alertPrefix = "alert/"  // alert/CONDITION/SUBJECT: an Alert
	toldPrefix  = "told/"   // told/WAY/KEY: what one notifier was told of one key
	wayPrefix   = "way/"    // way/WAY: what a notifier's other side asked for
	dayPrefix   = "day/"    // day/DATE: a day's rotations
	digestKey   = "digest"  // the last digest
	startedKey  = "started" // when alerts were first switched on: rotations before it are not news
	runningKey  = "running" // a daemon runs, and how others ended: see Begin
	groupPrefix = "group/"  // of an Alert's key: several that are told as one
)

// Alert is one condition of one subject from its first sight until everybody who was
// told of it knows its end. It is stored whenever it changes.
type Alert struct {
	Key         string    `json:"id"` // CONDITION/SUBJECT, or group/CONDITION/TIME
	Condition   Condition `json:"condition"`
	Subject     string    `json:"subject"`
	Severity    Severity  `json:"severity"`
	Owner       string    `json:"owner,omitempty"`
	Environment string    `json:"environment,omitempty"`
	Portal      string    `json:"portal,omitempty"`
	RotationID  string    `json:"rotation_id,omitempty"`
	Title       string    `json:"title"`

	State State     `json:"state"`
	By    string    `json:"by,omitempty"`   // who acknowledged or snoozed
	Until time.Time `json:"until,omitzero"` // of a snooze
	Since time.Time `json:"since"`          // the condition holds
	Ended time.Time `json:"ended,omitzero"` // it holds no longer
	// Waiting: it holds, and nobody is told yet: its waiting time is not over, a cause
	// hides it, or the hours are quiet.
	Waiting bool     `json:"waiting,omitempty"`
	Cause   string   `json:"cause,omitempty"` // the alert that hides it
	Group   string   `json:"group,omitempty"` // it is told as part of that
	Members []string `json:"members,omitempty"`

	Calls    int       `json:"calls,omitempty"` // how often attention was asked
	CalledAt time.Time `json:"called_at,omitzero"`
	Rev      int       `json:"rev,omitempty"`  // of what is told; it grows with each change
	Step     int       `json:"step,omitempty"` // the worst that was called
	Once     bool      `json:"once,omitempty"` // not repeated while it gets no worse
	// Settled is when the waiting time began, Mark what it is about, Gathered that quiet
	// hours began meanwhile.
	Settled  time.Time `json:"settled,omitzero"`
	Mark     string    `json:"mark,omitempty"`
	Gathered bool      `json:"gathered,omitempty"`
	Shown    string    `json:"shown,omitempty"` // the facts that were told last
	Error    string    `json:"error,omitempty"` // the last one that the story tells
	// Opens are the times at which attention was asked for an opening, within the last
	// hour. Flapping holds it open until QuietSince is long ago.
	Opens      []time.Time `json:"opens,omitempty"`
	Flapping   bool        `json:"flapping,omitempty"`
	QuietSince time.Time   `json:"quiet_since,omitzero"`

	Story   []StoryLine `json:"story,omitempty"`
	Dropped int         `json:"dropped,omitempty"` // lines of the story that are gone
}

// told is what one notifier was told of one key.
type told struct {
	Ref     string    `json:"ref,omitempty"`
	Calls   int       `json:"calls,omitempty"`
	Rev     int       `json:"rev,omitempty"`
	Story   int       `json:"story,omitempty"` // lines, with the dropped ones
	At      time.Time `json:"at,omitzero"`
	Over    bool      `json:"over,omitempty"`    // what it was told last is the end
	RetryAt time.Time `json:"retry_at,omitzero"` // this notice is refused until then
}

// day is the rotations that went well on one UTC day.
type day struct {
	Date      string     `json:"date"`
	Rotations []rotation `json:"rotations"`
}

// rotation that was done.
type rotation struct {
	Credential string    `json:"credential"`
	Generation int64     `json:"generation"`
	RotationID string    `json:"rotation_id,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	At         time.Time `json:"at"`
}

// digest is the last one that was due.
type digest struct {
	From time.Time `json:"from"` // what it tells of begins here
	At   time.Time `json:"at"`
}

// storyMost lines of an alert are kept: the first, and the newest.
const storyMost = 50

func (r *Alert) tell(at time.Time, by, format string, args ...any) {
	r.Story = append(r.Story, StoryLine{At: at, By: by, Text: fmt.Sprintf(format, args...)})
	if len(r.Story) > storyMost {
		r.Story = slices.Delete(r.Story, 1, 2)
		r.Dropped++
	}
}

// since returns the lines from the n-th on.
func (r *Alert) since(n int) []StoryLine {
	if n == 0 {
		return slices.Clone(r.Story)
	}
	return slices.Clone(r.Story[min(max(n-r.Dropped, 0), len(r.Story)):])
}

// open tells whether it holds and people know.
func (r *Alert) open() bool { return r.Ended.IsZero() && !r.Waiting }

// state is the store's content in memory.
type state struct {
	alerts  map[string]*Alert
	told    map[string]map[string]*told // by way and key
	ways    map[string]wayState
	days    map[string]*day
	done    map[string]int64 // the newest generation of a credential that is in days
	digest  digest
	started time.Time
}

// wayState of one notifier.
type wayState struct {
	Pause    time.Time `json:"pause,omitzero"` // nothing is sent before
	failures int       // in a row
	asked    bool      // Pause is the other side's wish
}

func (s *state) load(ctx context.Context, store Store) error {
	*s = state{alerts: map[string]*Alert{}, told: map[string]map[string]*told{}, ways: map[string]wayState{}, days: map[string]*day{}, done: map[string]int64{}}
	values, err := store.Values(ctx)
	if err != nil {
		return err
	}
	for key, value := range values {
		if err := s.loadOne(key, value); err != nil {
			return fmt.Errorf("decode %s: %w", key, err)
		}
	}
	return nil
}

func (s *state) loadOne(key string, value []byte) error {
	switch {
	case key == startedKey:
		return json.Unmarshal(value, &s.started)
	case key == digestKey:
		return json.Unmarshal(value, &s.digest)
	case strings.HasPrefix(key, alertPrefix):
		r := &Alert{}
		s.alerts[strings.TrimPrefix(key, alertPrefix)] = r
		return json.Unmarshal(value, r)
	case strings.HasPrefix(key, toldPrefix):
		way, of, _ := strings.Cut(strings.TrimPrefix(key, toldPrefix), "/")
		t := &told{}
		s.toldOf(way)[of] = t
		return json.Unmarshal(value, t)
	case strings.HasPrefix(key, wayPrefix):
		var w wayState
		err := json.Unmarshal(value, &w)
		s.ways[strings.TrimPrefix(key, wayPrefix)] = w
		return err
	case strings.HasPrefix(key, dayPrefix):
		d := &day{}
		s.days[strings.TrimPrefix(key, dayPrefix)] = d
		err := json.Unmarshal(value, d)
		for _, r := range d.Rotations {
			s.done[r.Credential] = max(s.done[r.Credential], r.Generation)
		}
		return err
	}
	return nil // a key of another version
}

func (s *state) toldOf(way string) map[string]*told {
	if s.told[way] == nil {
		s.told[way] = map[string]*told{}
	}
	return s.told[way]
}

func put(ctx context.Context, store Store, key string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	return store.Put(ctx, key, body)
}

// save an alert. What cannot be stored is in memory, and right until a restart.
func (a *Alerter) save(ctx context.Context, r *Alert) {
	a.keep(put(ctx, a.o.Store, alertPrefix+r.Key, r))
}

// forget an alert and what anybody was told of it.
func (a *Alerter) forget(ctx context.Context, key string) {
	delete(a.state.alerts, key)
	a.keep(a.o.Store.Delete(ctx, alertPrefix+key))
	for way := range a.state.told {
		a.forgetTold(ctx, way, key)
	}
}

func (a *Alerter) forgetTold(ctx context.Context, way, key string) {
	if _, there := a.state.told[way][key]; there {
		delete(a.state.told[way], key)
		a.keep(a.o.Store.Delete(ctx, toldPrefix+way+"/"+key))
	}
}

// running is stored while a daemon runs, and how others ended.
type running struct {
	Since   time.Time   `json:"since,omitzero"` // zero: none runs, by its own word
	Crashes []time.Time `json:"crashes,omitempty"`
}

// Begin notes that a daemon starts, and returns when others did after an end that was
// no stop, this one included. End notes that it stops.
func Begin(ctx context.Context, store Store, now time.Time) (crashes []time.Time, end func(context.Context) error, err error) {
	values, err := store.Values(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("read how rotatord ended: %w", err)
	}
	var r running
	if v, there := values[runningKey]; there {
		if err := json.Unmarshal(v, &r); err != nil {
			return nil, nil, fmt.Errorf("read how rotatord ended: %w", err)
		}
	}
	r.Crashes = slices.DeleteFunc(r.Crashes, func(t time.Time) bool { return now.Sub(t) >= crashWindow })
	if !r.Since.IsZero() {
		r.Crashes = append(r.Crashes, now)
	}
	r.Since = now
	if err := put(ctx, store, runningKey, r); err != nil {
		return nil, nil, fmt.Errorf("note that rotatord runs: %w", err)
	}
	return slices.Clone(r.Crashes), func(ctx context.Context) error {
		r.Since = time.Time{}
		return put(ctx, store, runningKey, r)
	}, nil
}
