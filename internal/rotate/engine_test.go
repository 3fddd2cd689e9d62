package rotate

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	errBusy    = &Error{Op: "call", Kind: KindTransient}
	errLost    = &Error{Op: "call", Kind: KindUnknownOutcome}
	errNever   = &Error{Op: "call", Kind: KindPermanent}
	errJournal = &Error{Op: "save", Kind: KindTransient}
)

// inBubble runs a test in fake time.
func inBubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func TestWholeRotation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := newRig(t)
		g.each = func(r AdvanceResult) {
			if r.Err != nil {
				t.Errorf("%s: %v", r.Step, r.Err)
			}
		}
		g.until("bootstrap", func(r AdvanceResult) bool { return r.Step == StepPromote })
		wantSteps := []Step{StepAdopt, StepStart, StepClaim, StepDate, StepMint, StepProve, StepPublish, StepPublish, StepPromote}
		if diff := cmp.Diff(wantSteps, g.steps); diff != "" {
			t.Errorf("bootstrap (-want +got):\n%s", diff)
		}
		first := g.record()
		if first.Phase != PhaseIdle || first.Live.Slot != Slot1 || first.Live.Generation != 1 || first.AdoptedAt.IsZero() {
			t.Errorf("after bootstrap: %+v", first)
		}
		g.portal.calls = nil
		g.untilPhase(PhaseOverlap)
		second := g.record()
		if second.Live.Slot != Slot2 || second.Live.Generation != 2 || second.Previous != first.Live {
			t.Errorf("after promotion: live %+v, previous %+v", second.Live, second.Previous)
		}
		if lead := first.Live.Expires.Sub(second.PromotedAt); lead > 21*day || lead < 20*day {
			t.Errorf("rotated %s before expiry", lead)
		}
		if want := second.PromotedAt.Add(7 * day); !second.RetireAt.Equal(want) {
			t.Errorf("retires %s, want %s", second.RetireAt, want)
		}
		g.untilPhase(PhaseIdle)
		if diff := cmp.Diff([]string{"date 2", "mint 2", "revoke 1"}, g.portal.effects()); diff != "" {
			t.Errorf("effects (-want +got):\n%s", diff)
		}
		if late := time.Since(second.RetireAt); late < 0 || late > time.Minute {
			t.Errorf("retired %s after the overlap", late)
		}
		last := g.record()
		if last.Previous != (KeyFacts{}) || last.Rotation != nil || last.Slots[Slot1].Use != UseEmpty || g.portal.slots[Slot1] != nil {
			t.Errorf("after retiring: %+v", last)
		}
		for _, s := range []*fakeSink{g.vault, g.file} {
			if e := s.current(); !e.Key.Equal(g.portal.slots[Slot2].secret) || e.Meta.Key.Generation != 2 || e.Meta.Key.Fingerprint != last.Live.Fingerprint {
				t.Errorf("%s holds %+v", s.name, e.Meta)
			}
		}
		for k, n := range map[EventKind]int{EventAdopted: 1, EventStarted: 2, EventPromoted: 2, EventFinished: 2, EventDrift: 0, EventKeyDead: 0, EventKeyLost: 0} {
			if got := g.journal.told(k); got != n {
				t.Errorf("%d events %s, want %d", got, k, n)
			}
		}
	})
}

