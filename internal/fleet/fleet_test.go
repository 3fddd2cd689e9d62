package fleet_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"rotatord/internal/fleet"
	"rotatord/internal/rotate"
)

var now = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func policy() rotate.Policy {
	return rotate.Policy{RenewBefore: 30 * 24 * time.Hour, Lifetime: 90 * 24 * time.Hour, Overlap: 7 * 24 * time.Hour}
}

func in(stage string, names ...rotate.Name) []fleet.Member {
	var out []fleet.Member
	for _, n := range names {
		out = append(out, fleet.Member{Name: n, Stage: stage, Policy: policy(), Mode: rotate.ModeRotate})
	}
	return out
}

// calm is a record of a credential that is adopted, well and not due.
func calm(name rotate.Name) rotate.Record {
	return rotate.Record{Name: name, Phase: rotate.PhaseIdle, AdoptedAt: now.AddDate(-1, 0, 0), PromotedAt: now.AddDate(0, 0, -20),
		Live: rotate.KeyFacts{Slot: rotate.Slot1, Fingerprint: "AT1_x", Expires: now.AddDate(0, 0, 60), MintedAt: now.AddDate(0, 0, -20)}}
}

func rotating(name rotate.Name, why rotate.Reason) rotate.Record {
	r := calm(name)
	r.Phase, r.Rotation = rotate.PhaseMinting, &rotate.Rotation{ID: "R", Reason: why}
	return r
}

func failed(name rotate.Name) rotate.Record {
	r := calm(name)
	r.ProofFailedAt = now.Add(-time.Hour)
	return r
}

func TestNothingConfiguredAllowsEverything(t *testing.T) {
	f := fleet.New([]rotate.Record{rotating("a", rotate.ReasonExpiring), failed("b"), failed("c")})
	f.Configure(fleet.Policy{}, in("", "a", "b", "c", "d"))
	if b := f.Begin(calm("d"), now); b != (rotate.Block{}) {
		t.Errorf("blocked: %+v", b)
	}
}

func TestStages(t *testing.T) {
	quarantined, dead, drifting, due, young, held, heldDue := calm("c"), calm("c"), calm("c"), calm("c"), calm("c"), calm("c"), calm("c")
	quarantined.Quarantine = &rotate.Quarantine{Reason: "x"}
	dead.DeadAt = now
	drifting.Drift = rotate.DriftSinkForeign
	due.Live.Expires = now.AddDate(0, 0, 29)
	young.PromotedAt = now.Add(-23 * time.Hour)
	held.Hold = &rotate.Hold{Reason: "x", By: "y", Since: now}
	heldDue.Hold, heldDue.Live.Expires = held.Hold, due.Live.Expires
	overlap, unadopted := calm("c"), due
	overlap.Phase, overlap.PromotedAt = rotate.PhaseOverlap, now.Add(-25*time.Hour)
	unadopted.AdoptedAt = time.Time{}
	for name, row := range map[string]struct {
		canary rotate.Record
		want   string // in the text; "" is no block
		until  time.Time
	}{
		"calm":         {canary: calm("c")},
		"rotating":     {canary: rotating("c", rotate.ReasonExpiring), want: "stage canary comes first: c rotates right now", until: now.Add(time.Minute)},
		"quarantined":  {canary: quarantined, want: "c is quarantined", until: now.Add(time.Minute)},
		"failed proof": {canary: failed("c"), want: "c got a key that failed its proof", until: now.Add(time.Minute)},
		"dead":         {canary: dead, want: "c serves a dead key", until: now.Add(time.Minute)},
		"drift":        {canary: drifting, want: "c is in drift (sink_foreign)", until: now.Add(time.Minute)},
		"due":          {canary: due, want: "c is due itself", until: now.Add(time.Minute)},
		"young":        {canary: young, want: "c serves its new key only since 2026-03-09T13:00:00Z", until: now.Add(time.Hour)},
		"well for long enough, the old key not yet retired": {canary: overlap},
		"held and due": {canary: heldDue},
		"unadopted":    {canary: unadopted},
	} {
		t.Run(name, func(t *testing.T) {
			f := fleet.New([]rotate.Record{row.canary, calm("s"), calm("p")})
			f.Configure(fleet.Policy{Stages: []string{"canary", "staging", "production"}, HealthyFor: 24 * time.Hour},
				append(append(in("canary", "c"), in("staging", "s")...), append(in("production", "p"), in("", "free")...)...))
			for _, later := range []rotate.Name{"s", "p"} {
				b := f.May(calm(later), now)
				if (b.Reason == rotate.ReasonStage) != (row.want != "") || !strings.Contains(b.Text, row.want) || !b.Until.Equal(row.until) {
					t.Errorf("%s: %+v, want %q until %s", later, b, row.want, row.until)
				}
			}
			for _, free := range []rotate.Name{"c", "free", "stranger"} {
				if b := f.May(calm(free), now); b.Reason != "" {
					t.Errorf("%s waits: %+v", free, b)
				}
			}
		})
	}
}

