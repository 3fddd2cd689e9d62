package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/journal"
	"rotatord/internal/metrics"
	"rotatord/internal/rotate"
)

const pausesConfig = `portals:
  main: {url: URL, product: online, identity: {api_key: env:PAUSES_TEST_KEY}}
sinks:
  file: {file: {path: 'DIR/{{.Name}}'}}
defaults: {portal: main, sinks: [file], mode: watch, policy: {lifetime: 90d, renew_before: 30d, overlap: 7d, critical_before: 5d}}
state: {dir: DIR}
`

// A portal that asked for ten minutes is not asked again by the next process, nor after a reload.
func TestAPauseOutlivesTheProcess(t *testing.T) {
	var asked atomic.Int64
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer busy.Close()
	t.Setenv("PAUSES_TEST_KEY", "AAPT-key-of-the-test")
	dir := t.TempDir()
	cfg, err := config.Parse("config.yaml", []byte(strings.NewReplacer("DIR", dir, "URL", busy.URL).Replace(pausesConfig)))
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	path := filepath.Join(dir, "journal.db")
	// process opens everything anew, asks the portal, and tells what it was told.
	process := func(o journal.Options, loads int) time.Duration {
		t.Helper()
		db, err := journal.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		p, err := openPauses(t.Context(), db, !o.ReadOnly, log)
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		var last error
		for range loads {
			a, err := newAdapters(cfg, log, metrics.New(metrics.Options{}))
			if err != nil {
				t.Fatal(err)
			}
			defer a.close()
			p.restore(a)
			if last = a.portals["main"].Control(t.Context()); rotate.KindOf(last) != rotate.KindRateLimited {
				t.Fatalf("control: %v, want it refused for the rate", last)
			}
		}
		return rotate.WaitOf(last)
	}
	waits := []time.Duration{process(journal.Options{Path: path}, 2), process(journal.Options{Path: path}, 1), process(journal.Options{Path: path, ReadOnly: true}, 1)}
	for i, wait := range waits {
		if wait > 10*time.Minute || wait < 9*time.Minute {
			t.Errorf("process %d was told to wait %s, want what is left of 10m", i, wait)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the portal was asked %d times, want once", n)
	}
}

// A journal that is slow or broken delays no request, the last word is the one that stays, and a stop waits for it.
func TestPausesAreKeptBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stored []string
		p, err := openPauses(t.Context(), nil, true, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		p.put = func(_ context.Context, _ string, value []byte) error {
			time.Sleep(3 * time.Second) // fake time
			stored = append(stored, string(value))
			return errors.New("disk full")
		}
		start := time.Now()
		p.note("main", start.Add(time.Second)) // too short to be kept
		for i := range 50 {
			p.note("main", start.Add(time.Minute+time.Duration(i)*time.Second))
			synctest.Wait()
		}
		if got := time.Since(start); got != 0 {
			t.Errorf("a request was kept for %s", got)
		}
		p.close()
		p.note("main", start.Add(time.Hour)) // of a worker that a stop gave up
		if len(stored) != 2 || stored[1] != `{"paused_until":"2000-01-01T00:01:49Z"}` {
			t.Errorf("stored %q, want the first and the last", stored)
		}
	})
}

func TestAPauseThatIsNotUnderstood(t *testing.T) {
	db, err := journal.Open(t.Context(), journal.Options{Path: filepath.Join(t.TempDir(), "journal.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.PortalState().Put(t.Context(), "main", []byte(`{"paused_until":7}`)); err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	p, err := openPauses(t.Context(), db, true, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil || len(p.until) != 0 || !strings.Contains(logged.String(), "portal=main") {
		t.Errorf("got %v, %v and the log %q; want a warning and no pause", p.until, err, logged.String())
	}
}
