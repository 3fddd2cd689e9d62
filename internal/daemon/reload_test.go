package daemon

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/rotate"
)

func TestSurveyThatDisagreesHasTheCredentialLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		seen := rotate.SlotState{SeenAt: time.Now()}
		e.records["a-0"] = rotate.Record{Name: "a-0", Epoch: 1, Slots: [3]rotate.SlotState{{}, seen, seen}}
		var answers []error
		f := fleetOf(map[rotate.PortalID]int{"a": 2})
		f.Portals[0].SurveyAt = everyMinute()
		f.Portals[0].Survey = func(context.Context) ([]Seen, error) {
			answers = append(answers, nil)
			if len(answers) == 2 {
				return nil, errors.New("the portal is down")
			}
			present := rotate.ListedKey{Present: len(answers) > 2, Expires: time.Now().Add(time.Hour)}
			return []Seen{{ID: rotate.ID{Portal: "a", Item: "a-0"}, Slots: [3]rotate.ListedKey{{}, present, present}},
				{ID: rotate.ID{Portal: "a", Item: "of nobody"}, Slots: [3]rotate.ListedKey{{}, present, present}}}, nil
		}
		d := startDaemon(t, e, Options{Fleet: f})
		time.Sleep(90 * time.Second) // two surveys, nothing to see, one failed
		if got := len(e.called("a-0")); got != 1 {
			t.Errorf("a-0 was advanced %d times, want once", got)
		}
		time.Sleep(time.Minute)
		d.end(t)
		if len(e.called("a-0")) != 2 || len(e.called("a-1")) != 1 {
			t.Errorf("calls = %v, want a second one of a-0 alone", e.calls)
		}
		if m := d.monitor.surveys; len(m) != 3 || m[0] != nil || m[1] == nil || m[2] != nil {
			t.Errorf("surveys = %v", m)
		}
	})
}

func TestReload(t *testing.T) {
	open := func(r *rotate.Record) { r.Phase = rotate.PhaseOverlap }
	idle := func(r *rotate.Record) { r.Phase = rotate.PhaseIdle }
	other := managed("a", 0)
	other.Credential.ID.Item = "another"
	tests := []struct {
		name    string
		change  func(*rotate.Record)
		load    func() (*Fleet, error)
		refused string
		want    ReloadResult
	}{
		{"added and removed at rest", idle, func() (*Fleet, error) {
			return fleetOf(map[rotate.PortalID]int{"a": 1, "b": 1}), nil
		}, "", ReloadResult{Credentials: 2, Added: []string{"b-0"}, Removed: []string{"a-1"}}},
		{"removed in mid-rotation", open, func() (*Fleet, error) { return fleetOf(map[rotate.PortalID]int{"a": 1}), nil },
			"credential a-1 is gone, but its rotation is under way (overlap)", ReloadResult{}},
		{"another item in mid-rotation", open, func() (*Fleet, error) {
			f := fleetOf(map[rotate.PortalID]int{"a": 2})
			f.Credentials[0] = other
			return f, nil
		}, "credential a-0 is another item (a/another, was a/a-0)", ReloadResult{}},
		{"another item at rest", idle, func() (*Fleet, error) {
			f := fleetOf(map[rotate.PortalID]int{"a": 2})
			f.Credentials[0] = other
			return f, nil
		}, "", ReloadResult{Credentials: 2}},
		{"cannot be loaded", idle, func() (*Fleet, error) { return nil, errors.New("line 3: no") }, "line 3: no", ReloadResult{}},
		{"needs a restart", idle, func() (*Fleet, error) {
			f := fleetOf(map[rotate.PortalID]int{"a": 2})
			f.NeedRestart = []string{"http.listen"}
			return f, nil
		}, "", ReloadResult{Credentials: 2, NeedRestart: []string{"http.listen"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFakeEngine(t)
				e.advance = func(_ context.Context, _ *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
					tt.change(&r)
					return rotate.AdvanceResult{Record: r, Step: rotate.StepProbe, Effect: rotate.EffectProbe, Next: time.Now().Add(time.Hour), Healthy: true}
				}
				closed := 0
				f := fleetOf(map[rotate.PortalID]int{"a": 2})
				f.Close = func() error { closed++; return nil }
				d := startDaemon(t, e, Options{Fleet: f, Load: func(context.Context) (*Fleet, error) { return tt.load() }})
				time.Sleep(time.Second)
				got, err := d.Reload(t.Context())
				checkReload(t, d, got, err, tt.refused, tt.want)
				if want := 1; tt.refused == "" && closed != want {
					t.Errorf("the former adapters were released %d times, want %d", closed, want)
				}
				d.end(t)
				if closed != 1 {
					t.Errorf("the adapters were released %d times at the end, want once", closed)
				}
			})
		})
	}
}

func checkReload(t *testing.T, d *running, got ReloadResult, err error, refused string, want ReloadResult) {
	t.Helper()
	if refused == "" {
		if err != nil {
			t.Fatalf("reload = %v", err)
		}
		if got.Credentials != want.Credentials || !slices.Equal(got.Added, want.Added) || !slices.Equal(got.Removed, want.Removed) ||
			!slices.Equal(got.NeedRestart, want.NeedRestart) {
			t.Errorf("reload = %+v, want %+v", got, want)
		}
	} else if err == nil || !strings.Contains(err.Error(), refused) {
		t.Errorf("reload = %v, want %q", err, refused)
	}
	if m := d.monitor.reloads; len(m) != 1 || (m[0] == nil) != (refused == "") {
		t.Errorf("reloads told = %v", m)
	}
}
