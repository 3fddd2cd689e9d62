package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"rotatord/internal/daemon"
)

func (c *cli) onceCmd() *cobra.Command {
	return &cobra.Command{Use: "once", Short: "Do what is due now and end, for a timer or cron",
		Long: "Advances every credential that is due until it has to wait, and ends: 0 if all is well, 3 where a credential needs\n" +
			"attention. An overlap is not waited for: the old key is retired by the next call after it. Only for machines\n" +
			"without a running daemon.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.once(cmd.Context()) }}
}

func (c *cli) once(ctx context.Context) (err error) {
	c.serving = true
	a, err := c.openApp(ctx, "once")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if err := c.checkFiles(a.cfg, starting); err != nil {
		return err
	}
	fleet := *a.adapters.fleet
	fleet.Close = nil // the app's own
	d, err := daemon.New(daemon.Options{Engine: a.engine, Journal: a.db, Fleet: &fleet, Log: a.log, Heartbeat: heartbeat(a.cfg)})
	if err != nil {
		return err
	}
	if err := d.Once(ctx); err != nil {
		return err
	}
	a.adapters.runOwed(ctx)
	if err := tellOnce(ctx, a, d); err != nil {
		return err
	}
	all, err := a.verbs().Status(ctx)
	if err != nil {
		return err
	}
	if err := c.showStatus(all, false); err != nil {
		return err
	}
	return attentionOf(all)
}

// tellOnce sends what there is to tell after a single pass. That a message could not
// be sent is logged and counted, and fails nothing.
func tellOnce(ctx context.Context, a *app, d *daemon.Daemon) error {
	people, err := newTalker(a)
	if err != nil || people == nil {
		return err
	}
	now := time.Now()
	people.Check(now, a.adapters.scene(now, d, nil))
	if err := people.Flush(ctx); err != nil {
		a.log.LogAttrs(ctx, slog.LevelWarn, "not everything was told", slog.Any("err", err))
	}
	return nil
}
