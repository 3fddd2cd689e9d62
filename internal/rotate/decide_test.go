package rotate

import (
	"errors"
	"testing"
	"time"
)

// want is what a row expects of a decision.
type want struct {
	Step    Step
	Blocked Reason
	Due     Reason
	Slot    Slot
}

type decideRow struct {
	name   string
	change func(in *In)
	want   want
}

func runDecide(t *testing.T, base func() In, rows []decideRow) {
	t.Helper()
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			in := base()
			tt.change(&in)
			d := decided(t, in)
			if got := (want{d.Step, d.Blocked, d.Due, d.Slot}); got != tt.want {
				t.Errorf("decided %+v (%s), want %+v", got, d.Detail, tt.want)
			}
			if d.Step == StepFail && d.Err == nil {
				t.Error("a failure without an error")
			}
			if d.Step == StepNone && (d.Blocked == "" || d.Detail == "") {
				t.Errorf("nothing is done, and nothing says why: %+v", d)
			}
		})
	}
}

func inPhase(p Phase) func() In { return func() In { return phaseIn(p) } }

var (
	errDown      = &Error{Op: "read", Kind: KindTransient, Cause: CauseUnreachable}
	errMalformed = &Error{Op: "read", Kind: KindPermanent, Cause: CauseMalformed}
)

func sinkDown(i int) func(in *In) {
	return func(in *In) {
		in.View.Sinks[i].Err, in.View.Sinks[i].Entry = errDown, Entry{}
		if i == 0 {
			in.View.Errs[NeedSinks] = errDown
		}
	}
}

// shows makes sink i serve a key with facts of that generation; 0 is without meta.
func shows(i int, k Secret, generation int64) func(in *In) {
	return func(in *In) {
		e := &in.View.Sinks[i].Entry
		e.Key = k
		if generation == 0 {
			e.Meta = nil
			return
		}
		m := *e.Meta
		m.Key = facts(k, generation, t0(), t0().Add(60*day))
		e.Meta = &m
	}
}

// vanish deletes the current version of sink i.
func vanish(i int) func(in *In) {
	return func(in *In) { in.View.Sinks[i].Entry = Entry{Version: "9", Ever: true} }
}

func instance(name string) func(in *In) {
	return func(in *In) { in.View.Sinks[0].Entry.Meta.Instance = name }
}

func claimBy(name string, age time.Duration) func(in *In) {
	return func(in *In) {
		m := in.View.Sinks[0].Entry.Meta
		m.Instance = name
		m.Claim = &Claim{Generation: 5, Slot: Slot2, Instance: name, RotationID: "R9", At: t0().Add(-age)}
	}
}

func held(in *In) { in.Record.Hold = &Hold{Reason: "audit", By: "ann", Since: t0()} }

func quarantined(in *In) { in.Record.Quarantine = &Quarantine{Since: t0(), Reason: "five failures"} }

func backingOff(in *In) { in.Record.RetryAt, in.Record.Attempts = t0().Add(time.Minute), 2 }

func watching(in *In) { in.Mode = ModeWatch }

func surveyDue(in *In) { in.Record.SurveyedAt = t0().Add(-day) }

func refusedKey(in *In) { in.View.Proof.Valid = false }

// deadKey is a served key whose death is in the record and plain to see.
func deadKey(in *In) {
	in.Record.DeadAt, in.View.Proof.Valid, in.View.App.Active[in.Record.Live.Slot] = t0().Add(-time.Minute), false, false
}

// lookedBefore is drift that was seen long enough ago to be believed.
func lookedBefore(d Drift) func(in *In) {
	return func(in *In) { in.Record.Drift, in.Record.DriftSince = d, t0().Add(-time.Hour) }
}

func with(changes ...func(in *In)) func(in *In) {
	return func(in *In) {
		for _, c := range changes {
			c(in)
		}
	}
}

func asks(q Request) func(in *In) {
	return func(in *In) {
		q.By, q.At = "ann", t0()
		in.Record.Request = &q
	}
}

