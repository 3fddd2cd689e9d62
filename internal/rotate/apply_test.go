package rotate

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestApplyRefuses(t *testing.T) {
	unadopted := func(r *Record) { *r = Record{Name: "maps", Phase: PhaseIdle} }
	none := func(*Record) {}
	asked := func(r *Record) {
		r.Request = &Request{Kind: RequestRotate, By: "bob", At: t0()}
	}
	minting := func(r *Record) { *r = phaseIn(PhaseMinting).Record }
	for _, tt := range []struct {
		name   string
		change func(r *Record)
		cmd    Command
		want   string
	}{
		{"nobody gives it", none, Command{Kind: CommandHold, Text: "x", By: ""}, "hold refused: nobody is named who gives it"},
		{"no such command", none, Command{Kind: "explode"}, "explode refused: no such command"},
		{"no command", none, Command{}, " refused: no such command"},
		{"hold without a reason", none, Command{Kind: CommandHold}, "hold refused: a hold needs a reason; give --reason TEXT"},
		{"resume of a healthy one", none, Command{Kind: CommandResume}, "resume refused: it is neither held nor quarantined nor failing"},
		{"confirm without a rebuild", none, Command{Kind: CommandConfirm}, "confirm refused: its journal was not rebuilt; nothing needs confirming"},
		{"cancel of nothing", none, Command{Kind: CommandCancel}, "cancel refused: nothing was asked for"},
		{"rotate, never adopted", unadopted, Command{Kind: CommandRotate}, "rotate refused: it was never adopted; run `rotatord adopt maps` first"},
		{"compromised, never adopted", unadopted, Command{Kind: CommandCompromised}, "compromised refused: it was never adopted; run `rotatord adopt maps` first"},
		{"rotate twice", asked, Command{Kind: CommandRotate},
			"rotate refused: rotate was already asked for by bob at 2026-03-10T12:00:00Z; `rotatord cancel` drops it"},
		{"adopt after rotate", asked, Command{Kind: CommandAdopt},
			"adopt refused: rotate was already asked for by bob at 2026-03-10T12:00:00Z; `rotatord cancel` drops it"},
		{"rotate in mid-rotation", minting, Command{Kind: CommandRotate}, "rotate refused: a rotation is in its phase minting; wait for it, or hold it"},
		{"adopt in mid-rotation", minting, Command{Kind: CommandAdopt}, "adopt refused: a rotation is in its phase minting; wait for it, or hold it"},
		{"regenerate no slot", none, Command{Kind: CommandRegenerate}, "regenerate refused: it names no slot; give --slot 1 or --slot 2"},
		{"regenerate slot 3", none, Command{Kind: CommandRegenerate, Slot: 3}, "regenerate refused: it names no slot; give --slot 1 or --slot 2"},
		{"regenerate the served slot", none, Command{Kind: CommandRegenerate, Slot: Slot1},
			"regenerate refused: sinks serve the key of slot 1; --outage-ok accepts that its consumers fail"},
		{"invalidate the served slot", none, Command{Kind: CommandInvalidate, Slot: Slot1},
			"invalidate refused: sinks serve the key of slot 1; --outage-ok accepts that its consumers fail"},
		{"roll back to nothing", none, Command{Kind: CommandRollback}, "rollback refused: there is no previous key to go back to"},
		{"an unknown key is compromised", none, Command{Kind: CommandCompromised, Fingerprints: []Fingerprint{"AT1_H4JC97kO-00000000"}},
			"compromised refused: no key AT1_H4JC97kO-00000000 is in use here; `rotatord status` shows the fingerprints"},
		{"all of no keys", func(r *Record) { r.Live = KeyFacts{} }, Command{Kind: CommandCompromised}, "compromised refused: no key is in use here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := idleIn().Record
			tt.change(&r)
			before := r
			if tt.name != "nobody gives it" {
				tt.cmd.By = "ann"
			}
			got, _, err := Apply(r, tt.cmd, t0())
			refused, ok := errors.AsType[*RefusedError](err)
			if !ok || err.Error() != tt.want || refused.Command != tt.cmd.Kind {
				t.Errorf("error = %v, want %s", err, tt.want)
			}
			if diff := cmp.Diff(before, got); diff != "" {
				t.Errorf("a refused command changed the record (-before +after):\n%s", diff)
			}
		})
	}
}

