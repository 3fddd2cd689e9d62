package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
	"rotatord/internal/simulate"
)

// The page's calendar has the dates of `rotatord simulate`, windows, stages and limits
// among them, and names who cannot be rotated in time.
func TestTheCalendarSaysWhatSimulateSays(t *testing.T) {
	t.Parallel()
	w, root := newPageWorld(t, true)
	weekday := time.Now().UTC().AddDate(0, 0, 63).Weekday() // not when it is due
	w.withConfig(t, "schedules:", "fleet: {stages: [canary, rest], healthy_for: 5d, at_once: 1}\nschedules:")
	w.withConfig(t, "mode: watch,", "mode: watch, stage: canary,")
	w.withConfig(t, "consumers: [tile server]", fmt.Sprintf("stage: rest, windows: [{cron: '0 2 * * %d', length: 2h}]", weekday))
	p := w.start(t)
	settled(t, w, root)
	var sim simulate.Result
	r := runCLI(t, "--config", w.config, "--json", "simulate", "--days", "90")
	if err := json.Unmarshal([]byte(r.out), &sim); err != nil || len(sim.Events) < 2 {
		t.Fatalf("simulate: %v, %s", err, r.out)
	}
	says := map[string]string{simulate.Rotates: "new key is served", simulate.Retires: "old key is invalidated", simulate.Dies: "key ends unrotated"}
	rotations := 0
	for _, e := range sim.Events {
		code, page := ask(t, http.MethodGet, root+"calendar?on="+e.At.UTC().Format(time.DateOnly))
		row := regexp.MustCompile(`<tr class="[a-z]+"><td>` + e.At.UTC().Format("15:") + `[0-9]{2}</td><th scope="row"><a href="credential\?name=` + string(e.Name) + `">.*` + says[e.What])
		if code != http.StatusOK || !strings.Contains(page, "As the planner foretells it") || !row.MatchString(page) {
			t.Errorf("the page of %s does not say that %s %s:\n%s", e.At, e.Name, says[e.What], page)
		}
		if e.What == simulate.Rotates && e.Name == "first" {
			rotations++
			if e.At.UTC().Weekday() != weekday || e.At.UTC().Hour() != 2 {
				t.Errorf("first is rotated at %s, not in its window", e.At)
			}
		}
	}
	if rotations != 1 {
		t.Errorf("%d rotations of first in 90 days: %s", rotations, r.out)
	}
	_, page := ask(t, http.MethodGet, root+"calendar")
	for _, e := range sim.Dying {
		if !regexp.MustCompile(`(?s)cannot be rotated in time.*<li><a href="credential\?name=` + string(e.Name) + `">`).MatchString(page) {
			t.Errorf("%s dies, and the page does not begin with it", e.Name)
		}
	}
	p.terminate(t)
}

// A forecast is made once for many that ask, again when it is old or the config is
// another, and never while nobody asks.
func TestForecastsAreMadeWhenAsked(t *testing.T) {
	t.Parallel()
	runs := make(chan int, 100)
	f := newForecaster(func(yield func(*daemon.View)) {
		runs <- 1
		yield(&daemon.View{Managed: daemon.Managed{Credential: &rotate.Credential{Name: "maps", Mode: rotate.ModeWatch}},
			Record: rotate.Record{Live: rotate.KeyFacts{Slot: rotate.Slot1, Fingerprint: "x", Expires: time.Now().Add(time.Hour)}}})
	}, &config.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	for range 5 {
		if got := f.get(ctx); got == nil || len(got.Events) != 1 || got.Events[0].Detail != "it is only watched" {
			t.Fatalf("forecast: %+v", got)
		}
	}
	if n := len(runs); n != 1 {
		t.Errorf("made %d times for five that asked", n)
	}
	f.config.Store(simulatedOf(&config.Config{}))
	if f.get(ctx); len(runs) != 2 {
		t.Errorf("made %d times after a reload, want once more", len(runs))
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := f.get(ctx); got == nil {
		t.Error("what was made is forgotten")
	}
}
