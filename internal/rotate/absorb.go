package rotate

import (
	"slices"
	"strings"
	"time"
)

// absorb folds what was just seen into the record: flags, dates, refusals, deaths,
// drift. It is pure; the events tell what changed.
func absorb(in In) (Record, []Event) {
	a := absorber{in: &in, r: in.Record}
	a.r.Slots = in.Record.Slots
	a.app()
	a.item()
	a.orphans()
	if in.View.SkewKnown {
		a.r.Offset = in.View.Skew
	}
	if !a.r.AdoptedAt.IsZero() {
		a.proof()
		a.dates()
		a.old()
		a.restored()
		a.former()
		a.in.Record = a.r
		a.drift()
	}
	return a.r, a.events
}

type absorber struct {
	in     *In
	r      Record
	events []Event
}

func (a *absorber) event(k EventKind, e Event) {
	e.Kind = k
	a.events = append(a.events, e)
}

func (a *absorber) app() {
	v := &a.in.View
	if v.Have&NeedApp == 0 || v.err(NeedApp) != nil {
		return
	}
	if a.r.ClientID == "" {
		a.r.ClientID = v.App.ClientID
	}
	a.r.Referrer = first(v.App.Referrers)
	for _, s := range Slots() {
		st := &a.r.Slots[s]
		st.Active, st.SeenAt = v.App.Active[s], a.in.Now
		if !st.Active && st.Use != UseEmpty && a.r.Live.Slot != s && a.r.Previous.Slot != s && !a.mintedHere(s) {
			*st = SlotState{Use: UseEmpty, Since: a.in.Now, Expires: st.Expires, SeenAt: st.SeenAt, Asked: st.Asked, Taken: st.Taken, Intent: st.Intent}
		}
	}
}

// orphans reports valid keys of ours that no sink serves, once (rule 15).
func (a *absorber) orphans() {
	if a.r.Phase.InCutOver() {
		return
	}
	for _, s := range Slots() {
		if st := &a.r.Slots[s]; st.Use == UseOwn && st.Active && !st.Told {
			st.Told = true
			a.event(EventOrphan, Event{Slot: s, Fingerprint: st.Key.Fingerprint, Detail: "slot " + s.String() + " holds a key of ours that no sink serves"})
		}
	}
}

// mintedHere: the rotation under way has minted into s, whatever the flag says.
func (a *absorber) mintedHere(s Slot) bool {
	return a.r.Rotation != nil && a.r.Rotation.Target == s && a.r.Rotation.Mints > 0 && a.r.Phase.InCutOver()
}

func (a *absorber) item() {
	v := &a.in.View
	if v.Have&NeedItem == 0 || v.err(NeedItem) != nil {
		return
	}
	a.r.Owner = v.Item.Owner
	for _, s := range Slots() {
		a.r.Slots[s].Expires = v.Item.Expires[s]
	}
}

// proof of the served key: its dates, or one more refusal (rule 8).
func (a *absorber) proof() {
	v, now := &a.in.View, a.in.Now
	if v.Have&(NeedProof|NeedSinks) != NeedProof|NeedSinks || v.err(NeedProof) != nil || v.err(NeedSinks) != nil {
		return
	}
	if fp := v.first().Key.Fingerprint(); fp == "" || fp != a.r.Live.Fingerprint {
		a.goneEverywhere()
		return
	}
	if v.Proof.Valid {
		a.valid()
		return
	}
	if v.ProofControl != nil || !a.r.DeadAt.IsZero() {
		return
	}
	flagFalse := v.Have&NeedApp != 0 && v.err(NeedApp) == nil && !v.App.Active[a.r.Live.Slot]
	pastDate := a.livePastDate()
	a.r.Refusals = addRefusal(a.r.Refusals, now)
	if flagFalse || pastDate || enoughRefusals(a.r.Refusals, a.in.Policy) {
		dead := Event{Generation: a.r.Live.Generation, Detail: deathSentence(flagFalse, pastDate)}
		if a.r.Live.Generation < a.r.TopGeneration {
			dead.Actor = "rotatord" // a restored sink serves a key that we replaced ourselves
		}
		a.died(dead)
		if a.r.Phase == PhaseOverlap && a.r.Rotation != nil && !a.r.Rotation.Republish {
			a.r.ProofFailedAt = now // its proof did not hold
		}
	}
}