// TestBackoffOutlivesARestart: attempts and the time of the next one are in the
// journal, so that a restart does not hammer.
func TestBackoffOutlivesARestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := at(t, PhaseDating)
		var waits []time.Duration
		for n := range 3 {
			g.portal.fail["date"] = []fault{{err: errBusy}}
			res := g.advance()
			if res.Step != StepDate || KindOf(res.Err) != KindTransient || res.Blocked != "" {
				t.Fatalf("%+v", res)
			}
			r := g.record()
			waits = append(waits, time.Until(r.RetryAt))
			if !r.RetryAt.Equal(res.Next) || r.Attempts != n+1 || r.LastKind != KindTransient || r.Blocked != ReasonBackoff {
				t.Fatalf("journalled %+v", r)
			}
			g.restart()
			calls := len(g.portal.calls)
			if res = g.advance(); res.Step != StepNone || res.Blocked != ReasonBackoff || !res.Next.Equal(r.RetryAt) || len(g.portal.calls) != calls {
				t.Fatalf("after a restart it is not waited: %+v", res)
			}
			time.Sleep(time.Until(r.RetryAt))
			// The claim was in the memory that is gone.
			g.until("dating", func(r AdvanceResult) bool { return r.Record.Phase == PhaseDating })
		}
		// The claims in between succeed, and end nothing: the waits double.
		for i, w := range waits {
			if want := 30 * time.Second << i; w > want || w < want*9/10 {
				t.Errorf("wait %d is %s, want %s less a tenth at most", i, w, want)
			}
		}
	})
}

func TestBackoffDoubles(t *testing.T) {
	base, limit := 30*time.Second, time.Hour
	for attempts, want := range map[int]time.Duration{1: base, 2: 2 * base, 3: 4 * base, 7: 64 * base, 8: limit, 9: limit, 1000: limit} {
		got := backoff("maps", attempts, base, limit)
		if got > want || got < want-want/10 {
			t.Errorf("after %d failures: %s, want %s less a tenth at most", attempts, got, want)
		}
		if got != backoff("maps", attempts, base, limit) {
			t.Error("jitter is not stable")
		}
	}
	spread := map[time.Duration]bool{}
	for _, name := range []Name{"a", "b", "c", "d", "e", "f"} {
		spread[backoff(name, 3, base, limit)] = true
	}
	if len(spread) < 4 {
		t.Errorf("six names wait %d different times", len(spread))
	}
}

func TestRetryAfterOutlivesARestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := at(t, PhaseDating)
		g.portal.fail["date"] = []fault{{err: &Error{Op: "date", Kind: KindRateLimited, Wait: 5 * time.Hour}}}
		g.advance()
		if got := time.Until(g.record().RetryAt); got != 5*time.Hour {
			t.Fatalf("waits %s, want what was asked, though it is over retry_max", got)
		}
		g.restart()
		calls := len(g.portal.calls)
		g.until("the end of the wait", func(r AdvanceResult) bool { return time.Until(g.record().RetryAt) <= time.Second })
		if len(g.portal.calls) != calls {
			t.Errorf("asked meanwhile: %v", g.portal.calls[calls:])
		}
	})
}

func TestJournalConflictStopsTheEffect(t *testing.T) {
	for _, tt := range []struct {
		phase Phase
		op    string
	}{{PhaseDating, "date"}, {PhaseMinting, "mint"}, {PhaseRetiring, "revoke"}} {
		t.Run(tt.op, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var g *rig
				if tt.phase == PhaseRetiring {
					g = at(t, PhaseOverlap)
					time.Sleep(8 * day)
				} else {
					g = at(t, tt.phase)
				}
				g.journal.before = func(Record) error { return &Error{Op: "save", Kind: KindConflict} }
				calls := g.portal.count(tt.op)
				for range 3 {
					if res := g.advance(); KindOf(res.Err) != KindConflict || res.Healthy || !res.Next.After(time.Now()) {
						t.Fatalf("%+v", res)
					}
				}
				if got := g.portal.count(tt.op); got != calls {
					t.Errorf("%s was sent %d times without its intent in the journal", tt.op, got-calls)
				}
			})
		})
	}
}

func TestLoadError(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := bootstrapped(t)
		g.journal.loads = errJournal
		if res := g.advance(); !errors.Is(res.Err, errJournal) || res.Step != StepNone || !res.Next.After(time.Now()) || len(g.portal.calls) != 0 {
			t.Errorf("%+v after %v", res, g.portal.calls)
		}
		if _, err := g.engine.Forecast(t.Context(), g.cred); !errors.Is(err, errJournal) {
			t.Errorf("forecast: %v", err)
		}
		if _, err := g.engine.Command(t.Context(), g.cred, Command{Kind: CommandRotate, By: "ann"}); !errors.Is(err, errJournal) {
			t.Errorf("command: %v", err)
		}
	})
}

