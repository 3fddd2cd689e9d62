package rotate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeHook says no as often as it is told to, at its points.
type fakeHook struct {
	name   string
	points []HookPoint
	no     map[HookPoint]int // how often still
	calls  []HookCall
}

func (h *fakeHook) Name() string        { return h.name }
func (h *fakeHook) Points() []HookPoint { return h.points }

func (h *fakeHook) Call(_ context.Context, c HookCall) error {
	h.calls = append(h.calls, c)
	if h.no[c.Point] > 0 {
		h.no[c.Point]--
		return errors.New("not now")
	}
	return nil
}

func (h *fakeHook) heard() (all []HookPoint) {
	for _, c := range h.calls {
		all = append(all, c.Point)
	}
	return all
}

func hookedRig(t *testing.T) (*rig, *fakeHook) {
	g := bootstrapped(t)
	h := &fakeHook{name: "change-board", points: HookPoints(), no: map[HookPoint]int{}}
	g.cred.Hooks = []Hook{h}
	return g, h
}

func TestHooksHearEveryPointOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g, h := hookedRig(t)
		g.untilPhase(PhaseOverlap)
		g.untilPhase(PhaseIdle)
		g.until("the last hook", func(AdvanceResult) bool { return len(h.calls) > 11 })
		if diff := cmp.Diff(HookPoints(), h.heard()); diff != "" {
			t.Errorf("points (-want +got):\n%s", diff)
		}
		live := g.record().Live
		for _, c := range h.calls {
			want := live.Fingerprint
			switch c.Point {
			case BeforeRetiring, AfterRetiring:
				if want = c.Fingerprint; c.Slot != live.Slot.Other() || want == live.Fingerprint || want == "" {
					t.Errorf("%s is told of slot %s, %s", c.Point, c.Slot, c.Fingerprint)
				}
			case BeforeClaiming, AfterClaiming, BeforeDating, AfterDating, BeforeMinting:
				want = "" // there is none yet
			default:
			}
			if c.Name != "maps" || c.RotationID == "" || c.Reason != ReasonExpiring || c.Generation != 2 || c.Fingerprint != want {
				t.Errorf("told %+v", c)
			}
		}
		if r := g.record(); r.HookDue != nil || len(r.Hooked) != 0 {
			t.Errorf("left over: %v, %v", r.HookDue, r.Hooked)
		}
	})
}

// TestVetoes: at every point but the last, the rotation waits where it is until the
// hook agrees, says so, and loses no key.
func TestVetoes(t *testing.T) {
	for _, p := range HookPoints() {
		t.Run(string(p), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g, h := hookedRig(t)
				h.no[p] = 3
				vetoed := 0
				g.each = func(r AdvanceResult) {
					if KindOf(r.Err) == KindVeto {
						vetoed++
						if r.Record.Blocked != ReasonVeto || !strings.Contains(r.Err.Error(), "hook change-board "+string(p)+": veto: not now") {
							t.Errorf("blocked by %s: %v", r.Record.Blocked, r.Err)
						}
					}
				}
				g.untilPhase(PhaseOverlap)
				g.untilPhase(PhaseIdle)
				g.until("the last hook", func(AdvanceResult) bool { return g.record().HookDue == nil })
				want := 3
				if p == AfterRetiring {
					want = 0
				}
				if vetoed != want {
					t.Errorf("%d vetoes held it, want %d", vetoed, want)
				}
				if n := g.portal.count("mint"); n != 1 {
					t.Errorf("%d mints", n)
				}
				if r := g.record(); r.Quarantine != nil || r.Live.Generation != 2 {
					t.Errorf("afterwards: %+v", r)
				}
			})
		})
	}
}

// TestAVetoDoesNotCountAgainstACriticalExpiry, but an old key is not retired over one.
func TestAVetoDoesNotCountAgainstACriticalExpiry(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g, h := hookedRig(t)
		h.no[BeforeMinting] = 1 << 30
		h.no[BeforeRetiring] = 1 << 30
		g.cred.Policy.RetryBase = 6 * time.Minute // ten of which is how often a hook is asked
		g.untilPhase(PhaseOverlap)
		r := g.record()
		if left := r.Previous.Expires.Sub(r.PromotedAt); left > 3*day || left < 2*day {
			t.Errorf("rotated %s before the end, critical_before is %s", left, g.cred.Policy.CriticalBefore)
		}
		g.untilPhase(PhaseIdle)
		if slices.Contains(g.portal.effects(), "revoke 1") || time.Now().Before(r.Previous.Expires) {
			t.Errorf("the old key was retired over a veto at %s: %v", time.Now(), g.portal.effects())
		}
	})
}

