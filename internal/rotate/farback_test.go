package rotate

import (
	"slices"
	"testing"
	"time"
)

// TestFirstSinkRestoredFarBackInTheMiddleOfACopy: the first sink has the new key, no
// later one does, and the first one goes back to a key that is dead long since. The
// previous key works and is in the other sink: it is served again, and the new key,
// which is lost, is still known as ours.
func TestFirstSinkRestoredFarBackInTheMiddleOfACopy(t *testing.T) {
	for _, gone := range []string{"file", ""} {
		t.Run(gone, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				g := bootstrapped(t)
				ancient := g.vault.current()
				g.untilPhase(PhaseOverlap)
				g.untilPhase(PhaseIdle)
				g.until("commit", func(r AdvanceResult) bool { return r.Step == StepPublish })
				lost := g.record().Live
				ancient.Version = "restored"
				g.vault.versions = []Entry{ancient}
				if gone != "" {
					g.file.versions[len(g.file.versions)-1] = ancient
				}
				began := time.Now()
				g.until("a working key", func(r AdvanceResult) bool {
					return g.works() && r.Record.Phase != PhasePublishing && g.vault.current().Key.Equal(g.file.current().Key)
				})
				if took := time.Since(began); took > 2*time.Hour {
					t.Errorf("repaired after %s", took)
				}
				if st := g.record().Slots[lost.Slot]; st.Active && st.Use != UsePrevious && st.Use != UseOwn && st.Key.Fingerprint == lost.Fingerprint {
					t.Errorf("the lost key is %q", st.Use)
				}
				g.each = func(AdvanceResult) {
					if !g.works() {
						t.Fatalf("a dead key is served after %v", g.steps)
					}
				}
				for end := time.Now().Add(200 * day); time.Now().Before(end); {
					r := g.advance()
					if r.Blocked == ReasonOccupied {
						t.Fatalf("blocked: %s", r.Detail)
					}
					if wait := time.Until(r.Next); wait > 0 {
						time.Sleep(wait)
					}
				}
			})
		})
	}
}

// works tells whether both sinks serve a valid key.
func (g *rig) works() bool {
	for _, s := range []*fakeSink{g.vault, g.file} {
		if !slices.ContainsFunc(g.portal.keys, func(k *fakeKey) bool {
			return k.secret.Equal(s.current().Key) && !k.revoked && time.Now().Before(k.expires)
		}) {
			return false
		}
	}
	return true
}

// A held credential whose first sink went back in its overlap is probed in a while, and not
// again and again at once.
func TestAHeldOverlapWithARestoredSinkDoesNotSpin(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := at(t, PhaseOverlap)
		before := g.vault.versions[0]
		g.order(Command{Kind: CommandHold, Text: "audit"})
		before.Version = "restored"
		g.vault.versions = []Entry{before}
		began, calls := time.Now(), 0
		for time.Since(began) < day {
			if calls++; calls > 200 {
				t.Fatalf("%d calls of Advance in %s", calls, time.Since(began))
			}
			if wait := time.Until(g.advance().Next); wait > 0 {
				time.Sleep(wait)
			}
		}
	})
}
