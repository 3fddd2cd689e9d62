package daemon

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/rotate"
)

func TestAdvancesAtTheTimeThatTheEngineAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		e.advance = func(_ context.Context, _ *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
			return rotate.AdvanceResult{Record: r, Step: rotate.StepProbe, Effect: rotate.EffectProbe, Next: time.Now().Add(90 * time.Second), Healthy: true}
		}
		began := time.Now()
		d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 1})})
		time.Sleep(5 * time.Minute)
		d.end(t)
		var got []time.Duration
		for _, c := range e.called("a-0") {
			got = append(got, c.at.Sub(began))
		}
		want := []time.Duration{0, 90 * time.Second, 180 * time.Second, 270 * time.Second}
		if !slices.Equal(got, want) {
			t.Errorf("advanced at %v, want %v", got, want)
		}
	})
}

func TestTrustsTheJournalsDueTimesAtTheStart(t *testing.T) {
	now := time.Now
	tests := []struct {
		name   string
		record func(r *rotate.Record)
		want   time.Duration // after the start
	}{
		{"never seen", func(r *rotate.Record) { *r = rotate.Record{Name: r.Name} }, 0},
		{"due in the past", func(r *rotate.Record) { r.NextAt = now().Add(-time.Hour) }, 0},
		{"due later", func(r *rotate.Record) { r.NextAt = now().Add(10 * time.Minute) }, 10 * time.Minute},
		{"later by the journal, earlier by the policy", func(r *rotate.Record) {
			r.NextAt = now().Add(time.Hour)
			r.Live = rotate.KeyFacts{Slot: rotate.Slot1, Fingerprint: "f", MintedAt: now().Add(-time.Hour), Expires: now().Add(30 * time.Minute)}
		}, 10 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFakeEngine(t)
				r := rotate.Record{Name: "a-0", Epoch: 3, ID: rotate.ID{Portal: "a", Item: "a-0"}}
				tt.record(&r)
				e.records["a-0"] = r
				f := fleetOf(map[rotate.PortalID]int{"a": 1})
				f.Credentials[0].Policy = rotate.Policy{RenewBefore: 20 * time.Minute, Lifetime: 2 * time.Hour}
				began := time.Now()
				d := startDaemon(t, e, Options{Fleet: f})
				time.Sleep(30 * time.Minute)
				d.end(t)
				calls := e.called("a-0")
				if len(calls) == 0 || calls[0].at.Sub(began) != tt.want {
					t.Errorf("calls = %v, want the first %s after the start", calls, tt.want)
				}
			})
		})
	}
}

// Every credential of portal "hung" hangs until the effect's time is up. The others must not notice.
func TestAHangingPortalDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		e.advance = func(ctx context.Context, c *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
			if c.ID.Portal == "hung" {
				<-ctx.Done()
				return rotate.AdvanceResult{Record: r, Step: rotate.StepProbe, Effect: rotate.EffectMint, Err: ctx.Err(), Next: time.Now()}
			}
			return rotate.AdvanceResult{Record: r, Step: rotate.StepProbe, Effect: rotate.EffectProbe, Next: time.Now().Add(time.Second), Healthy: true}
		}
		d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"hung": 50, "fine": 5, "also": 1}), StopTimeout: 3 * time.Minute})
		time.Sleep(time.Minute - time.Millisecond)
		for _, name := range []rotate.Name{"fine-0", "fine-4", "also-0"} {
			calls := e.called(name)
			if len(calls) != 60 {
				t.Errorf("%s was advanced %d times in a minute, want 60", name, len(calls))
			}
		}
		d.end(t)
	})
}

func TestTheMostUrgentGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		e.advance = func(_ context.Context, _ *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
			time.Sleep(time.Second) // keeps the only worker busy
			return rotate.AdvanceResult{Record: r, Step: rotate.StepProbe, Effect: rotate.EffectProbe, Next: time.Now().Add(time.Hour), Healthy: true}
		}
		f := fleetOf(map[rotate.PortalID]int{"a": 5})
		f.Portals[0].Workers = 1
		now := time.Now()
		for i, change := range []func(*rotate.Record){
			func(r *rotate.Record) { r.Live.Expires = now.Add(90 * 24 * time.Hour) },
			func(r *rotate.Record) { r.Live.Expires = now.Add(30 * 24 * time.Hour) },
			func(r *rotate.Record) { r.Phase = rotate.PhaseOverlap },
			func(r *rotate.Record) { r.Due = rotate.ReasonDead },
			func(r *rotate.Record) { r.Phase = rotate.PhaseMinting },
		} {
			name := f.Credentials[i].Name
			r := rotate.Record{Name: name, ID: f.Credentials[i].ID, Epoch: 1, Phase: rotate.PhaseIdle}
			change(&r)
			e.records[name] = r
		}
		d := startDaemon(t, e, Options{Fleet: f})
		time.Sleep(time.Minute)
		d.end(t)
		var order []rotate.Name
		for _, c := range e.calls {
			order = append(order, c.name)
		}
		want := []rotate.Name{"a-4", "a-3", "a-2", "a-1", "a-0"}
		if !slices.Equal(order, want) {
			t.Errorf("order = %v, want %v", order, want)
		}
	})
}