// TestAVetoedOverlapIsProbed: a hook that says no for days hides no death.
func TestAVetoedOverlapIsProbed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g, h := hookedRig(t)
		h.no[AfterPublishing] = 1 << 30
		g.untilPhase(PhaseOverlap)
		g.until("a veto", func(r AdvanceResult) bool { return KindOf(r.Err) == KindVeto })
		for range 200 {
			r := g.advance()
			if late := time.Since(r.Record.ProbedAt); late > g.cred.Policy.ProbeEvery+time.Minute {
				t.Fatalf("not probed for %s, next is %s", late, r.Next)
			}
			time.Sleep(max(time.Until(r.Next), time.Second))
		}
		noes := 0
		for _, e := range g.journal.events {
			if e.Result == Result(KindVeto) {
				noes++
			}
		}
		if noes != 1 {
			t.Errorf("one no is %d lines of history", noes)
		}
		if n := len(h.calls); n < 10 {
			t.Errorf("asked %d times only", n)
		}
	})
}

// fakeGate answers what it holds.
type fakeGate struct {
	quiet bool
	err   error
	asked []Quiet
	takes time.Duration
}

func (g *fakeGate) Name() string { return "acks" }

func (g *fakeGate) Ask(_ context.Context, q Quiet) (QuietAnswer, error) {
	g.asked = append(g.asked, q)
	time.Sleep(g.takes)
	return QuietAnswer{Quiet: g.quiet, Detail: "kiosk still runs generation 1"}, g.err
}

func TestTheOverlapGrowsUntilItIsQuiet(t *testing.T) {
	for name, gate := range map[string]*fakeGate{
		"in use": {}, "unknown": {quiet: true, err: errors.New("no answer")}, "slow": {takes: 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := bootstrapped(t)
				g.cred.Gates = []Gate{&fakeGate{quiet: true}, gate}
				g.untilPhase(PhaseOverlap)
				r := g.record()
				res := g.until("the gate", func(r AdvanceResult) bool { return r.Blocked == ReasonGate })
				if early := time.Until(r.RetireAt); early > 0 {
					t.Errorf("asked %s before the end of the overlap", early)
				}
				if !strings.HasPrefix(res.Detail, "acks") || res.Record.Phase != PhaseOverlap {
					t.Errorf("%+v", res)
				}
				q := gate.asked[0]
				if q.Live != r.Live || q.Previous != r.Previous || q.Name != "maps" || q.ID != testID() {
					t.Errorf("asked %+v", q)
				}
				time.Sleep(2 * day)
				if res = g.advance(); res.Blocked != ReasonGate {
					t.Errorf("two days later: %+v", res)
				}
				gate.quiet, gate.err = true, nil
				g.untilPhase(PhaseIdle)
				if !slices.Contains(g.portal.effects(), "revoke 1") || !time.Now().Before(r.Previous.Expires) {
					t.Errorf("retired at %s: %v", time.Now(), g.portal.effects())
				}
			})
		})
	}
}

func TestAGateNeverOutlastsTheOldKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := bootstrapped(t)
		g.cred.Gates = []Gate{&fakeGate{}}
		g.untilPhase(PhaseOverlap)
		old := g.record().Previous
		g.untilPhase(PhaseIdle)
		if slices.Contains(g.portal.effects(), "revoke 1") || time.Now().Before(old.Expires) || time.Since(old.Expires) > 2*time.Hour {
			t.Errorf("the old key expired %s, the rotation ended %s: %v", old.Expires, time.Now(), g.portal.effects())
		}
	})
}

func TestACompromisedKeyPassesGatesAndVetoes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g, h := hookedRig(t)
		for _, p := range HookPoints() {
			h.no[p] = 1 << 30
		}
		g.cred.Gates = []Gate{&fakeGate{}}
		if _, err := g.engine.Command(t.Context(), g.cred, Command{Kind: CommandCompromised, By: "ann"}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		g.until("its end", func(AdvanceResult) bool { return slices.Contains(g.portal.effects(), "revoke 1") })
		if took := time.Since(start); took > time.Minute {
			t.Errorf("took %s", took)
		}
	})
}