func TestDecideIdle(t *testing.T) {
	occupied := func(in *In) {
		in.View.App.Active[Slot2] = true
		in.Record.Slots[Slot2] = SlotState{Use: UseUnknown, Active: true}
	}
	orphan := func(in *In) {
		occupied(in)
		in.Record.Slots[Slot2] = SlotState{Use: UseOwn, Active: true, Since: t0().Add(-8 * day), Key: facts(newKey(), 5, t0(), t0().Add(80*day))}
	}
	runDecide(t, idleIn, []decideRow{
		{"nothing to do", func(*In) {}, want{Blocked: ReasonNotDue}},
		{"survey", surveyDue, want{Step: StepSurvey, Blocked: ReasonNotDue}},
		{"survey asked for", func(in *In) { in.Mem.Look = true }, want{Step: StepSurvey, Blocked: ReasonNotDue}},
		{"survey backs off", with(surveyDue, backingOff), want{Blocked: ReasonNotDue}},
		{"survey fails", with(surveyDue, func(in *In) { in.View.Errs[NeedApp] = errDown }), want{Step: StepFail, Blocked: ReasonUnreachable}},
		{"survey sees a lagging sink", with(surveyDue, shows(1, prevKey(), 3)), want{Step: StepPublish, Slot: Slot1}},
		{"survey sees facts that lag", with(surveyDue, shows(0, liveKey(), 3)), want{Step: StepMark}},
		{"survey sees no facts", with(surveyDue, shows(0, liveKey(), 0)), want{Step: StepMark}},
		{"held", with(surveyDue, held), want{Step: StepSurvey, Blocked: ReasonHeld}},
		{"quarantined", quarantined, want{Blocked: ReasonQuarantined}},
		{"mark due", func(in *In) { in.Record.MarkDue = true }, want{Step: StepMark}},
		{"mark waits while the sink is foreign", with(func(in *In) { in.Record.MarkDue = true }, shows(0, prevKey(), 0)), want{Blocked: ReasonNotDue}},
		{"mark waits while another rotatord wrote", with(func(in *In) { in.Record.MarkDue = true }, instance("there")), want{Blocked: ReasonNotDue}},
		{"mark due in watch mode", with(watching, func(in *In) { in.Record.MarkDue = true }), want{Blocked: ReasonWatch}},
		{"orphan", orphan, want{Step: StepRevoke, Slot: Slot2}},
		{"orphan too young", with(orphan, func(in *In) { in.Record.Slots[Slot2].Since = t0().Add(-8*day + 1) }), want{Blocked: ReasonNotDue}},
		{"orphans are reported only", with(orphan, func(in *In) { in.Policy.OrphanDelay = 0 }), want{Blocked: ReasonNotDue}},
		{"orphan, held", with(orphan, held), want{Blocked: ReasonHeld}},
		{"orphan, quarantined", with(orphan, quarantined), want{Blocked: ReasonQuarantined}},
		{"orphan, watch", with(orphan, watching), want{Blocked: ReasonWatch}},
		{"orphan, sinks differ", with(orphan, shows(1, prevKey(), 3)), want{Blocked: ReasonNotDue}},
		{"orphan, served by a sink", with(orphan, shows(1, newKey(), 0)), want{Blocked: ReasonNotDue}},
		{"orphan, clocks differ", with(orphan, func(in *In) { in.View.Skew = 6 * time.Minute }), want{Blocked: ReasonNotDue}},
		{"orphan, in flight", with(orphan, func(in *In) { in.Mem.InFlight[Slot2] = true }), want{Blocked: ReasonNotDue}},
		{"orphan, rebuilt", with(orphan, func(in *In) { in.Record.RebuiltAt = t0() }), want{Blocked: ReasonNotDue}},
		{"somebody's key is no orphan", with(occupied, func(in *In) { in.Record.Slots[Slot2].Since = t0().Add(-99 * day) }), want{Blocked: ReasonOccupied}},
		{"another item", func(in *In) { in.ID.Item = "other" }, want{Blocked: ReasonDrift}},
		{"another portal", func(in *In) { in.ID.Portal = "other" }, want{Blocked: ReasonDrift}},
		{"sink ahead of the journal", with(surveyDue, shows(0, newKey(), 5)), want{Step: StepRebuild}},
		{"sink ahead, another instance", with(surveyDue, shows(0, newKey(), 5), instance("there")), want{Step: StepSurvey, Blocked: ReasonNotDue}},
		{"vanished: looked at again first", with(surveyDue, vanish(0)), want{Blocked: ReasonDrift}},
		{"vanished, and another sink has it", with(surveyDue, vanish(0), lookedBefore(DriftSinkEmpty)), want{Step: StepStart, Due: ReasonRestore, Slot: Slot1}},
		{"vanished everywhere", with(surveyDue, vanish(0), vanish(1), lookedBefore(DriftSinkEmpty)), want{Step: StepSurvey, Blocked: ReasonDrift}},
		{"vanished, an earlier version is readable", with(surveyDue, vanish(0), vanish(1), lookedBefore(DriftSinkEmpty),
			func(in *In) { in.View.Earlier = []Entry{{Version: "8", Ever: true, Key: liveKey()}} }), want{Step: StepStart, Due: ReasonRestore, Slot: Slot1}},
		{"behind, and another sink has the newer key", with(surveyDue, shows(0, prevKey(), 3), lookedBefore(DriftSinkBehind)), want{Step: StepStart, Due: ReasonRestore, Slot: Slot1}},
		{"behind everywhere", with(surveyDue, shows(0, prevKey(), 3), shows(1, prevKey(), 3), lookedBefore(DriftSinkBehind)), want{Step: StepSwap, Slot: Slot2}},
		{"behind, not believed yet", with(surveyDue, shows(0, prevKey(), 3), shows(1, prevKey(), 3)), want{Blocked: ReasonDrift}},
		{"foreign instance is left alone", with(surveyDue, instance("there"), shows(1, prevKey(), 3)), want{Step: StepSurvey, Blocked: ReasonNotDue}},
	})
}

