package rotate

import (
	"testing"
	"time"
)

// TestDecideOnceWrong keeps what the plan once got wrong.
func TestDecideOnceWrong(t *testing.T) {
	orphaned := func(in *In) {
		in.Record.Slots[Slot2] = SlotState{Use: UseOwn, Active: true, Since: t0().Add(-8 * day)}
		in.View.App.Active[Slot2] = true
		in.Policy.OrphanDelay = 7 * day
	}
	for _, tt := range []struct {
		name string
		base func() In
		rows []decideRow
	}{
		{"minting", inPhase(PhaseMinting), []decideRow{
			{"the live key died since the start", deadKey, working(want{Step: StepMint, Slot: Slot2})},
			{"watch, in mid-rotation", with(watching, minted), working(want{Step: StepAbort, Blocked: ReasonWatch})},
		}},
		{"idle", idleIn, []decideRow{
			{"dead and asked for", with(deadKey, asks(Request{Kind: RequestRotate})), want{Step: StepStart, Due: ReasonRequested, Slot: Slot2}},
			{"dead and compromised", with(deadKey, asks(Request{Kind: RequestCompromised, Fingerprints: []Fingerprint{liveKey().Fingerprint()}})),
				want{Step: StepStart, Due: ReasonCompromised, Slot: Slot2}},
			{"an orphan while a sink cannot be read", with(orphaned, sinkDown(1)), want{Blocked: ReasonNotDue}},
			{"invalidate while a sink cannot be read", with(orphaned, sinkDown(1), asks(Request{Kind: RequestInvalidate, Slot: Slot2})),
				want{Step: StepFail, Blocked: ReasonUnreachable}},
			{"invalidate behind a rebuilt journal", with(orphaned, func(in *In) { in.Record.RebuiltAt = t0().Add(-time.Hour) }, asks(Request{Kind: RequestInvalidate, Slot: Slot2})),
				want{Step: StepRefuse, Blocked: ReasonRebuilt}},
			{"invalidate over somebody unknown", with(func(in *In) { in.View.App.Active[Slot2] = true; in.View.Item.Expires[Slot2] = t0().Add(90 * day) },
				asks(Request{Kind: RequestInvalidate, Slot: Slot2})), want{Step: StepRefuse, Blocked: ReasonOccupied}},
			{"adopt in watch mode", with(watching, asks(Request{Kind: RequestAdopt})), want{Step: StepRefuse, Blocked: ReasonWatch}},
		}},
		{"due", expiringIn, []decideRow{
			{"held, and the hold not yet in the sink", with(held, func(in *In) { in.Record.MarkDue = true }), want{Step: StepMark, Due: ReasonExpiring}},
			{"min_interval does not keep a look away", with(surveyDue, func(in *In) {
				in.Policy.MinInterval = 10 * day
				in.Record.PromotedAt = t0().Add(-day)
			}), want{Step: StepSurvey, Blocked: ReasonMinInterval, Due: ReasonExpiring}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) { runDecide(t, tt.base, tt.rows) })
	}
}

// TestACutOverWithoutItsRotation is a journal that contradicts itself.
func TestACutOverWithoutItsRotation(t *testing.T) {
	for _, p := range Phases() {
		in := phaseIn(p)
		in.Record.Rotation = nil
		if d := decided(t, in); p.InCutOver() && d.Step != StepAbort {
			t.Errorf("in %s: decided %+v, want abort", p, d)
		}
	}
}

func TestResumeKeepsAMarkThatIsDue(t *testing.T) {
	r := Record{AdoptedAt: t0(), Live: KeyFacts{Fingerprint: liveKey().Fingerprint()}, MarkDue: true, Quarantine: &Quarantine{Since: t0()}}
	r, _, err := Apply(r, Command{Kind: CommandResume, By: "ann"}, t0().Add(time.Minute))
	if err != nil || !r.MarkDue || r.Quarantine != nil {
		t.Errorf("got %+v, %v; want the mark still due and no quarantine", r, err)
	}
}
