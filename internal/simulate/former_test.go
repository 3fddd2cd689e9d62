package simulate

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

// A replacement that is under way changes nothing of what is to come, and stops no simulation.
func TestReplacementUnderWay(t *testing.T) {
	plain := serving("maps", 60, nil)
	other := rotate.ID{Portal: plain.ID.Portal, Item: "beefbeefbeefbeefbeefbeefbeefbeef"}
	asked, begun, over := plain, plain, plain
	asked.Record.Request = &rotate.Request{Kind: rotate.RequestReplace, By: "ada", Heir: &rotate.Heir{ID: other}}
	begun.Record = rotate.Record{Name: "maps", ID: other, Epoch: 9, AdoptedAt: start, Phase: rotate.PhaseClaiming, Former: &rotate.Former{Record: plain.Record},
		Rotation: &rotate.Rotation{ID: "r", Reason: rotate.ReasonReplace, Target: rotate.Slot1}}
	over.Record.Former = &rotate.Former{Record: rotate.Record{ID: other}, PromotedAt: start, RetireAt: start.Add(day)}
	want := Run([]Credential{plain}, Options{From: start, Days: 365}).Events
	if len(want) < 6 {
		t.Fatalf("%d events", len(want))
	}
	for name, c := range map[string]Credential{"asked for": asked, "begun": begun, "in its overlap": over} {
		if diff := cmp.Diff(want, Run([]Credential{c}, Options{From: start, Days: 365}).Events); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
