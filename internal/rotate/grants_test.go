package rotate

import (
	"context"
	"slices"
	"testing"
	"time"
)

// fakeGrants notes what it was asked, and refuses as often as it is told to.
type fakeGrants struct {
	asked  []grantAsked
	refuse int
}

type grantAsked struct {
	old        Fingerprint
	minted     Fingerprint
	privileges []string
}

func (g *fakeGrants) Prove(_ context.Context, old, minted Secret, privileges []string, _ string) error {
	g.asked = append(g.asked, grantAsked{old.Fingerprint(), minted.Fingerprint(), privileges})
	if g.refuse > 0 {
		g.refuse--
		return errBusy
	}
	return nil
}

// A key whose grants are not proved is published nowhere, is kept, and is asked about again.
// What its app was granted is asked for, also of a first key and of an item that takes over,
// where there is no old key to compare with.
func TestGrantsAreProvedBeforeAKeyIsPublished(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		g := newRig(t)
		grants := &fakeGrants{refuse: 3}
		g.cred.Grants = grants
		g.until("the first refusals", func(AdvanceResult) bool { return grants.refuse == 0 })
		if !g.vault.current().Key.IsZero() || g.portal.count("mint") != 1 {
			t.Fatalf("published %s after %d mints", g.vault.current().Key.Fingerprint(), g.portal.count("mint"))
		}
		if g.record().ProofFailedAt.IsZero() {
			t.Error("nobody is told that a proof fails")
		}
		g.until("promotion", func(r AdvanceResult) bool { return r.Step == StepPromote })
		first := g.record().Live.Fingerprint
		for _, a := range grants.asked {
			if a.old != "" || a.minted != first || !slices.Equal(a.privileges, g.portal.privileges) {
				t.Errorf("asked %+v", a)
			}
		}
		grants.asked = nil
		g.untilPhase(PhaseOverlap)
		if len(grants.asked) != 1 || grants.asked[0].old != first {
			t.Errorf("asked %+v, with %s served", grants.asked, first)
		}
		g.untilPhase(PhaseIdle)
		heir := withHeir(t, g)
		grants.asked = nil
		g.replace()
		g.until("promotion", func(r AdvanceResult) bool { return r.Step == StepPromote })
		if len(grants.asked) != 1 || grants.asked[0].old != "" || !slices.Equal(grants.asked[0].privileges, heir.privileges) {
			t.Errorf("of the item that takes over it asked %+v", grants.asked)
		}
		if time.Since(g.record().Live.MintedAt) > time.Hour {
			t.Error("it took an hour")
		}
	})
}
