package rotate

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// promoted runs on until both sinks serve one key, and checks that it works.
func (g *rig) promoted() {
	g.t.Helper()
	g.until("promotion", func(r AdvanceResult) bool { return r.Step == StepPromote && r.Err == nil })
	live := g.portal.slots[g.record().Live.Slot]
	if live == nil || !g.vault.current().Key.Equal(live.secret) || !g.file.current().Key.Equal(live.secret) {
		g.t.Errorf("the sinks do not serve the live key: %+v", g.record())
	}
}

func TestSaveFailureBehindTheMint(t *testing.T) {
	// The journal fails while the minted key is in memory: it is used, and not minted again.
	failing := func(g *rig) {
		g.journal.before = func(r Record) error {
			if r.Rotation != nil && r.Rotation.New.Fingerprint != "" {
				return errJournal
			}
			return nil
		}
		if res := g.advance(); KindOf(res.Err) != KindTransient || !g.session.HoldsKey() || g.portal.count("mint") != 1 {
			g.t.Fatalf("%+v after %v", res, g.portal.calls)
		}
		if r := g.record(); r.Phase != PhaseMinting || r.Slots[Slot2].Intent == nil || r.Slots[Slot2].Intent.Outcome != OutcomePending {
			g.t.Fatalf("the intent is not in the journal: %+v", r.Slots[Slot2])
		}
		g.journal.before = nil
	}
	inBubble(t, func(t *testing.T) {
		g := at(t, PhaseMinting)
		failing(g)
		g.promoted()
		if n := g.portal.count("mint"); n != 1 || g.session.HoldsKey() || g.journal.told(EventKeyLost) != 0 {
			t.Errorf("minted %d times", n)
		}
	})
	// The process dies instead: one more mint, after the effect horizon.
	inBubble(t, func(t *testing.T) {
		g := at(t, PhaseMinting)
		failing(g)
		sent := time.Now()
		g.restart()
		g.until("another mint", func(AdvanceResult) bool { return g.portal.count("mint") == 2 })
		if wait := time.Since(sent); wait < g.cred.Policy.EffectHorizon {
			t.Errorf("minted again after %s", wait)
		}
		g.promoted()
		if g.journal.told(EventKeyLost) != 1 || g.portal.count("mint") != 2 {
			t.Errorf("%d keys lost, %d mints", g.journal.told(EventKeyLost), g.portal.count("mint"))
		}
	})
}

func TestMintOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault fault
		mints int
		lost  int
		wait  time.Duration // before the second mint
	}{
		{"known not to have happened", fault{err: errBusy}, 2, 0, 27 * time.Second},
		{"unknown, and it did not happen", fault{err: errLost}, 2, 1, 10 * time.Minute},
		{"unknown, and it happened", fault{err: errLost, after: true}, 2, 1, 10 * time.Minute},
		{"refused for its date", fault{err: &Error{Op: "mint", Kind: KindPermanent, Cause: CauseBadDate}}, 2, 0, 27 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := at(t, PhaseMinting)
				g.portal.fail["mint"] = []fault{tt.fault}
				g.advance()
				sent := time.Now()
				if r := g.record(); tt.lost > 0 && r.Slots[Slot2].Intent.Outcome != OutcomeUnknown || r.Live.Slot != Slot1 {
					t.Fatalf("journalled %+v", r.Slots[Slot2])
				}
				if CauseOf(tt.fault.err) == CauseBadDate && g.record().Phase != PhaseDating {
					t.Errorf("a refused date is not set again: phase %s", g.record().Phase)
				}
				g.until("another mint", func(AdvanceResult) bool { return g.portal.count("mint") == 2 })
				if wait := time.Since(sent); wait < tt.wait || wait > tt.wait+time.Minute {
					t.Errorf("minted again after %s, want %s", wait, tt.wait)
				}
				g.promoted()
				if g.portal.count("mint") != tt.mints || g.journal.told(EventKeyLost) != tt.lost {
					t.Errorf("%d mints, %d keys lost", g.portal.count("mint"), g.journal.told(EventKeyLost))
				}
			})
		})
	}
}

func TestSlowPropagationIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := at(t, PhaseMinting)
		g.portal.slow = 20 * time.Minute // twice the effect horizon
		g.advance()
		minted, waited := time.Now(), 0
		g.each = func(r AdvanceResult) {
			if r.Blocked == ReasonPropagation {
				waited++
				if r.Err != nil || !g.session.HoldsKey() || r.Record.Phase != PhaseProving {
					t.Errorf("while it waits: %+v", r)
				}
			}
		}
		g.promoted()
		if d := time.Since(minted); d < 20*time.Minute || d > 26*time.Minute || waited < 3 || waited > 60 {
			t.Errorf("published %s after the mint, in %d looks", d, waited)
		}
		if g.portal.count("mint") != 1 {
			t.Errorf("slow propagation cost %d mints", g.portal.count("mint")-1)
		}
	})
}

func TestKeyThatWasNeverMinted(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := at(t, PhaseMinting)
		g.portal.mintLie = func(s Slot) Secret { return testKey(s, "lie") }
		g.advance()
		lied := time.Now()
		g.portal.mintLie = nil
		g.until("another mint", func(AdvanceResult) bool { return g.portal.count("mint") == 2 })
		if d := time.Since(lied); d < g.cred.Policy.EffectHorizon {
			t.Errorf("minted again after %s", d)
		}
		g.promoted()
	})
}

func TestKeyThatMustNotBePublished(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(g *rig)
	}{
		{"the other slot's", func(g *rig) { g.portal.mintLie = func(s Slot) Secret { return testKey(s.Other(), "wrong") } }},
		{"another client's", func(g *rig) { g.portal.mintLie = func(s Slot) Secret { return keyOf("anotherClientXYZ", s, "wrong") } }},
		{"no key at all", func(g *rig) { g.portal.mintLie = func(Slot) Secret { return NewSecret("hello " + testBody) } }},
		{"nothing", func(g *rig) { g.portal.mintLie = func(Slot) Secret { return Secret{} } }},
		{"with a privilege missing", func(g *rig) {
			g.portal.granted, g.portal.grantedFrom = []string{"portal:user:createItem"}, len(g.portal.keys)
		}},
		{"hardly longer than the served one", func(g *rig) {
			g.portal.dates[Slot2] = g.record().Live.Expires
			g.portal.fail["date"] = []fault{{}}
			g.cred.Policy.Lifetime = 21 * day
			g.advance() // it asks for a date that gains nothing
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := at(t, PhaseDating)
				served := g.vault.current().Key
				tt.change(g)
				g.until("quarantine", func(r AdvanceResult) bool { return r.Record.Quarantine != nil })
				r := g.record()
				if g.session.HoldsKey() || r.Quarantine.Reason == "" || g.journal.told(EventQuarantined) != 1 {
					t.Errorf("quarantined: %+v", r.Quarantine)
				}
				clean(t, "quarantine", r.Quarantine.Reason)
				start := time.Now()
				g.until("a day later", func(AdvanceResult) bool { return time.Since(start) > day })
				mints := g.portal.count("mint")
				g.until("two days later", func(AdvanceResult) bool { return time.Since(start) > 3*day })
				if !g.vault.current().Key.Equal(served) || !g.file.current().Key.Equal(served) {
					t.Error("a sink serves it")
				}
				if got := g.portal.count("mint"); got != mints {
					t.Errorf("%d more mints in quarantine", got-mints)
				}
			})
		})
	}
}

// parity refuses so many times.
type parity struct {
	t     *testing.T
	fails int
	calls int
	g     *rig
}

func (p *parity) Compare(_ context.Context, old, minted Secret, referrer string) error {
	p.calls++
	if !old.Equal(p.g.vault.current().Key) || !minted.Equal(p.g.portal.slots[Slot2].secret) || referrer != "https://rotatord.example.com" {
		p.t.Errorf("compares %s with %s from %q", old.Fingerprint(), minted.Fingerprint(), referrer)
	}
	if p.calls <= p.fails {
		return &Error{Op: "compare", Kind: KindPermanent}
	}
	return nil
}

func TestParityFailureKeepsTheKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := at(t, PhaseProving)
		served := g.vault.current().Key
		par := &parity{t: t, fails: 8, g: g}
		g.cred.Parity = par
		g.until("parity", func(r AdvanceResult) bool {
			if par.calls <= par.fails && (!g.vault.current().Key.Equal(served) || !g.session.HoldsKey()) {
				t.Fatal("published, or dropped, in spite of its parity")
			}
			return r.Record.Phase == PhasePublishing
		})
		if par.calls != 9 || g.record().Quarantine != nil {
			t.Errorf("%d comparisons, quarantine %+v", par.calls, g.record().Quarantine)
		}
		g.promoted()
		if g.portal.count("mint") != 0 {
			t.Errorf("parity cost %d mints", g.portal.count("mint"))
		}
	})
}

