package main

import (
	"context"
	"fmt"
	"time"

	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

const (
	// followFor is how long a command watches what becomes of it, followEvery how
	// often it looks. A rotation is through its last sink within a second or two.
	followFor   = 15 * time.Second
	followEvery = 150 * time.Millisecond
)

// followed tells whether a command is carried out later than it is accepted.
func followed(k rotate.CommandKind) bool {
	switch k {
	case rotate.CommandRotate, rotate.CommandCompromised, rotate.CommandRollback, rotate.CommandRegenerate, rotate.CommandInvalidate, rotate.CommandAdopt,
		rotate.CommandReplace, rotate.CommandBack:
		return true
	case rotate.CommandHold, rotate.CommandResume, rotate.CommandConfirm, rotate.CommandCancel, rotate.CommandAck, rotate.CommandAlert, rotate.CommandSettings:
	}
	return false
}

// follow watches what becomes of accepted commands until each is done, refused or
// has to wait; what is still under way after followFor is reported as that.
func (c *cli) follow(ctx context.Context, s *session, kind rotate.CommandKind, since time.Time, results []daemon.CommandResult) ([]daemon.CommandResult, error) {
	if !followed(kind) {
		return results, nil
	}
	ctx, cancel := context.WithTimeout(ctx, followFor)
	defer cancel()
	for i := range results {
		r := &results[i]
		if r.Error != "" || r.Refused != "" {
			continue
		}
		if err := c.followOne(ctx, s, r); err != nil {
			return nil, explain(err)
		}
		entries, err := s.History(context.WithoutCancel(ctx), daemon.HistoryQuery{Name: r.Status.Name, Since: since})
		if err != nil {
			return nil, explain(err)
		}
		for _, e := range entries {
			if e.Kind == rotate.EventRefused && !e.At.Before(since) {
				r.Refused = e.Detail
			}
		}
	}
	return results, nil
}

// followOne looks again until the command has come to something.
func (c *cli) followOne(ctx context.Context, s *session, r *daemon.CommandResult) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		now, err := s.Status(context.WithoutCancel(ctx), r.Status.Name)
		if err != nil {
			return err
		}
		if len(now) == 1 {
			r.Status = now[0]
		}
		if cameToRest(r.Status, time.Now()) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// cameToRest: nothing that was asked for is left to do now.
func cameToRest(s daemon.Status, now time.Time) bool {
	if !s.NextAt.After(now) {
		return false
	}
	return s.Request == nil && !s.Phase.InCutOver() || s.Blocked != ""
}

// became says in a sentence what became of an accepted command.
func became(k rotate.CommandKind, s daemon.Status, now time.Time) string {
	if !followed(k) {
		return fmt.Sprintf("%s accepted; phase %s%s", k, s.Phase, blockedText(s))
	}
	if s.Request != nil || s.Phase.InCutOver() {
		text := fmt.Sprintf("%s accepted; it is in phase %s%s", k, s.Phase, blockedText(s))
		if s.Detail != "" {
			text += ": " + s.Detail
		}
		return text
	}
	text := fmt.Sprintf("%s done", k)
	if s.Live.Fingerprint != "" {
		text += fmt.Sprintf("; slot %s serves %s", s.Live.Slot, s.Live.Fingerprint)
		if !s.Live.Expires.IsZero() {
			text += " until " + stamp(s.Live.Expires, now)
		}
	}
	if f := s.Former; f != nil && !f.Serves {
		text += fmt.Sprintf("; the keys of item %s work until %s", f.Item, stamp(f.RetireAt, now))
	}
	if s.Previous.Fingerprint != "" {
		text += fmt.Sprintf("; the key of slot %s works until %s", s.Previous.Slot, stamp(s.RetireAt, now))
	}
	return text
}