// TestRevokeHasItsOwnLadder: a key that will not die delays neither probes nor a
// rotation that is pressing, and quarantines nothing.
func TestRevokeHasItsOwnLadder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := at(t, PhaseOverlap)
		g.portal.fail["revoke"] = slices.Repeat([]fault{{err: errNever}}, 200)
		var waits []time.Duration
		g.each = func(r AdvanceResult) {
			if late := time.Since(r.Record.ProbedAt); late > g.cred.Policy.ProbeEvery+time.Minute {
				t.Errorf("not probed for %s", late)
			}
			if r.Effect == EffectRevoke {
				waits = append(waits, time.Until(r.Record.Revoke.RetryAt))
			}
		}
		res := g.until("seven failures", func(r AdvanceResult) bool { return r.Record.Revoke.Attempts == 7 })
		r := res.Record
		if r.Attempts != 0 || r.Quarantine != nil || r.LastError != "" || r.Revoke.Since.IsZero() || !strings.Contains(r.Revoke.Error, "permanent") {
			t.Errorf("record: %+v", r)
		}
		if !slices.IsSorted(waits) || waits[6] < 6*waits[1] {
			t.Errorf("waits %v", waits)
		}
		if _, err := g.engine.Command(t.Context(), g.cred, Command{Kind: CommandCompromised, By: "ann", Fingerprints: []Fingerprint{r.Live.Fingerprint}}); err != nil {
			t.Fatal(err)
		}
		g.until("the new key", func(r AdvanceResult) bool { return r.Record.Live.Generation == 3 })
		g.portal.fail["revoke"] = nil
		g.until("the end", func(r AdvanceResult) bool { return r.Record.Phase == PhaseIdle })
		if r := g.record(); r.Revoke != (Ladder{}) {
			t.Errorf("the ladder stays: %+v", r.Revoke)
		}
	})
}

// fakePeers blocks until it is told otherwise.
type fakePeers struct {
	may, begin Block
	saw        []Record
}

func (p *fakePeers) May(Record, time.Time) Block   { return p.may }
func (p *fakePeers) Begin(Record, time.Time) Block { return p.begin }
func (p *fakePeers) Saw(r Record)                  { p.saw = append(p.saw, r) }

func TestPeersHoldAStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := bootstrapped(t)
		peers := &fakePeers{may: Block{Reason: ReasonStage, Text: "stage canary comes first"}}
		g.cred.Peers = peers
		res := g.until("the stage", func(r AdvanceResult) bool { return r.Blocked == ReasonStage })
		if res.Due != ReasonExpiring || res.Detail != "stage canary comes first" || !res.Healthy {
			t.Errorf("%+v", res)
		}
		peers.may, peers.begin = Block{}, Block{Reason: ReasonLimit, Until: time.Now().Add(3 * time.Minute), Text: "full"}
		res = g.until("the limit", func(r AdvanceResult) bool { return r.Blocked == ReasonLimit })
		if res.Record.Phase != PhaseIdle || res.Record.Rotation != nil || !res.Next.Equal(peers.begin.Until) {
			t.Errorf("%+v", res)
		}
		peers.begin = Block{}
		g.untilPhase(PhaseClaiming)
		if last := peers.saw[len(peers.saw)-1]; last.Phase != PhaseClaiming {
			t.Errorf("peers saw %s last", last.Phase)
		}
	})
}

func TestPeersNeverHoldWhatIsCritical(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := bootstrapped(t)
		b := Block{Reason: ReasonFleetStop, Text: "stopped"}
		g.cred.Peers = &fakePeers{may: b, begin: b}
		res := g.untilPhase(PhaseClaiming)
		if left := time.Until(res.Record.Live.Expires); left > 3*day || left < 3*day-2*time.Hour {
			t.Errorf("started %s before the end", left)
		}
	})
}

func TestAFailedProofIsRememberedUntilOneHolds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := at(t, PhaseMinting)
		g.cred.Parity = parityFunc(func() error { return errBusy })
		g.until("a third failure", func(r AdvanceResult) bool { return r.Record.Attempts == 3 })
		if g.record().ProofFailedAt.IsZero() {
			t.Error("three disagreements are not a failed proof")
		}
		g.cred.Parity = nil
		g.untilPhase(PhaseOverlap)
		if at := g.record().ProofFailedAt; !at.IsZero() {
			t.Errorf("a proof that holds leaves the failed one of %s", at)
		}
	})
}

type parityFunc func() error

func (f parityFunc) Compare(context.Context, Secret, Secret, string) error { return f() }
