package main

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/alert"
	"rotatord/internal/config"
	"rotatord/internal/metrics"
	"rotatord/internal/rotate"
)

// TestConfigKnowsEveryCondition: config may not import alert, and has words of its own.
func TestConfigKnowsEveryCondition(t *testing.T) {
	var want []string
	for _, c := range alert.Conditions() {
		want = append(want, string(c))
	}
	if diff := cmp.Diff(want, config.AlertConditions()); diff != "" {
		t.Errorf("conditions (-alert +config):\n%s", diff)
	}
}

func TestTroubles(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var is troubles
	refused := errors.New("list items: transient: connection refused")
	is.surveyed("esri", refused, now, now.Add(time.Minute))
	is.surveyed("esri", errors.New("list items: auth"), now.Add(time.Hour), now.Add(2*time.Hour))
	if p := is.portals["esri"]; !p.known || !p.downSince.Equal(now) || p.why != "list items: auth" || !p.due.Equal(now) {
		t.Errorf("two failed surveys: %+v", p)
	}
	is.surveyed("esri", nil, now.Add(2*time.Hour), now.Add(3*time.Hour))
	if p := is.portals["esri"]; !p.downSince.IsZero() || p.why != "" || !p.surveyedAt.Equal(now.Add(2*time.Hour)) || !p.due.Equal(now.Add(3*time.Hour)) {
		t.Errorf("a good survey: %+v", p)
	}
	for i, result := range []rotate.Result{"transient", "auth", "transient"} {
		is.used("kv", metrics.SinkWrite, result, now.Add(time.Duration(i)*time.Minute))
	}
	if s := is.sinks["kv"]; s.failures != failuresTell || !s.since.Equal(now) || s.why != "write: transient" {
		t.Errorf("three failures: %+v", s)
	}
	is.used("kv", metrics.SinkRead, rotate.Result(rotate.KindConflict), now) // it answers
	if s := is.sinks["kv"]; s.failures != 0 {
		t.Errorf("after a conflict: %+v", s)
	}
	is.reloaded(refused, now)
	is.reloaded(refused, now.Add(time.Hour))
	var next troubles
	if next.keep(&is); !next.refused.Equal(now) || next.refusal != refused.Error() {
		t.Errorf("a refused reload: %v %q", next.refused, next.refusal)
	}
	if next.reloaded(nil, now); !next.refused.IsZero() {
		t.Error("a good reload does not end it")
	}
}
