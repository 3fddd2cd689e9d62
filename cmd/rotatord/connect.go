package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/journal"
	"rotatord/internal/rotate"
)

// session is how a command reaches the credentials: through a running daemon, or by itself.
type session struct {
	daemon.Service
	app    *app // nil: a daemon runs
	client *daemon.Client
}

// Close what was opened.
func (s *session) Close() error {
	if s.app != nil {
		return s.app.Close()
	}
	s.client.Close()
	return nil
}

// connect to a running daemon; without one, open the journal: for reading where holder is "", else with its lock.
func (c *cli) connect(ctx context.Context, holder string) (*session, error) {
	cfg, err := c.loadConfig()
	if err != nil {
		client, err := c.behind(ctx, err)
		if err != nil {
			return nil, err
		}
		c.say("%s is refused as it is now (rotatord check-config); the daemon answers by the config that it runs on", c.configPath)
		return &session{Service: client, client: client}, nil
	}
	client := daemon.NewClient(string(cfg.Admin.Socket))
	_, err = client.Health(ctx)
	if err == nil {
		return &session{Service: client, client: client}, nil
	}
	client.Close()
	if !daemon.Unreachable(err) {
		return nil, err
	}
	a, openErr := c.openApp(ctx, holder)
	if openErr != nil {
		return nil, c.explainLock(cfg, openErr, err)
	}
	if a.writes {
		c.say("no daemon answers on %s: this command has taken the journal's lock and acts by itself", cfg.Admin.Socket)
	} else {
		c.say("no daemon answers on %s: this is read from the journal", cfg.Admin.Socket)
	}
	return &session{Service: a.verbs(), app: a}, nil
}

// explainLock says why a journal in use may not be reached through its daemon's socket.
func (c *cli) explainLock(cfg *config.Config, openErr, socketErr error) error {
	if _, held := journal.HeldBy(openErr); held {
		return fmt.Errorf("%w (its socket %s cannot be used from here: %w)", openErr, cfg.Admin.Socket, errors.Unwrap(socketErr))
	}
	return openErr
}

// act gives a command to credentials; without a running daemon it then carries it out as far as that goes at once.
func (c *cli) act(ctx context.Context, cmd rotate.Command, names ...rotate.Name) (err error) {
	s, err := c.connect(ctx, string(cmd.Kind))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	cmd.By = daemon.Actor()
	since := time.Now().Add(-time.Second) // the history has the daemon's clock, which is this machine's
	results, err := s.Command(ctx, cmd, names...)
	if err != nil {
		return explain(err)
	}
	if results, err = c.seeThrough(ctx, s, cmd.Kind, since, results); err != nil {
		return err
	}
	return c.report(cmd.Kind, results, len(names) == 0)
}

// goOn with what a process before this one began by a command of that kind, and did not end.
func (c *cli) goOn(ctx context.Context, kind rotate.CommandKind, name rotate.Name) (err error) {
	s, err := c.connect(ctx, string(kind))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	now, err := s.Status(ctx, name)
	if err != nil {
		return explain(err)
	}
	results, err := c.seeThrough(ctx, s, kind, time.Now().Add(-time.Second), []daemon.CommandResult{{Status: now[0]}})
	if err != nil {
		return err
	}
	return c.report(kind, results, false)
}

// seeThrough what was accepted: a running daemon carries it out, and without one this process does.
func (c *cli) seeThrough(ctx context.Context, s *session, kind rotate.CommandKind, since time.Time, results []daemon.CommandResult) (_ []daemon.CommandResult, err error) {
	if s.app != nil {
		if results, err = c.carryOut(ctx, s, results); err != nil {
			return nil, err
		}
	}
	return c.follow(ctx, s, kind, since, results)
}

// carryOut what was accepted, until each credential waits, and asks again how they are.
func (c *cli) carryOut(ctx context.Context, s *session, results []daemon.CommandResult) ([]daemon.CommandResult, error) {
	var names []rotate.Name
	for _, r := range results {
		if r.Error == "" && r.Refused == "" {
			names = append(names, r.Status.Name)
		}
	}
	if len(names) == 0 {
		return results, nil
	}
	fleet := *s.app.adapters.fleet
	fleet.Close = nil // the session's own
	d, err := daemon.New(daemon.Options{Engine: s.app.engine, Journal: s.app.db, Fleet: &fleet, Log: s.app.log})
	if err != nil {
		return nil, err
	}
	if err := d.Once(ctx, names...); err != nil {
		return nil, err
	}
	now, err := s.Status(ctx, names...)
	if err != nil {
		return nil, err
	}
	for i := range results {
		for _, st := range now {
			if st.Name == results[i].Status.Name {
				results[i].Status = st
			}
		}
	}
	return results, nil
}

// report what became of a command. Where it went to all, those that it does not fit are no failure.
func (c *cli) report(kind rotate.CommandKind, results []daemon.CommandResult, all bool) error {
	if c.json {
		if err := c.printJSON(results); err != nil {
			return err
		}
	}
	failed, refused := 0, 0
	for _, r := range results {
		switch {
		case r.Refused != "":
			refused++
			c.say("%s %s refused: %s", kind, r.Status.Name, r.Refused)
			if r.Cure != "" {
				c.say("  %s", r.Cure)
			}
		case r.Error != "":
			failed++
			c.say("%s %s failed: %s", kind, r.Status.Name, r.Error)
		case !c.json:
			if err := c.print("%s: %s\n", r.Status.Name, became(kind, r.Status, time.Now())); err != nil {
				return err
			}
		}
	}
	if !all || refused == len(results) {
		failed += refused
	}
	if failed > 0 {
		return &exitError{exitFailed, fmt.Errorf("%s: %s of %d not accepted", kind, plural(failed, "command"), len(results))}
	}
	return nil
}

func blockedText(s daemon.Status) string {
	if s.Blocked == "" {
		return ""
	}
	return " (" + string(s.Blocked) + ")"
}