// dates compares what four sources say of the served key's expiry: the item, the
// probe, the list of keys, and the flag. The first two decide (rule 11, and drift);
// that they differ from the others is told.
func (a *absorber) dates() {
	v, live := &a.in.View, a.r.Live.Slot
	if v.Have&(NeedProof|NeedItem|NeedApp) != NeedProof|NeedItem|NeedApp || v.err(NeedProof) != nil || v.err(NeedItem) != nil || v.err(NeedApp) != nil || !live.Valid() {
		return
	}
	for _, s := range Slots() {
		if l := a.in.Mem.Listed[s]; l.Present {
			a.r.Slots[s].Listed = l.Expires
		}
	}
	if !v.Proof.Valid {
		return
	}
	differ := datesDiffer(a.r.Slots[live].Listed, v.Item.Expires[live], v.Proof.Expires, v.App.Active[live])
	if differ != "" && differ != a.r.DatesDiffer {
		a.event(EventDatesDiffer, Event{Slot: live, Fingerprint: a.r.Live.Fingerprint, Detail: differ})
	}
	a.r.DatesDiffer = differ
}

// datesDiffer is the sentence of a disagreement. A source that says nothing agrees.
func datesDiffer(listed, item, probe time.Time, flag bool) string {
	all := []struct {
		name string
		at   time.Time
	}{{"the list of keys", listed}, {"the item", item}, {"the key itself", probe}}
	var first, last time.Time
	var said []string
	for _, one := range all {
		if one.at.IsZero() {
			continue
		}
		said = append(said, one.name+" says "+stamp(one.at))
		first, last = earlier(one.at, first), later(one.at, last)
	}
	if !flag {
		said = append(said, "its flag says that there is no key")
	}
	if flag && last.Sub(first) <= dateTolerance {
		return ""
	}
	return strings.Join(said, ", ")
}

// addRefusal keeps the first and the latest ones.
func addRefusal(list []time.Time, now time.Time) []time.Time {
	list = append(slices.Clone(list), now)
	if n := len(list); n > 32 {
		list = append(list[:1:1], list[n-16:]...)
	}
	return list
}

// enoughRefusals make a death: so many, over such a time (rule 8).
func enoughRefusals(list []time.Time, p Policy) bool {
	n := len(list)
	return n > 0 && n >= p.DeadProbes && list[n-1].Sub(list[0]) >= p.DeadAfter
}

// restored counts refusals of the live key where the first sink does not serve it, and
// it is to be written back there.
func (a *absorber) restored() {
	v, rot := &a.in.View, a.r.Rotation
	if rot == nil || !rot.Republish || rot.Committed || rot.New.Fingerprint != a.r.Live.Fingerprint || !a.r.DeadAt.IsZero() ||
		v.Have&NeedOld == 0 || !v.OldHad || v.Old.Valid || v.OldControl != nil {
		return
	}
	a.r.Refusals = addRefusal(a.r.Refusals, a.in.Now)
	if enoughRefusals(a.r.Refusals, a.in.Policy) {
		a.died(Event{Detail: deathSentence(false, false)})
	}
}

// old counts refusals of the previous key while the portal calls its slot active. One that was
// replaced as dead, and works after all, gets the overlap that it was denied.
func (a *absorber) old() {
	v := &a.in.View
	if v.Have&(NeedOld|NeedApp) != NeedOld|NeedApp || !v.OldHad || a.r.Previous.Fingerprint == "" || oldFingerprint(&a.r) != a.r.Previous.Fingerprint {
		return
	}
	active := v.App.Active[a.r.Previous.Slot]
	if rot := a.r.Rotation; v.Old.Valid && active && rot != nil && rot.DeadOld && !a.in.rushed() {
		changed := *rot
		changed.DeadOld = false
		a.r.Rotation, a.r.MarkDue = &changed, true
		a.r.RetireAt = earlier(a.in.latest().Add(a.in.Policy.Overlap), a.r.Previous.LatestExpiry)
		a.event(EventKeyRevived, Event{Slot: a.r.Previous.Slot, Fingerprint: a.r.Previous.Fingerprint, Detail: "it was replaced as dead, and works: it has its overlap"})
	}
	if v.Old.Valid || !active {
		a.r.OldRefusals = nil
		return
	}
	a.r.OldRefusals = addRefusal(a.r.OldRefusals, a.in.Now)
}

// goneEverywhere: the secret vanished for good, or went back to a key that the portal
// refuses, and the live key's flag is false: there is nothing to probe and nothing that
// works.
func (a *absorber) goneEverywhere() {
	v := &a.in.View
	pastDate := a.livePastDate()
	if a.r.Live.Fingerprint == "" || !a.r.DeadAt.IsZero() || v.Have&NeedApp == 0 || v.err(NeedApp) != nil || v.App.Active[a.r.Live.Slot] && !pastDate {
		return
	}
	vanished := a.r.Drift == DriftSinkEmpty && a.in.show(v.first()) == showsVanished
	behind := a.r.Drift == DriftSinkBehind && a.in.show(v.first()) == showsPrevious && !v.Proof.Valid && v.ProofControl == nil
	if !vanished && !behind {
		return
	}
	a.died(Event{Detail: deathSentence(!pastDate, pastDate)})
}