func TestDoesNotSpin(t *testing.T) {
	tests := []struct {
		name   string
		result rotate.AdvanceResult
		most   int // advances in a minute
	}{
		{"at once without an effect", rotate.AdvanceResult{}, 61},
		{"the journal fails", rotate.AdvanceResult{Err: errors.New("disk full")}, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFakeEngine(t)
				e.advance = func(context.Context, *rotate.Credential, rotate.Record) rotate.AdvanceResult { return tt.result }
				d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 1})})
				time.Sleep(time.Minute)
				d.end(t)
				if got := len(e.called("a-0")); got < 2 || got > tt.most {
					t.Errorf("advanced %d times in a minute, want 2 to %d", got, tt.most)
				}
			})
		})
	}
}

func TestStopFinishesAStartedEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		var finished atomic.Bool
		e.advance = func(ctx context.Context, _ *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
			select {
			case <-time.After(20 * time.Second):
				finished.Store(true)
			case <-ctx.Done():
			}
			return rotate.AdvanceResult{Record: r, Step: rotate.StepProbe, Effect: rotate.EffectMint, Next: time.Now(), Healthy: true}
		}
		d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 2})})
		time.Sleep(time.Second)
		d.end(t)
		if !finished.Load() {
			t.Error("the stop tore an effect")
		}
		if got := len(e.calls); got != 2 {
			t.Errorf("%d effects, want 2: a stop starts nothing new", got)
		}
	})
}

func TestStopGivesUpInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		e.advance = func(_ context.Context, _ *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
			time.Sleep(time.Hour)
			return rotate.AdvanceResult{Record: r}
		}
		d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 1}), StopTimeout: 30 * time.Second})
		time.Sleep(time.Second)
		began := time.Now()
		d.stop()
		err := <-d.result
		if err == nil || !strings.Contains(err.Error(), "a-0") {
			t.Errorf("run = %v, want an error that names a-0", err)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("the stop took %s, want 30s", took)
		}
		time.Sleep(2 * time.Hour) // a bubble waits for everything that was started in it
	})
}

func TestPassesAndHeartbeat(t *testing.T) {
	tests := []struct {
		name    string
		healthy func(rotate.Name) bool
		beats   bool
	}{
		{"all well", func(rotate.Name) bool { return true }, true},
		{"one in trouble", func(n rotate.Name) bool { return n != "a-1" }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newFakeEngine(t)
				e.advance = func(_ context.Context, c *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
					return rotate.AdvanceResult{Record: r, Step: rotate.StepProbe, Effect: rotate.EffectProbe, Next: time.Now().Add(time.Hour), Healthy: tt.healthy(c.Name)}
				}
				var beats atomic.Int64
				d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 3}),
					Heartbeat: func(context.Context) error { beats.Add(1); return nil }})
				time.Sleep(150 * time.Second)
				d.end(t)
				if tt.beats != (beats.Load() > 0) {
					t.Errorf("%d heartbeats", beats.Load())
				}
				if got := len(d.monitor.passes); got != 3 {
					t.Errorf("%d passes in two and a half minutes, want 3", got)
				}
				if slices.Contains(d.monitor.passes, !tt.beats) {
					t.Errorf("passes healthy = %v", d.monitor.passes)
				}
			})
		})
	}
}

func TestNoHeartbeatWhileACredentialHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		e.advance = func(ctx context.Context, _ *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
			<-ctx.Done()
			return rotate.AdvanceResult{Record: r, Next: time.Now().Add(time.Hour), Healthy: true}
		}
		var beats atomic.Int64
		d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 1}), EffectTimeout: 10 * time.Minute,
			Heartbeat: func(context.Context) error { beats.Add(1); return nil }})
		time.Sleep(9 * time.Minute)
		if beats.Load() != 0 {
			t.Errorf("%d heartbeats while the only credential hung", beats.Load())
		}
		time.Sleep(3 * time.Minute)
		if beats.Load() == 0 {
			t.Error("no heartbeat after it came back")
		}
		d.end(t)
	})
}