func TestDecideStart(t *testing.T) {
	spare := func(use SlotUse) func(in *In) {
		return func(in *In) {
			in.View.App.Active[Slot2] = true
			in.Record.Slots[Slot2] = SlotState{Use: use, Active: true, Key: facts(newKey(), 5, t0(), t0().Add(80*day))}
		}
	}
	due := func(w want) want { w.Due = ReasonExpiring; return w }
	drifted := due(want{Blocked: ReasonDrift})
	start := due(want{Step: StepStart, Slot: Slot2})
	otherClient := keyOf("anotherClientXYZ", Slot1, "other")
	runDecide(t, expiringIn, []decideRow{
		{"start", func(*In) {}, start},
		{"watch", watching, due(want{Blocked: ReasonWatch})},
		{"held", held, due(want{Blocked: ReasonHeld})},
		{"held with a survey due", with(held, surveyDue), due(want{Step: StepSurvey, Blocked: ReasonHeld})},
		{"quarantined", quarantined, due(want{Blocked: ReasonQuarantined})},
		{"backing off", backingOff, due(want{Blocked: ReasonBackoff})},
		{"window", func(in *In) { in.Policy.Calendar = closed{ReasonWindow} }, due(want{Blocked: ReasonWindow})},
		{"our own lost key in the spare", spare(UseOwn), start},
		{"somebody unknown in the spare", spare(UseUnknown), due(want{Blocked: ReasonOccupied})},
		{"somebody unknown where it was empty", spare(UseEmpty), due(want{Blocked: ReasonOccupied})},
		{"somebody unknown, slot taken", with(spare(UseUnknown), func(in *In) { in.Record.Slots[Slot2].Taken = true }), start},
		{"somebody unknown, spare expendable", with(spare(UseUnknown), func(in *In) { in.Policy.SpareExpendable = true }), start},
		{"unknown outcome", func(in *In) { in.Mem.InFlight[Slot2] = true }, due(want{Blocked: ReasonHorizon})},
		{"rebuilt", with(spare(UseOwn), func(in *In) { in.Record.RebuiltAt = t0() }), due(want{Blocked: ReasonRebuilt})},
		{"rebuilt, the spare empty", func(in *In) { in.Record.RebuiltAt = t0() }, start},
		{"first sink down", sinkDown(0), due(want{Step: StepFail, Blocked: ReasonUnreachable})},
		{"later sink down", sinkDown(1), due(want{Step: StepFail, Blocked: ReasonUnreachable})},
		{"portal down", func(in *In) { in.View.Errs[NeedProof] = errDown }, due(want{Step: StepFail, Blocked: ReasonUnreachable})},
		{"a foreign key in the first sink", shows(0, newKey(), 0), drifted},
		{"a foreign value in the first sink", shows(0, NewSecret("hello"), 0), drifted},
		{"another client's key in the first sink", shows(0, otherClient, 0), drifted},
		{"another item's facts in the first sink", func(in *In) { in.View.Sinks[0].Entry.Meta.Item = "other" }, drifted},
		{"facts of a later format", func(in *In) { in.View.Sinks[0].Entry.Meta.Format = 2 }, drifted},
		{"a foreign key in a later sink", shows(1, newKey(), 0), drifted},
		{"a later sink lags", shows(1, prevKey(), 3), due(want{Step: StepPublish, Slot: Slot1})},
		{"a later sink is empty", vanish(1), due(want{Step: StepPublish, Slot: Slot1})},
		{"a later sink lags while held", with(shows(1, prevKey(), 3), held), due(want{Blocked: ReasonHeld})},
		{"another rotatord wrote", instance("there"), drifted},
		{"the served key is refused", refusedKey, due(want{Blocked: ReasonSuspect})},
		{"the served key is another item's", func(in *In) { in.View.Proof.Item = "other" }, drifted},
		{"the served key is another client's", func(in *In) { in.View.Proof.ClientID = "other" }, drifted},
		{"its flag is false and it works", func(in *In) { in.View.App.Active[Slot1] = false }, drifted},
		{"dates disagree, the spare empty", func(in *In) { in.View.Item.Expires[Slot1] = t0().Add(40 * day) }, start},
		{"dates disagree, the spare in use", with(spare(UseOwn), func(in *In) { in.View.Item.Expires[Slot1] = t0().Add(40 * day) }), drifted},
		{"dates two days apart agree", with(spare(UseOwn), func(in *In) { in.View.Item.Expires[Slot1] = t0().Add(22 * day) }), start},
		{"an unknown item date is no disagreement", func(in *In) { in.View.Item.Expires[Slot1] = time.Time{} }, start},
		{"dead, the spare empty", deadKey, want{Step: StepStart, Due: ReasonDead, Slot: Slot2}},
		{"dead and a later sink down", with(deadKey, sinkDown(1)), want{Step: StepStart, Due: ReasonDead, Slot: Slot2}},
		{"dead and the first sink down", with(deadKey, sinkDown(0)), want{Step: StepFail, Blocked: ReasonUnreachable, Due: ReasonDead}},
		{"dead, the spare occupied: its own slot", with(spare(UseUnknown), deadKey), want{Step: StepStart, Due: ReasonDead, Slot: Slot1}},
		{"dead by refusals with its flag true, the spare occupied", with(spare(UseUnknown), deadKey, func(in *In) { in.View.App.Active[Slot1] = true }),
			want{Blocked: ReasonOccupied, Due: ReasonDead}},
		{"too many deaths", with(deadKey, func(in *In) { in.Deaths = 4 }), want{Blocked: ReasonDeathStop, Due: ReasonDead}},
		{"vanished", with(vanish(0), vanish(1)), drifted},
	})
}

