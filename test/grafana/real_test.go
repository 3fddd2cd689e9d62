package grafana

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rotatord/internal/portal/portaltest"
)

// emptyWhenWell are the queries with nothing to show while all is well. Each has to show
// something after the trouble that this test then makes.
var emptyWhenWell = []string{
	"rotatord-fleet: What wants a person A",
	"rotatord-fleet: Alerts that fire A",
	"rotatord-fleet: What failed A",
	"rotatord-fleet: annotation Alerts",
	"rotatord-credential: annotation Alerts",
	"rotatord-daemon: Each portal F", // a pause that the portal asked for
	"rotatord-daemon: Passes C",      // a refused config
	"rotatord-daemon: annotation Alerts",
}

// emptyHere are the queries that this run cannot feed; TestQueriesNameWhatExists holds them.
var emptyHere = []string{
	"rotatord-daemon: Each portal E", // the end of an identity: a password, as the emulator's users have, has none
}

// asked is a query of a dashboard that waits for its first series.
type asked struct {
	expr    string
	instant bool
}

// pending are the queries of all the dashboards, with a choice made.
func pending(c choice, want func(where string) bool) map[string]asked {
	out := map[string]asked{}
	for _, d := range All() {
		instant := map[string]bool{}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				instant[d.UID+": "+p.Title+" "+q.RefID] = q.Instant
			}
		}
		everyQuery(d, func(where, expr string) {
			if want(where) {
				out[where] = asked{expr: c.put(expr), instant: instant[where]}
			}
		})
	}
	return out
}

// answered waits until each of the queries has returned a series.
func (w *world) answered(s *server, open map[string]asked) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for _, where := range slices.Sorted(maps.Keys(open)) {
			got, err := s.ask(ctx, open[where].expr, open[where].instant)
			switch {
			case err != nil && ctx.Err() == nil && strings.Contains(err.Error(), "parse error"), err != nil && strings.Contains(err.Error(), "many-to-"),
				err != nil && strings.Contains(err.Error(), "duplicate"), err != nil && strings.Contains(err.Error(), "execution"):
				w.t.Errorf("%s: %v\n%s", where, err, open[where].expr)
				delete(open, where)
			case err == nil && len(got) > 0:
				delete(open, where)
			}
		}
		if len(open) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			for _, where := range slices.Sorted(maps.Keys(open)) {
				w.t.Errorf("%s returns no series:\n%s", where, open[where].expr)
			}
			w.t.Logf("status:\n%s", w.cli("status"))
			return
		}
	}
}

// TestEveryQueryOnARealPrometheus: the built daemon rotates keys of two portals, a real
// Prometheus scrapes it and evaluates our rules, and every query of every dashboard
// returns series: in good days, or after the trouble that it is there to show.
func TestEveryQueryOnARealPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("a daemon, a Vault and a Prometheus: not with -short")
	}
	w := newWorld(t)
	s := startServer(t, w.listen)
	w.start()
	well := choice{"owner": {theOwner, "ops"}, "portal": {"maps", "places"}, "credential": {"tiles", "spiky", "spent"}}
	w.answered(s, pending(well, func(where string) bool {
		return !slices.Contains(emptyWhenWell, where) && !slices.Contains(emptyHere, where)
	}))
	w.look(s, "well", well)

	w.trouble()
	w.answered(s, pending(choice{"credential": {"spiky"}}, func(where string) bool { return slices.Contains(emptyWhenWell, where) }))
	w.look(s, "trouble", choice{"credential": {"tiles"}})
}

// trouble of each kind that a panel shows.
func (w *world) trouble() {
	w.t.Helper()
	foreign, err := w.places.MintOutOfBand(w.made["places"].ItemID, 2, time.Now().Add(time.Hour))
	w.must(err)
	w.must(os.WriteFile(filepath.Join(w.dir, "keys", "routes"), []byte("ARCGIS_API_KEY="+foreign+"\n"), 0o600))
	w.t.Logf("hold: %s", w.cli("hold", "spiky", "--reason", "release week"))
	for _, f := range []portaltest.Fault{
		{Op: portaltest.OpMint, Kind: portaltest.ServerError, Count: -1},
		{Kind: portaltest.RateLimited, RetryAfter: 3 * time.Minute, Skip: 20},
	} {
		_, err := w.places.Inject(f)
		w.must(err)
	}
	w.rewrite("schedules: {tick: '@every 1s'", "schedules: {tick: 'now and then'")
}