// former: a sink that serves the former item's key again puts it into use for another
// overlap (rule 9).
func (a *absorber) former() {
	f := a.r.Former
	if f == nil || f.PromotedAt.IsZero() || f.Rushed || a.in.View.Have&NeedSinks == 0 {
		return
	}
	for _, s := range a.in.View.Sinks {
		if s.Err == nil && a.in.formerKey(s.Entry) {
			again := *f
			again.RetireAt = later(f.RetireAt, a.in.latest().Add(a.in.Policy.Overlap))
			a.r.Former = &again
			return
		}
	}
}

// livePastDate tells whether every known expiry of the live key is past.
func (a *absorber) livePastDate() bool {
	at := a.r.Live.LatestExpiry
	return !at.IsZero() && a.in.Portal.After(at)
}

// died notes that the live key is dead; e says how that is known.
func (a *absorber) died(e Event) {
	a.r.DeadAt = a.in.Now
	e.Slot, e.Fingerprint = a.r.Live.Slot, a.r.Live.Fingerprint
	a.event(EventKeyDead, e)
}

func deathSentence(flagFalse, pastDate bool) string {
	switch {
	case flagFalse:
		return "the portal says that its slot holds no active key"
	case pastDate:
		return "it has expired"
	}
	return "the portal refused it again and again while it answers other calls"
}

func (a *absorber) valid() {
	v := &a.in.View
	a.r.ProbedAt = a.in.Now
	a.r.Refusals = nil
	if !a.r.DeadAt.IsZero() {
		a.r.DeadAt = time.Time{}
		a.event(EventKeyRevived, Event{Slot: a.r.Live.Slot, Fingerprint: a.r.Live.Fingerprint})
	}
	k := a.r.Live
	if v.Have&NeedItem != 0 && v.err(NeedItem) == nil {
		k.Expires, k.LatestExpiry = time.Time{}, time.Time{}
		k = k.seen(v.Item.Expires[k.Slot])
		if !a.r.Live.Expires.IsZero() && k.Expires.IsZero() && v.Proof.Expires.IsZero() {
			k.Expires, k.LatestExpiry = a.r.Live.Expires, a.r.Live.LatestExpiry
		}
	}
	k = k.seen(v.Proof.Expires)
	a.r.Live = k
	a.r.Slots[k.Slot].Key = k
}

// drift is looked for whenever sinks and the served key were seen, outside of
// publishing, where sinks differ by intent.
func (a *absorber) drift() {
	v := &a.in.View
	if CauseOf(v.err(NeedApp)) == CauseNotFound || CauseOf(v.err(NeedItem)) == CauseNotFound {
		a.setDrift(DriftItemGone, "the portal does not show the item to us any more")
		return
	}
	if v.Have&NeedSinks == 0 {
		return
	}
	if a.r.Phase == PhasePublishing {
		a.committedDrift()
		return
	}
	if err := v.err(NeedSinks); err != nil {
		if CauseOf(err) == CauseMalformed {
			a.setDrift(DriftMalformed, err.Error())
		}
		return
	}
	if a.in.show(v.first()) == showsNew || v.Have&NeedProof == 0 || v.err(NeedProof) != nil {
		return
	}
	d, why := a.in.agreement()
	if d == DriftNone && a.r.Drift == DriftDates && v.Have&NeedItem == 0 {
		return
	}
	a.setDrift(d, why)
}

// committedDrift: while the later sinks are written they may lag, and no more.
func (a *absorber) committedDrift() {
	if !a.r.Rotation.Committed || a.in.View.err(NeedSinks) != nil {
		return
	}
	for i, s := range a.in.View.Sinks {
		sh := a.in.show(s.Entry)
		if s.Err != nil || sh == showsLive || i > 0 && a.in.lags(s.Entry) {
			continue
		}
		a.setDrift(driftOf(sh), "sink "+s.Name+" shows "+orNothing(s.Entry.Key.Fingerprint())+" ("+string(sh)+")")
		return
	}
	a.setDrift(DriftNone, "")
}

func (a *absorber) setDrift(d Drift, why string) {
	if d == a.r.Drift {
		a.r.DriftDetail = why
		return
	}
	if d == DriftNone {
		a.event(EventDriftCleared, Event{Drift: a.r.Drift})
		a.r.Drift, a.r.DriftSince, a.r.DriftDetail = DriftNone, time.Time{}, ""
		return
	}
	a.r.Drift, a.r.DriftSince, a.r.DriftDetail = d, a.in.Now, why
	a.event(EventDrift, Event{Drift: d, Detail: why})
}