// TestOldEvidence: what an effect has read must not be older than 30 s when it acts.
func TestOldEvidence(t *testing.T) {
	for _, tt := range []struct {
		phase Phase
		op    string
	}{{PhaseMinting, "mint"}, {PhaseRetiring, "revoke"}} {
		t.Run(tt.op, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var g *rig
				if tt.phase == PhaseRetiring {
					g = at(t, PhaseOverlap)
					time.Sleep(7*day + time.Minute)
				} else {
					g = at(t, tt.phase)
				}
				g.portal.fail["app"] = []fault{{delay: 16 * time.Second}}
				g.portal.fail["prove"] = []fault{{delay: 16 * time.Second}}
				res := g.advance()
				if KindOf(res.Err) != KindTransient || g.portal.count(tt.op) != 0 {
					t.Fatalf("%s was sent %d times on old evidence: %+v", tt.op, g.portal.count(tt.op), res)
				}
				g.until(tt.op, func(AdvanceResult) bool { return g.portal.count(tt.op) == 1 })
			})
		})
	}
}

// TestWatchModeHasNoEffects runs a watched credential past its expiry.
func TestWatchModeHasNoEffects(t *testing.T) {
	for _, adopted := range []bool{true, false} {
		inBubble(t, func(t *testing.T) {
			g := newRig(t)
			if adopted {
				g = bootstrapped(t)
			} else {
				k := g.portal.put(Slot1, time.Now().Add(30*day))
				g.vault.versions = []Entry{{Version: "1", Ever: true, Key: k.secret}}
				g.file.versions = []Entry{{Version: "1", Ever: true, Key: k.secret}}
			}
			g.cred.Mode = ModeWatch
			vault, file := g.vault.writes, g.file.writes
			end := time.Now().Add(120 * day)
			g.until("the end", func(AdvanceResult) bool { return time.Now().After(end) })
			if got := g.portal.effects(); len(got) != 0 || g.vault.writes != vault || g.file.writes != file {
				t.Errorf("adopted %t: effects %v, %d and %d writes", adopted, got, g.vault.writes-vault, g.file.writes-file)
			}
			for _, s := range g.steps {
				if s != StepNone && s != StepSurvey && s != StepFail {
					t.Errorf("adopted %t: step %s", adopted, s)
				}
			}
			if adopted && g.journal.told(EventKeyDead) != 1 {
				t.Errorf("the death was told %d times", g.journal.told(EventKeyDead))
			}
		})
	}
}

func TestForecastChangesNothing(t *testing.T) {
	for _, p := range Phases() {
		t.Run(string(p), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := bootstrapped(t)
				switch p {
				case PhaseIdle:
				case PhaseRetiring:
					g.untilPhase(PhaseOverlap)
					time.Sleep(8 * day)
				default:
					g.untilPhase(p)
				}
				g.portal.calls = nil
				before, saves, events, session := g.record(), g.journal.saves, len(g.journal.events), *g.session
				vault, file := g.vault.writes, g.file.writes
				f, err := g.engine.Forecast(t.Context(), g.cred)
				if err != nil {
					t.Fatal(err)
				}
				if len(g.portal.effects()) != 0 || g.vault.writes != vault || g.file.writes != file || g.journal.saves != saves || len(g.journal.events) != events {
					t.Error("it changed something")
				}
				if diff := cmp.Diff(before, g.record()); diff != "" || !reflect.DeepEqual(*g.session, session) {
					t.Errorf("record or session changed:\n%s", diff)
				}
				if len(f.Steps) == 0 || len(f.Seen.Sinks) != 2 || f.Seen.Owner != "ops" || !f.Seen.Active[before.Live.Slot] {
					t.Errorf("it says nothing: %+v", f)
				}
				if !slices.IsSortedFunc(f.Steps, func(a, b PlannedStep) int { return a.At.Compare(b.At) }) {
					t.Errorf("steps out of order: %+v", f.Steps)
				}
			})
		})
	}
}