func TestWatchedAndConfigHeldCredentialsHoldNobodyUp(t *testing.T) {
	due := calm("c")
	due.Live.Expires = now
	for _, m := range []fleet.Member{
		{Name: "c", Stage: "canary", Policy: policy(), Mode: rotate.ModeWatch},
		{Name: "c", Stage: "canary", Policy: policy(), Mode: rotate.ModeRotate, Held: true},
	} {
		f := fleet.New([]rotate.Record{due})
		f.Configure(fleet.Policy{Stages: []string{"canary", "production"}}, append(in("production", "p"), m))
		if b := f.May(calm("p"), now); b.Reason != "" {
			t.Errorf("%+v: %+v", m, b)
		}
	}
}

func TestAtOnce(t *testing.T) {
	f := fleet.New([]rotate.Record{rotating("a", rotate.ReasonExpiring), rotating("dead", rotate.ReasonDead), rotating("gone", rotate.ReasonExpiring)})
	f.Configure(fleet.Policy{AtOnce: 2}, in("", "a", "b", "c", "dead"))
	if b := f.Begin(calm("b"), now); b.Reason != "" {
		t.Fatalf("the second one waits: %+v", b)
	}
	if b := f.Begin(calm("c"), now); b.Reason != rotate.ReasonLimit || b.Text != "2 of at most 2 rotations are under way" || !b.Until.After(now) {
		t.Errorf("the third one: %+v", b)
	}
	if b := f.Begin(calm("b"), now); b.Reason != "" {
		t.Errorf("who has the place waits for it: %+v", b)
	}
	f.Saw(calm("b")) // it did not begin after all
	if b := f.Begin(calm("c"), now); b.Reason != "" {
		t.Errorf("a place that was given back is taken: %+v", b)
	}
	f.Saw(rotating("c", rotate.ReasonExpiring))
	f.Saw(calm("a"))
	f.Configure(fleet.Policy{AtOnce: 1}, in("", "b", "c"))
	if b := f.May(calm("b"), now); b.Reason != rotate.ReasonLimit {
		t.Errorf("a reload forgot who is under way: %+v", b)
	}
}

func TestAtOnceUnderStrain(t *testing.T) {
	const most, all = 5, 200
	var members []fleet.Member
	for i := range all {
		members = append(members, in("", rotate.Name(fmt.Sprint(i)))...)
	}
	f := fleet.New(nil)
	f.Configure(fleet.Policy{AtOnce: most}, members)
	var mu sync.Mutex
	var wg sync.WaitGroup
	begun := 0
	for _, m := range members {
		wg.Go(func() {
			if f.Begin(calm(m.Name), now).Reason == "" {
				mu.Lock()
				defer mu.Unlock()
				begun++
			}
		})
	}
	wg.Wait()
	if begun != most {
		t.Errorf("%d began, want %d", begun, most)
	}
}

func TestFailedProofsStopTheFleet(t *testing.T) {
	records := []rotate.Record{failed("b"), failed("a"), failed("stranger")}
	f := fleet.New(records)
	f.Configure(fleet.Policy{FailedProofs: 3}, in("", "a", "b", "c", "d"))
	if b := f.May(calm("d"), now); b.Reason != "" {
		t.Fatalf("two of three, and one that is no member any more: %+v", b)
	}
	f.Saw(failed("c"))
	b := f.May(calm("d"), now)
	if b.Reason != rotate.ReasonFleetStop || !b.Until.Equal(now.Add(time.Minute)) ||
		b.Text != "new keys of 3 credentials failed their proof: a, b, c; find out why, then `rotatord resume NAME` each" {
		t.Errorf("%+v", b)
	}
	f.Saw(calm("b")) // resumed
	if b := f.May(calm("d"), now); b.Reason != "" {
		t.Errorf("still stopped: %+v", b)
	}
}

func TestFailedShareStopsTheFleet(t *testing.T) {
	var members []fleet.Member
	for i := range 40 {
		members = append(members, in("", rotate.Name(fmt.Sprint(i)))...)
	}
	f := fleet.New([]rotate.Record{failed("0")})
	f.Configure(fleet.Policy{FailedShare: 0.05}, members[:10])
	if b := f.May(calm("9"), now); b.Reason != "" {
		t.Errorf("one alone stops ten: %+v", b)
	}
	f.Saw(failed("1"))
	if b := f.May(calm("9"), now); b.Reason != rotate.ReasonFleetStop {
		t.Errorf("a fifth does not stop: %+v", b)
	}
	f.Configure(fleet.Policy{FailedShare: 0.06}, members)
	if b := f.May(calm("9"), now); b.Reason != "" {
		t.Errorf("5%% are not 6%%: %+v", b)
	}
}