// TestSinkFaultsCostNoMint: while the key is held a failed publish never mints.
func TestSinkFaultsCostNoMint(t *testing.T) {
	conflict := &Error{Op: "write", Kind: KindConflict}
	for _, tt := range []struct {
		name        string
		vault, file []fault
	}{
		{"refused", []fault{{err: errBusy}, {err: errBusy}}, nil},
		{"lost, and written", []fault{{err: errLost, after: true}}, nil},
		{"lost, and not written", []fault{{err: errLost}}, nil},
		{"a conflict that hides our own write", []fault{{err: conflict, after: true}}, nil},
		{"a later sink refuses", nil, []fault{{err: errNever}, {err: errNever}, {err: errNever}}},
		{"a later sink's lost write", nil, []fault{{err: errLost, after: true}}},
		{"failing more often than max_attempts", []fault{{err: errNever}, {err: errNever}, {err: errNever}, {err: errNever}, {err: errNever}, {err: errNever}, {err: errNever}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := at(t, PhasePublishing)
				g.vault.fail["write"], g.file.fail["write"] = tt.vault, tt.file
				g.promoted()
				if n := g.portal.count("mint"); n != 0 || g.record().Live.Generation != 2 {
					t.Errorf("%d mints, generation %d", n, g.record().Live.Generation)
				}
			})
		})
	}
}

func TestRevokeIsProved(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(p *fakePortal)
	}{
		{"success that did nothing", func(p *fakePortal) { p.revokeLie = true }},
		{"known not to have happened", func(p *fakePortal) { p.fail["revoke"] = []fault{{err: errBusy}} }},
		{"unknown, and it did not happen", func(p *fakePortal) { p.fail["revoke"] = []fault{{err: errLost}} }},
		{"unknown, and it happened", func(p *fakePortal) { p.fail["revoke"] = []fault{{err: errLost, after: true}} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := at(t, PhaseOverlap)
				time.Sleep(7*day + time.Minute)
				tt.change(g.portal)
				res := g.until("revoke", func(AdvanceResult) bool { return g.portal.count("revoke") == 1 })
				if res.Err == nil || res.Record.Phase != PhaseRetiring || res.Record.Previous.Fingerprint == "" {
					t.Fatalf("%+v", res)
				}
				g.portal.revokeLie = false
				g.untilPhase(PhaseIdle)
				if g.portal.slots[Slot1] != nil || g.portal.slots[Slot2] == nil || g.journal.told(EventKeyDead) != 0 {
					t.Errorf("slots %v", g.portal.slots)
				}
			})
		})
	}
}

// TestDeadKey: the served key is killed by somebody. In overlap the old one is
// written back, and the dead slot minted anew; without one a new key is minted.
func TestDeadKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := at(t, PhaseOverlap)
		old := g.portal.slots[Slot1].secret
		g.portal.kill(Slot2)
		killed := time.Now()
		g.until("the way back", func(AdvanceResult) bool { return g.vault.current().Key.Equal(old) && g.file.current().Key.Equal(old) })
		if d := time.Since(killed); d > 2*time.Hour {
			t.Errorf("the old key is back after %s", d)
		}
		if len(g.portal.effects()) != 0 {
			t.Errorf("the way back cost %v", g.portal.effects())
		}
		g.until("the dead slot minted anew", func(r AdvanceResult) bool { return r.Record.Live.Slot == Slot2 && r.Step == StepPromote })
		if got := g.portal.effects(); !slices.Equal(got, []string{"date 2", "mint 2"}) {
			t.Errorf("effects %v", got)
		}
	})
	inBubble(t, func(t *testing.T) {
		g := bootstrapped(t)
		g.portal.kill(Slot1)
		g.session.Look()
		g.until("a new key", func(r AdvanceResult) bool { return r.Step == StepPromote })
		if diff := cmp.Diff([]string{"date 2", "mint 2"}, g.portal.effects()); diff != "" || g.record().Live.Generation != 2 {
			t.Errorf("effects (-want +got):\n%s", diff)
		}
	})
}
