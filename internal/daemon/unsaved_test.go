package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/rotate"
)

// lockedBuffer is a log that the test reads after the daemon has ended.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// A journal that cannot be written, for want of disk space, is told once in the log, and
// once that it works again; an effect's own error is not mistaken for it.
func TestAFailingJournalIsToldOnce(t *testing.T) {
	full := errors.New("database or disk is full (13)")
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		began := time.Now()
		e.advance = func(_ context.Context, _ *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
			res := rotate.AdvanceResult{Record: r, Next: time.Now().Add(10 * time.Second)}
			switch since := time.Since(began); {
			case since > time.Minute && since < 5*time.Minute: // nothing is written
				res.Err = full
				res.Record.Epoch = 1
			case since > 10*time.Minute: // the effect fails, and that is written
				res.Err = errors.New("vault is sealed")
				res.Record.Epoch++
			default:
				res.Record.Epoch++
			}
			return res
		}
		var log lockedBuffer
		d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 3}), Log: slog.New(slog.NewJSONHandler(&log, nil))})
		time.Sleep(15 * time.Minute)
		d.end(t)
		text := log.String()
		for _, want := range []string{`"level":"ERROR","msg":"the journal fails`, full.Error(), `"msg":"the journal works again"`} {
			if got := strings.Count(text, want); got != 1 {
				t.Errorf("%q %d times in the log, want once:\n%s", want, got, text)
			}
		}
		if strings.Contains(text, "sealed") {
			t.Errorf("an effect's error was told as the journal's:\n%s", text)
		}
	})
}
