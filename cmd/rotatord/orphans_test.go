package main

import (
	"strings"
	"testing"
	"time"

	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

// TestOrphansSayWhatHappensToEach: the policy retires one, the other wants a person.
func TestOrphansSayWhatHappensToEach(t *testing.T) {
	since := time.Now().Add(-50 * time.Hour)
	all := []daemon.Status{
		{Name: "calm", Portal: "online"},
		{Name: "maps", Portal: "online", Orphans: []rotate.Orphan{
			{Slot: rotate.Slot1, Fingerprint: "AT1_lgalmA3r-0123abcd", Since: since, RetireAt: since.Add(72 * time.Hour)},
			{Slot: rotate.Slot2, Since: since},
		}},
	}
	report := orphanReport{Orphans: orphansOf(all)}
	if len(report.Orphans) != 2 || report.Orphans[1].Credential != "maps" || report.Orphans[1].Slot != rotate.Slot2 {
		t.Fatalf("orphans: %+v", report.Orphans)
	}
	var out strings.Builder
	c := &cli{stdio: stdio{out: &out, err: &out}}
	if err := c.showOrphans(report, true); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"AT1_lgalmA3r-0123abcd", "(in 21 hours)", "only reported; rotatord invalidate maps --slot 2", "(2 days ago)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
}

// TestUnadoptedIsWhatNobodyHereRenews: also what is configured and waits for a person.
func TestUnadoptedIsWhatNobodyHereRenews(t *testing.T) {
	seen := []found{{Portal: "online", Item: "a"}, {Portal: "online", Item: "b"}, {Portal: "online", Item: "c", Legacy: true}, {Portal: "other", Item: "a"}}
	got := unadopted(seen, []daemon.Status{{Portal: "online", Item: "a", AdoptedAt: time.Now()}, {Portal: "online", Item: "b"}})
	if len(got) != 3 || got[0].Item != "b" || got[1].Item != "c" || got[2].Portal != "other" {
		t.Errorf("unadopted: %+v", got)
	}
}

// TestStatusDetailSaysWhatKeepsAnOldKey: each line that on-call needs is there, and none that says nothing.
func TestStatusDetailSaysWhatKeepsAnOldKey(t *testing.T) {
	now := time.Now()
	s := daemon.Status{Name: "maps", Hold: &rotate.Hold{Reason: "audit", By: "the config"}, ProofFail: now.Add(-3 * time.Hour), Dates: "the list of keys says x",
		Revoke:  rotate.Ladder{Attempts: 4, Since: now.Add(-3 * time.Hour), RetryAt: now.Add(30 * time.Minute), Error: "revoke slot 2: auth"},
		Orphans: []rotate.Orphan{{Slot: rotate.Slot2, Since: now.Add(-50 * time.Hour)}}}
	text := statusDetail(s, now)
	for _, want := range []string{"by the config: audit", "failed 4 times", "revoke slot 2: auth", "(3 hours ago)", "the list of keys says x", "slot 2 - since", "only reported"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	if calm := statusDetail(daemon.Status{Name: "maps"}, now); strings.Contains(calm, "revocation") || strings.Contains(calm, "orphan") || strings.Contains(calm, "0001") {
		t.Errorf("a calm credential says:\n%s", calm)
	}
}