func TestDecideRequests(t *testing.T) {
	live := []Fingerprint{liveKey().Fingerprint()}
	runDecide(t, idleIn, []decideRow{
		{"rotate", asks(Request{Kind: RequestRotate}), want{Step: StepStart, Due: ReasonRequested, Slot: Slot2}},
		{"rotate in watch mode", with(watching, asks(Request{Kind: RequestRotate})), want{Blocked: ReasonWatch, Due: ReasonRequested}},
		{"compromised", asks(Request{Kind: RequestCompromised, Fingerprints: live}), want{Step: StepStart, Due: ReasonCompromised, Slot: Slot2}},
		{"compromised overrides a hold", with(held, asks(Request{Kind: RequestCompromised, Fingerprints: live})), want{Step: StepStart, Due: ReasonCompromised, Slot: Slot2}},
		{"compromised in drift waits", with(shows(0, newKey(), 0), asks(Request{Kind: RequestCompromised, Fingerprints: live})),
			want{Blocked: ReasonDrift, Due: ReasonCompromised}},
		{"compromised in drift, outage accepted", with(shows(0, newKey(), 0), asks(Request{Kind: RequestCompromised, Fingerprints: live, OutageOK: true})),
			want{Step: StepStart, Due: ReasonCompromised, Slot: Slot2}},
		{"compromised, and spent", asks(Request{Kind: RequestCompromised, Fingerprints: []Fingerprint{prevKey().Fingerprint()}}), want{Step: StepRefuse, Blocked: ReasonNotDue}},
		{"regenerate the spare", asks(Request{Kind: RequestRegenerate, Slot: Slot2}), want{Step: StepStart, Due: ReasonRequested, Slot: Slot2}},
		{"regenerate the served slot", asks(Request{Kind: RequestRegenerate, Slot: Slot1}), want{Blocked: ReasonOccupied, Due: ReasonRequested}},
		{"regenerate the served slot, outage accepted", asks(Request{Kind: RequestRegenerate, Slot: Slot1, OutageOK: true}),
			want{Step: StepStart, Due: ReasonRequested, Slot: Slot1}},
		{"invalidate the served slot", asks(Request{Kind: RequestInvalidate, Slot: Slot1}), want{Step: StepRefuse, Blocked: ReasonOccupied}},
		{"invalidate the served slot, outage accepted", asks(Request{Kind: RequestInvalidate, Slot: Slot1, OutageOK: true}), want{Step: StepRevoke, Slot: Slot1}},
		{"invalidate in drift", with(refusedKey, asks(Request{Kind: RequestInvalidate, Slot: Slot2})), want{Step: StepRefuse, Blocked: ReasonDrift}},
		{"invalidate while in flight", with(func(in *In) { in.Mem.InFlight[Slot2] = true }, asks(Request{Kind: RequestInvalidate, Slot: Slot2})),
			want{Blocked: ReasonHorizon}},
		{"roll back to nothing", asks(Request{Kind: RequestRollback}), want{Step: StepRefuse, Blocked: ReasonNotDue}},
		{"a request backs off", with(backingOff, asks(Request{Kind: RequestInvalidate, Slot: Slot2})), want{Blocked: ReasonNotDue}},
	})
	runDecide(t, overlapIn, []decideRow{
		{"roll back", asks(Request{Kind: RequestRollback}), want{Step: StepStart, Due: ReasonRollback, Slot: Slot2}},
		{"roll back to a refused key", with(asks(Request{Kind: RequestRollback}), func(in *In) { in.View.Old.Valid = false }), want{Step: StepRefuse, Blocked: ReasonDead}},
		{"roll back to a key that nobody has", with(asks(Request{Kind: RequestRollback}), func(in *In) { in.View.OldHad = false }), want{Step: StepRefuse, Blocked: ReasonDrift}},
		{"roll back in drift", with(asks(Request{Kind: RequestRollback}), shows(0, newKey(), 0)), want{Step: StepRefuse, Blocked: ReasonDrift}},
		{"roll back while sinks differ", with(asks(Request{Kind: RequestRollback}), shows(1, prevKey(), 3)), want{Step: StepStart, Due: ReasonRollback, Slot: Slot2}},
		{"previous key compromised", asks(Request{Kind: RequestCompromised, Fingerprints: []Fingerprint{prevKey().Fingerprint()}}), want{Step: StepRetire, Slot: Slot2}},
		{"previous key compromised, held", with(held, asks(Request{Kind: RequestCompromised, Fingerprints: []Fingerprint{prevKey().Fingerprint()}})),
			want{Step: StepRetire, Slot: Slot2}},
		{"both keys compromised", asks(Request{Kind: RequestCompromised, Fingerprints: []Fingerprint{liveKey().Fingerprint(), prevKey().Fingerprint()}}),
			want{Step: StepStart, Due: ReasonCompromised, Slot: Slot2}},
		{"served key compromised, the previous one in use", asks(Request{Kind: RequestCompromised, Fingerprints: live}), want{Blocked: ReasonOverlap, Due: ReasonCompromised}},
		{"rotate waits for the overlap", asks(Request{Kind: RequestRotate}), want{Blocked: ReasonOverlap}},
	})
}