func TestCommandIsCarriedOutBetweenAdvances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		e.advance = func(_ context.Context, _ *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
			time.Sleep(10 * time.Second)
			return rotate.AdvanceResult{Record: r, Step: rotate.StepProbe, Effect: rotate.EffectProbe, Next: time.Now().Add(time.Hour), Healthy: true}
		}
		e.command = func(cmd rotate.Command, r rotate.Record) (rotate.Record, error) {
			if cmd.Kind == rotate.CommandRollback {
				return r, &rotate.RefusedError{Command: cmd.Kind, Why: "nothing to go back to"}
			}
			r.Request = &rotate.Request{Kind: rotate.RequestRotate, By: cmd.By}
			return r, nil
		}
		d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 1})})
		time.Sleep(time.Second) // an advance is under way
		r, err := d.Command(t.Context(), "a-0", rotate.Command{Kind: rotate.CommandRotate, By: "somebody"})
		if err != nil || r.Request == nil || r.Request.By != "somebody" {
			t.Errorf("command = %+v, %v", r.Request, err)
		}
		if _, err := d.Command(t.Context(), "a-0", rotate.Command{Kind: rotate.CommandRollback}); err == nil {
			t.Error("a refused command has no error")
		}
		if _, err := d.Command(t.Context(), "nobody", rotate.Command{Kind: rotate.CommandHold}); err == nil {
			t.Error("a command for nobody has no error")
		}
		time.Sleep(time.Minute)
		d.end(t)
		var whats []string
		for _, c := range e.called("a-0") {
			whats = append(whats, c.what)
		}
		want := []string{"advance", "rotate", "rollback", "advance"}
		if !slices.Equal(whats, want) && !slices.Equal(whats, []string{"advance", "rotate", "advance", "rollback", "advance"}) {
			t.Errorf("calls = %v, want %v", whats, want)
		}
	})
}

func TestDrainFinishesWhatIsOpenAndStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		next := map[rotate.Phase]rotate.Phase{rotate.PhaseIdle: rotate.PhaseClaiming, "": rotate.PhaseClaiming, rotate.PhaseClaiming: rotate.PhaseOverlap,
			rotate.PhaseOverlap: rotate.PhaseRetiring, rotate.PhaseRetiring: rotate.PhaseIdle}
		e.advance = func(_ context.Context, _ *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
			r.Phase = next[r.Phase]
			return rotate.AdvanceResult{Record: r, Step: rotate.StepProbe, Effect: rotate.EffectProbe, Next: time.Now().Add(time.Second), Healthy: true}
		}
		d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 3})})
		time.Sleep(9500 * time.Millisecond) // each is in the middle of its third rotation
		if err := d.Drain(t.Context()); err != nil {
			t.Fatalf("drain: %v", err)
		}
		calls := len(e.calls)
		time.Sleep(time.Minute)
		if len(e.calls) != calls {
			t.Errorf("%d advances after the drain", len(e.calls)-calls)
		}
		for name, r := range e.records {
			if r.Phase != rotate.PhaseIdle {
				t.Errorf("%s is %s after the drain, want idle", name, r.Phase)
			}
		}
		d.end(t)
	})
}

func TestOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		e.records["a-1"] = rotate.Record{Name: "a-1", Epoch: 1, NextAt: time.Now().Add(time.Hour)}
		steps := 0
		e.advance = func(_ context.Context, _ *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
			steps++
			if steps < 4 {
				r.Phase = rotate.PhaseProving
				return rotate.AdvanceResult{Record: r, Step: rotate.StepProbe, Effect: rotate.EffectProve, Next: time.Now().Add(5 * time.Second), Healthy: true}
			}
			r.Phase = rotate.PhaseOverlap
			return rotate.AdvanceResult{Record: r, Step: rotate.StepProbe, Effect: rotate.EffectPublish, Next: time.Now().Add(24 * time.Hour), Healthy: true}
		}
		d, err := New(Options{Engine: e, Journal: e, Fleet: fleetOf(map[rotate.PortalID]int{"a": 2})})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Once(t.Context()); err != nil {
			t.Errorf("once = %v", err)
		}
		if len(e.called("a-0")) != 4 || len(e.called("a-1")) != 0 {
			t.Errorf("calls = %v, want four of a-0, which was due, and none of a-1, which was not", e.calls)
		}
	})
}

func TestHangupReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		hup := make(chan os.Signal, 1)
		d := startDaemon(t, e, Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 1}), Hangup: hup,
			Load: func(context.Context) (*Fleet, error) { return fleetOf(map[rotate.PortalID]int{"a": 2}), nil }})
		time.Sleep(time.Second)
		hup <- syscall.SIGHUP
		time.Sleep(time.Second)
		if len(e.called("a-1")) != 1 {
			t.Error("the added credential was not looked at")
		}
		d.end(t)
	})
}
