package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// States of the service manager's protocol (sd_notify(3)).
const (
	stateReady     = daemon.SdNotifyReady
	stateReloading = daemon.SdNotifyReloading
	stateStopping  = daemon.SdNotifyStopping
	stateWatchdog  = daemon.SdNotifyWatchdog
)

// notifier talks to the service manager, where there is one.
type notifier struct {
	log   *slog.Logger
	every time.Duration // between two signs of life; 0: nobody waits for them
}

func newNotifier(log *slog.Logger) *notifier {
	n := &notifier{log: log}
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.LogAttrs(context.Background(), slog.LevelWarn, "watchdog not understood", slog.Any("err", err))
	}
	n.every = limit / 2
	return n
}

// tell sends states; without a service manager it does nothing.
func (n *notifier) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.LogAttrs(context.Background(), slog.LevelWarn, "service manager not told", slog.Any("err", err))
	}
}

func (n *notifier) ready(headline string) { n.tell(stateReady + "\nSTATUS=" + headline) }

// reloading needs the time, so that the manager can tell it from an older READY.
func (n *notifier) reloading() {
	n.tell(stateReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// watchdog ticks when the loop must show that it lives; the loop itself answers, so that a stuck loop is silent.
func (n *notifier) watchdog() *time.Ticker {
	if n.every <= 0 {
		t := time.NewTicker(time.Hour)
		t.Stop()
		return t
	}
	return time.NewTicker(n.every)
}

func (n *notifier) alive(headline string) { n.tell(stateWatchdog + "\nSTATUS=" + headline) }

// headline is the one line that "systemctl status" shows.
func (l *loop) headline(now time.Time) string {
	open, troubled := 0, 0
	var next time.Time
	for _, e := range l.entries {
		if underWay(e.record.phase()) {
			open++
		}
		if !e.healthy {
			troubled++
		}
		if !e.running && (next.IsZero() || e.at.Before(next)) {
			next = e.at
		}
	}
	text := fmt.Sprintf("%d credentials, %d rotating, %d need attention", len(l.entries), open, troubled)
	if next.After(now) {
		text += "; next look at " + next.UTC().Format(time.RFC3339)
	}
	return text
}