func TestDecideUnadopted(t *testing.T) {
	never := func() In {
		in := idleIn()
		in.Record = Record{Name: "maps", ID: testID(), Epoch: 1, Owner: "ops", ClientID: clientID, Phase: PhaseIdle}
		for i := range in.View.Sinks {
			in.View.Sinks[i].Entry.Meta = nil
		}
		return in
	}
	empty := func(in *In) {
		for i := range in.View.Sinks {
			in.View.Sinks[i].Entry = Entry{}
		}
		in.View.App.Active, in.View.Proof = [3]bool{}, Proof{}
	}
	auto := func(in *In) { in.Policy.AutoAdopt = true }
	adopt := func(s Slot) func(in *In) { return asks(Request{Kind: RequestAdopt, Slot: s}) }
	occupied := func(in *In) { in.View.App.Active[Slot2] = true }
	marked := func(name string) func(in *In) {
		return func(in *In) {
			in.View.Sinks[0].Entry.Meta = &Meta{Format: 1, Item: testItem, Instance: name, AdoptedAt: t0(), Key: facts(liveKey(), 4, t0(), t0().Add(day))}
		}
	}
	look := want{Step: StepSurvey, Blocked: ReasonUnadopted}
	refuse := func(why Reason) want { return want{Step: StepRefuse, Blocked: why} }
	runDecide(t, never, []decideRow{
		{"observe only", func(*In) {}, look},
		{"not yet again", func(in *In) { in.Record.SurveyedAt = t0() }, want{Blocked: ReasonUnadopted}},
		{"backing off", backingOff, want{Blocked: ReasonBackoff}},
		{"sink down", sinkDown(1), want{Step: StepFail, Blocked: ReasonUnreachable}},
		{"adopt", adopt(NoSlot), want{Step: StepAdopt}},
		{"by itself", auto, want{Step: StepAdopt}},
		{"by itself in watch mode", with(auto, watching), look},
		{"by itself with a refused key", with(auto, refusedKey), look},
		{"adopt a refused key by hand", with(adopt(NoSlot), refusedKey), want{Step: StepAdopt}},
		{"adopt an empty one", with(adopt(NoSlot), empty), want{Step: StepAdopt}},
		{"an empty one by itself", with(auto, empty), want{Step: StepAdopt}},
		{"an empty one with an occupied slot", with(adopt(NoSlot), empty, occupied), refuse(ReasonOccupied)},
		{"an empty one with an occupied slot by itself", with(auto, empty, occupied), look},
		{"an empty one, slot taken", with(adopt(Slot2), empty, occupied), want{Step: StepAdopt, Slot: Slot2}},
		{"a running one with an occupied spare", with(adopt(NoSlot), occupied), want{Step: StepAdopt}},
		{"another client's key", with(adopt(NoSlot), shows(0, keyOf("anotherClientXYZ", Slot1, "o"), 0)), refuse(ReasonDrift)},
		{"a foreign value", with(adopt(NoSlot), shows(0, NewSecret("hello"), 0)), refuse(ReasonDrift)},
		{"another item's key", with(adopt(NoSlot), func(in *In) { in.View.Proof.Item = "other" }), refuse(ReasonDrift)},
		{"another item's facts", with(adopt(NoSlot), marked("here"), func(in *In) { in.View.Sinks[0].Entry.Meta.Item = "other" }), refuse(ReasonDrift)},
		{"sinks differ", with(adopt(NoSlot), shows(1, newKey(), 0)), refuse(ReasonDrift)},
		{"a deleted secret", with(adopt(NoSlot), vanish(0)), refuse(ReasonDrift)},
		{"the journal is lost", marked("here"), want{Step: StepRebuild}},
		{"the journal is lost, but a person adopts", with(marked("here"), adopt(NoSlot)), want{Step: StepAdopt}},
		{"another rotatord's", with(auto, marked("there")), look},
		{"another rotatord's, taken over by hand", with(adopt(NoSlot), marked("there")), want{Step: StepAdopt}},
	})
	in := never()
	in.Record.Request = &Request{Kind: RequestAdopt, By: "ann"}
	d := decided(t, in)
	if k := d.Key; k.Fingerprint != liveKey().Fingerprint() || k.Slot != Slot1 || k.Generation != 1 || !k.Expires.Equal(t0().Add(60*day)) {
		t.Errorf("adopts %+v", k)
	}
	if !errors.Is(decided(t, func() In { in := never(); sinkDown(0)(&in); return in }()).Err, errDown) {
		t.Error("the first sink's error is lost")
	}
}
