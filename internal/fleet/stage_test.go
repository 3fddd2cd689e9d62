package fleet

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

// A stage that remembers who is clear until when says the same as one that looks at
// every member, whatever is seen in between and wherever the clock goes.
func TestAStageIsAskedAsIfAllWereLookedAt(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	start := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	policy := rotate.Policy{RenewBefore: 30 * 24 * time.Hour, Lifetime: 90 * 24 * time.Hour, Overlap: 7 * 24 * time.Hour}
	f := New(nil)
	var members []Member
	for i := range 8 {
		members = append(members, Member{Name: rotate.Name(fmt.Sprint("m", i)), Stage: "first", Policy: policy, Mode: rotate.ModeRotate, Held: i == 0})
	}
	f.Configure(Policy{Stages: []string{"first", "second"}, HealthyFor: 2 * 24 * time.Hour}, append(members, Member{Name: "late", Stage: "second", Policy: policy, Mode: rotate.ModeRotate}))
	blocked, open := 0, 0
	now := start
	for range 20000 {
		now = now.Add(time.Duration(random.IntN(20*3600)-3600) * time.Second)
		f.Saw(anyRecord(random, rotate.Name(fmt.Sprint("m", random.IntN(8))), now))
		if random.IntN(4) > 0 { // most are well
			for i := range 8 {
				f.Saw(rotate.Record{Name: rotate.Name(fmt.Sprint("m", i)), AdoptedAt: start, PromotedAt: now.AddDate(0, 0, -3), Phase: rotate.PhaseIdle,
					Live: rotate.KeyFacts{Slot: rotate.Slot1, Fingerprint: "x", Expires: now.AddDate(0, 0, 31+i), MintedAt: now.AddDate(0, 0, -3)}})
			}
		}
		for range 3 {
			now = now.Add(time.Duration(random.IntN(90)-10) * time.Hour)
			want := false
			for _, m := range f.stages[0].members {
				text, _ := m.pending(f.facts[m.name], now, f.policy.HealthyFor)
				want = want || text != ""
			}
			got := f.May(rotate.Record{Name: "late"}, now).Reason == rotate.ReasonStage
			if got != want {
				t.Fatalf("at %s blocked %v, want %v", now, got, want)
			}
			if got {
				blocked++
			} else {
				open++
			}
		}
	}
	if blocked < 1000 || open < 1000 {
		t.Errorf("blocked %d times, open %d times: one of them was hardly tried", blocked, open)
	}
}

func anyRecord(random *rand.Rand, name rotate.Name, now time.Time) rotate.Record {
	r := rotate.Record{Name: name, AdoptedAt: now.AddDate(-1, 0, 0), PromotedAt: now.Add(-time.Duration(random.IntN(96)) * time.Hour), Phase: rotate.PhaseIdle,
		Live: rotate.KeyFacts{Slot: rotate.Slot1, Fingerprint: "x", Expires: now.AddDate(0, 0, 20+random.IntN(60)), MintedAt: now.AddDate(0, 0, -40)}}
	switch random.IntN(8) {
	case 0:
		r.Hold = &rotate.Hold{By: "ann"}
	case 1:
		r.Hold = &rotate.Hold{By: "ann", Until: now.Add(time.Duration(random.IntN(100)) * time.Hour)}
	case 2:
		r.Quarantine = &rotate.Quarantine{Reason: "x"}
	case 3:
		r.Phase = rotate.PhaseOverlap
	case 4:
		r.AdoptedAt = time.Time{}
	case 5:
		r.Live.Expires, r.Live.MintedAt = time.Time{}, time.Time{}
	}
	return r
}