func TestApplyAccepts(t *testing.T) {
	live, prev := liveKey().Fingerprint(), prevKey().Fingerprint()
	now := t0().Add(time.Hour)
	request := func(q Request) func(r *Record) {
		return func(r *Record) {
			q.By, q.At = "ann", now
			r.Request, r.RetryAt = &q, time.Time{}
		}
	}
	failing := func(r *Record) {
		r.Attempts, r.LastError, r.LastKind, r.LastFailure, r.RetryAt = 4, "x", KindTransient, t0(), now.Add(time.Hour)
	}
	for _, tt := range []struct {
		name   string
		in     func() In
		before func(r *Record)
		cmd    Command
		after  func(r *Record)
		event  Event
	}{
		{"hold", idleIn, nil, Command{Kind: CommandHold, Text: "audit", Until: now.Add(day)},
			func(r *Record) {
				r.Hold, r.MarkDue = &Hold{Reason: "audit", By: "ann", Since: now, Until: now.Add(day)}, true
			}, Event{Kind: EventHeld, Detail: "hold until 2026-03-11T13:00:00Z: audit"}},
		{"hold in mid-rotation", inPhase(PhaseMinting), nil, Command{Kind: CommandHold, Text: "audit"},
			func(r *Record) { r.Hold, r.MarkDue = &Hold{Reason: "audit", By: "ann", Since: now}, true }, Event{Kind: EventHeld, Detail: "hold: audit"}},
		{"hold before adoption", idleIn, func(r *Record) { r.AdoptedAt = time.Time{} }, Command{Kind: CommandHold, Text: "audit"},
			func(r *Record) { r.Hold = &Hold{Reason: "audit", By: "ann", Since: now} }, Event{Kind: EventHeld, Detail: "hold: audit"}},
		{"resume a hold", idleIn, func(r *Record) { r.Hold = &Hold{Reason: "x", By: "bob"} }, Command{Kind: CommandResume},
			func(r *Record) { r.Hold, r.MarkDue = nil, true }, Event{Kind: EventResumed, Detail: "resume"}},
		{"resume a quarantine", idleIn, func(r *Record) { failing(r); r.Quarantine = &Quarantine{Reason: "x"} }, Command{Kind: CommandResume, Text: "fixed"},
			func(r *Record) {
				r.Quarantine, r.Attempts, r.LastError, r.LastKind, r.LastFailure, r.RetryAt = nil, 0, "", "", time.Time{}, time.Time{}
			}, Event{Kind: EventResumed, Detail: "resume: fixed"}},
		{"resume a failing one", idleIn, failing, Command{Kind: CommandResume},
			func(r *Record) {
				r.Attempts, r.LastError, r.LastKind, r.LastFailure, r.RetryAt = 0, "", "", time.Time{}, time.Time{}
			}, Event{Kind: EventResumed, Detail: "resume"}},
		{"confirm", idleIn, func(r *Record) { r.RebuiltAt = t0() }, Command{Kind: CommandConfirm},
			func(r *Record) { r.RebuiltAt = time.Time{} }, Event{Kind: EventRequested, Detail: "confirm"}},
		{"cancel", idleIn, func(r *Record) { r.Request = &Request{Kind: RequestRotate, By: "bob"} }, Command{Kind: CommandCancel},
			func(r *Record) { r.Request = nil }, Event{Kind: EventRequested, Detail: "cancel"}},
		{"rotate", idleIn, failing, Command{Kind: CommandRotate, Text: "drill"},
			request(Request{Kind: RequestRotate, Text: "drill"}), Event{Kind: EventRequested, Detail: "rotate: drill"}},
		{"rotate while held", idleIn, func(r *Record) { r.Hold = &Hold{Reason: "x", By: "bob"} }, Command{Kind: CommandRotate},
			request(Request{Kind: RequestRotate}), Event{Kind: EventRequested, Detail: "rotate"}},
		{"regenerate the spare", idleIn, nil, Command{Kind: CommandRegenerate, Slot: Slot2},
			request(Request{Kind: RequestRegenerate, Slot: Slot2}), Event{Kind: EventRequested, Slot: Slot2, Detail: "regenerate"}},
		{"invalidate the served slot", idleIn, nil, Command{Kind: CommandInvalidate, Slot: Slot1, OutageOK: true},
			request(Request{Kind: RequestInvalidate, Slot: Slot1, OutageOK: true}), Event{Kind: EventRequested, Slot: Slot1, Detail: "invalidate, outage accepted"}},
		{"roll back", overlapIn, nil, Command{Kind: CommandRollback}, request(Request{Kind: RequestRollback}), Event{Kind: EventRequested, Detail: "rollback"}},
		{"adopt and take a slot", idleIn, func(r *Record) { *r = Record{Name: "maps"} }, Command{Kind: CommandAdopt, Slot: Slot2},
			request(Request{Kind: RequestAdopt, Slot: Slot2}), Event{Kind: EventRequested, Slot: Slot2, Detail: "adopt"}},
		{"adopt again", idleIn, nil, Command{Kind: CommandAdopt}, request(Request{Kind: RequestAdopt}), Event{Kind: EventRequested, Detail: "adopt"}},
		{"all keys compromised", overlapIn, nil, Command{Kind: CommandCompromised},
			request(Request{Kind: RequestCompromised, Fingerprints: []Fingerprint{live, prev}}), Event{Kind: EventRequested, Detail: "compromised"}},
		{"the only key compromised", idleIn, nil, Command{Kind: CommandCompromised},
			request(Request{Kind: RequestCompromised, Fingerprints: []Fingerprint{live}}), Event{Kind: EventRequested, Detail: "compromised"}},
		{"one key compromised", overlapIn, nil, Command{Kind: CommandCompromised, Fingerprints: []Fingerprint{prev}},
			request(Request{Kind: RequestCompromised, Fingerprints: []Fingerprint{prev}}), Event{Kind: EventRequested, Detail: "compromised"}},
		{"compromised in mid-rotation", inPhase(PhaseMinting), nil, Command{Kind: CommandCompromised},
			request(Request{Kind: RequestCompromised, Fingerprints: []Fingerprint{live}}), Event{Kind: EventRequested, Detail: "compromised"}},
		{"compromised replaces what was asked for", idleIn, func(r *Record) { r.Request = &Request{Kind: RequestRotate, By: "bob"} },
			Command{Kind: CommandCompromised, OutageOK: true}, request(Request{Kind: RequestCompromised, Fingerprints: []Fingerprint{live}, OutageOK: true}),
			Event{Kind: EventRequested, Detail: "compromised, outage accepted"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.in().Record
			if tt.before != nil {
				tt.before(&r)
			}
			wantRecord := r
			tt.after(&wantRecord)
			wantRecord.NextAt = now
			tt.cmd.By, tt.event.Actor = "ann", "ann"
			got, ev, err := Apply(r, tt.cmd, now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wantRecord, got); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.event, ev); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCompromisedAllNamesNoLaterKey: "all" is what is in use when it is said, so that
// the key that replaces it is not meant, and the caller's list is not written into.
func TestCompromisedAllNamesNoLaterKey(t *testing.T) {
	named := make([]Fingerprint, 1, 4)
	named[0] = liveKey().Fingerprint()
	r, _, err := Apply(overlapIn().Record, Command{Kind: CommandCompromised, Fingerprints: named, By: "ann"}, t0())
	if err != nil || len(r.Request.Fingerprints) != 1 || named[:2][1] != "" {
		t.Errorf("names %v of %v, %v", r.Request.Fingerprints, named[:2], err)
	}
	in := idleIn()
	in.Record = r
	setLive(&in, func(k *KeyFacts) { *k = facts(newKey(), 5, t0(), t0().Add(90*day)) })
	if due, _ := in.due(); due != "" {
		t.Errorf("after the rotation it is still due: %s", due)
	}
}

func TestHoldActive(t *testing.T) {
	for _, tt := range []struct {
		name string
		hold *Hold
		want bool
	}{
		{"none", nil, false}, {"without end", &Hold{}, true}, {"until later", &Hold{Until: t0().Add(1)}, true}, {"until now", &Hold{Until: t0()}, false},
	} {
		if got := tt.hold.Active(t0()); got != tt.want {
			t.Errorf("%s: active %t", tt.name, got)
		}
	}
}

// A command whose process was killed is given again by the same person, and gone on with.
func TestTheSameCommandAgain(t *testing.T) {
	heir := &Heir{ID: heirID(), Made: true}
	for _, cmd := range []Command{{Kind: CommandRotate}, {Kind: CommandInvalidate, Slot: Slot1, OutageOK: true}, {Kind: CommandReplace, Heir: heir}} {
		cmd.By = "ada"
		r := Record{Name: "maps", ID: testID(), AdoptedAt: t0(), Live: KeyFacts{Slot: Slot1, Fingerprint: "AT1_x"}}
		r, _, err := Apply(r, cmd, t0())
		if err != nil {
			t.Fatal(err)
		}
		r.RetryAt, r.Revoke.RetryAt = t0().Add(time.Hour), t0().Add(time.Hour)
		again, ev, err := Apply(r, cmd, t0().Add(time.Minute))
		if err != nil || !again.Request.At.Equal(t0()) || !again.RetryAt.IsZero() || !again.Revoke.RetryAt.IsZero() || !again.NextAt.Equal(t0().Add(time.Minute)) ||
			ev.Detail != commandDetail(cmd)+", again" {
			t.Errorf("%s again: %+v, %+v, %v", cmd.Kind, again, ev, err)
		}
		for _, other := range []Command{{Kind: cmd.Kind, Slot: cmd.Slot, OutageOK: cmd.OutageOK, Heir: cmd.Heir, By: "bob"}, {Kind: CommandRegenerate, Slot: Slot2, By: "ada"},
			{Kind: cmd.Kind, Slot: Slot2, OutageOK: cmd.OutageOK, Heir: &Heir{ID: ID{Portal: "esri", Item: "else"}}, By: "ada"}} {
			if _, _, err := Apply(r, other, t0()); err == nil {
				t.Errorf("%+v is taken for %+v", other, cmd)
			}
		}
	}
}
