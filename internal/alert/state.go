package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// The keys of the store: incident/CONDITION/NAME, done/NAME, started and pause.
const (
	incidentPrefix = "incident/"
	donePrefix     = "done/"
	startedKey     = "started"
	pauseKey       = "pause"
)

// incident is one condition of one credential from its first sight until it was said
// to be resolved.
type incident struct {
	Credential  rotate.Name `json:"credential"`
	Condition   Condition   `json:"condition"`
	Owner       string      `json:"owner,omitempty"`
	Environment string      `json:"environment,omitempty"`
	Portal      string      `json:"portal,omitempty"`
	RotationID  string      `json:"rotation_id,omitempty"`
	Since       time.Time   `json:"since"`
	SaidAt      time.Time   `json:"said_at,omitzero"`
	SaidStep    int         `json:"said_step,omitempty"`
	ResolvedAt  time.Time   `json:"resolved_at,omitzero"` // ended, and that is to be said

	now     finding   // what holds; not stored
	retryAt time.Time // not before; not stored
}

func (i *incident) key() string {
	return incidentPrefix + string(i.Condition) + "/" + string(i.Credential)
}

// label names the credential and whom it concerns.
func (i *incident) label() string {
	if i.Owner == "" {
		return string(i.Credential)
	}
	return string(i.Credential) + " (" + i.Owner + ")"
}

// done is the credential's last rotation and whether it was said.
type done struct {
	Credential rotate.Name   `json:"credential"`
	Generation int64         `json:"generation"`
	RotationID string        `json:"rotation_id,omitempty"`
	Reason     rotate.Reason `json:"reason,omitempty"`
	At         time.Time     `json:"at"`
	Said       bool          `json:"said"`

	retryAt time.Time // not before; not stored
}

func (d *done) key() string { return donePrefix + string(d.Credential) }

// state is the store's content in memory.
type state struct {
	incidents map[string]*incident
	dones     map[rotate.Name]*done
	// started is when alerts were first switched on: rotations before it are not news.
	started time.Time
	pause   time.Time // what the channel asked for
}

func (s *state) load(ctx context.Context, store Store, now time.Time) error {
	s.incidents, s.dones = map[string]*incident{}, map[rotate.Name]*done{}
	values, err := store.Values(ctx)
	if err != nil {
		return err
	}
	for key, value := range values {
		if err := s.loadOne(key, value); err != nil {
			return fmt.Errorf("decode %s: %w", key, err)
		}
	}
	if s.started.IsZero() {
		s.started = now
		return put(ctx, store, startedKey, now)
	}
	return nil
}

func (s *state) loadOne(key string, value []byte) error {
	switch {
	case key == startedKey:
		return json.Unmarshal(value, &s.started)
	case key == pauseKey:
		return json.Unmarshal(value, &s.pause)
	case strings.HasPrefix(key, incidentPrefix):
		i := &incident{}
		s.incidents[key] = i
		return json.Unmarshal(value, i)
	case strings.HasPrefix(key, donePrefix):
		d := &done{}
		if err := json.Unmarshal(value, d); err != nil {
			return err
		}
		s.dones[d.Credential] = d
	}
	return nil // a key of a newer version
}

func (s *state) putPause(ctx context.Context, store Store, until time.Time) error {
	s.pause = until
	return put(ctx, store, pauseKey, until)
}

func put(ctx context.Context, store Store, key string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	return store.Put(ctx, key, body)
}