func TestForecastOfTheNextRotation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := bootstrapped(t)
		f, err := g.engine.Forecast(t.Context(), g.cred)
		if err != nil {
			t.Fatal(err)
		}
		var effects []Effect
		for _, s := range f.Steps {
			effects = append(effects, s.Effect)
			if s.Detail == "" || s.At.IsZero() {
				t.Errorf("step %+v", s)
			}
		}
		if diff := cmp.Diff([]Effect{EffectClaim, EffectDate, EffectMint, EffectProve, EffectPublish, EffectRevoke}, effects); diff != "" {
			t.Error(diff)
		}
		if first, last := f.Steps[0], f.Steps[len(f.Steps)-1]; !first.At.Equal(f.DueAt) || first.Slot != Slot2 || last.Slot != Slot1 || last.At.Sub(first.At) != 7*day {
			t.Errorf("steps %+v, due %s", f.Steps, f.DueAt)
		}
		g.cred.Mode = ModeWatch
		if f, _ = g.engine.Forecast(t.Context(), g.cred); f.Blocked != ReasonWatch && f.Step != StepSurvey {
			t.Errorf("watched: %+v", f)
		}
	})
}

// observer collects what it is told.
type observer struct {
	journal *fakeJournal
	t       *testing.T
	seen    []Event
}

func (o *observer) Observe(e Event) {
	o.seen = append(o.seen, e)
	if n := len(o.seen); n > len(o.journal.events) || o.journal.events[n-1] != e {
		o.t.Errorf("event %d was told before it was journalled: %+v", n, e)
	}
}

func TestObserverHearsWhatIsJournalled(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := newRig(t)
		o := &observer{journal: g.journal, t: t}
		g.engine.o.Observer = o
		g.untilPhase(PhaseOverlap)
		if _, err := g.engine.Command(t.Context(), g.cred, Command{Kind: CommandHold, Text: "audit", By: "ann"}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(g.journal.events, o.seen); diff != "" || len(o.seen) < 10 {
			t.Error(diff)
		}
		for _, e := range o.seen {
			if e.At.IsZero() || e.Name != "maps" || e.Portal != "esri" || e.Item != testItem || e.Phase == "" || e.Kind == "" {
				t.Errorf("event %+v lacks its who, where and when", e)
			}
		}
	})
}

func TestNewChecksItsOptions(t *testing.T) {
	for _, o := range []Options{{}, {Journal: &fakeJournal{}}, {Instance: "here"}} {
		if e, err := New(o); err == nil || e != nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	e, err := New(Options{Journal: &fakeJournal{}, Instance: "here"})
	if err != nil || e.o.Elapsed() <= 0 || len(e.o.NewID(t0())) != 26 {
		t.Errorf("defaults: %v", err)
	}
}

// TestWatchingWithoutSinks: discover writes credentials of which nobody said yet where
// their keys are.
func TestWatchingWithoutSinks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := newRig(t)
		g.cred.Sinks, g.cred.Mode = nil, ModeWatch
		g.portal.put(Slot1, time.Now().Add(50*day))
		for range 20 {
			res := g.advance()
			if res.Err != nil || res.Effect != "" && res.Effect != EffectSurvey {
				t.Fatalf("%s %s: %v", res.Step, res.Effect, res.Err)
			}
			time.Sleep(max(time.Until(res.Next), time.Second))
		}
		if r := g.record(); r.SurveyedAt.IsZero() || !r.Slots[Slot1].Active {
			t.Errorf("it was not looked at: %+v", r)
		}
		if _, err := g.engine.Forecast(t.Context(), g.cred); err != nil {
			t.Error(err)
		}
	})
}
