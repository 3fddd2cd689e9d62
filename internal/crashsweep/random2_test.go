package crashsweep

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

func (w *randomWorld) backUp(int) {
	path := filepath.Join(w.dir, "backup.db")
	_ = os.Remove(path)
	w.byHand(w.db.Backup(w.t.Context(), path))
	w.backup = true
}

// deleteJournal, after which nobody knows of an item that was to take over.
func (w *randomWorld) deleteJournal(int) {
	before := w.record()
	w.loseJournal()
	w.forgotten(before)
}

// forgotten excuses the keys of a replacement that only the journal knew of: what made
// the item has to remember it.
func (w *randomWorld) forgotten(before rotate.Record) {
	list := []rotate.ID{before.ID}
	if f := before.Former; f != nil {
		list = append(list, f.Record.ID)
	}
	if q := before.Request; q != nil && q.Heir != nil {
		list = append(list, q.Heir.ID)
	}
	for _, id := range list {
		if string(id.Item) != w.items[0] {
			w.lost[string(id.Item)] = true
		}
	}
}

func (w *randomWorld) restoreJournal(int) {
	if !w.backup {
		return
	}
	before := w.record()
	defer w.forgotten(before)
	_ = w.db.Close()
	w.db = nil
	for _, f := range []string{"j.db", "j.db-wal", "j.db-shm"} {
		_ = os.Remove(filepath.Join(w.dir, f))
	}
	b, err := os.ReadFile(filepath.Join(w.dir, "backup.db"))
	w.byHand(err)
	w.byHand(os.WriteFile(filepath.Join(w.dir, "j.db"), b, 0o600))
	w.boot("one")
}

// restoreSink goes back some versions. A revocation that is under way at that moment
// was right when it was sent: it takes place first.
func (w *randomWorld) restoreSink(n int) {
	s := w.sinks[n%2]
	w.emu.FlushLate()
	w.settleExcuses()
	version, err := strconv.Atoi(string(s.Served().Version))
	if err != nil {
		return // it has none
	}
	if version -= 1 + n/2%8; version > 0 {
		s.Restore(rotate.Version(strconv.Itoa(version)))
	}
}

// putRight: a person puts back what the journal says is served, where the sink shows
// no key of this credential.
func (w *randomWorld) putRight(s *rotatetest.MemSink) {
	if w.madeKey(s.Served().Key) {
		return
	}
	live := w.record().Live.Fingerprint
	for _, e := range slices.Backward(w.seen) {
		if live == "" || e.Key.Fingerprint() == live {
			s.Overwrite(e.Key, e.Meta)
			return
		}
	}
}

func (w *randomWorld) madeKey(key rotate.Secret) bool {
	for _, k := range w.emu.Keys() {
		if k.Secret == key.Reveal() && k.ItemID == w.item() {
			return true
		}
	}
	return false
}

func (w *randomWorld) regenerateByHand(n int) {
	_, err := w.emu.MintOutOfBand(w.item(), 1+n%2, w.emu.Now().Add(time.Duration(40+60*(n/2%3))*day))
	w.byHand(err)
	w.settleExcuses()
}

// editDate: the date of a key whose maker is unknown is all that is known of it, so
// a person who writes a wrong one gives that key away.
func (w *randomWorld) editDate(n int) {
	slot := rotate.Slot(1 + n%2)
	at := time.Time{}
	if d := []time.Duration{300 * day, 40 * day, -day, 0}[n/2%4]; d != 0 {
		at = w.emu.Now().Add(d)
	}
	kills := slices.ContainsFunc(w.emu.Switches(), func(s portaltest.Switch) bool {
		return s.Name == portaltest.SwitchDateUpdateOnLiveSlot && s.Value == "kills_key"
	})
	for _, k := range w.keysIn(slot) {
		if k.OutOfBand || kills {
			w.check.excused[k.Secret] = true
		}
	}
	w.byHand(w.emu.SetDateOutOfBand(w.item(), int(slot), at))
}

func (w *randomWorld) switchesBack() {
	for _, s := range w.emu.Switches() {
		if s.Name != portaltest.SwitchManner {
			w.byHand(w.emu.SetSwitch(s.Name, s.Default))
		}
	}
}

// moveClock moves the portal's clock. Keys that ended while it said that they had
// expired anyway were nobody's loss.
func (w *randomWorld) moveClock(by time.Duration) {
	for _, k := range w.emu.Keys() {
		if !k.Ended.IsZero() && !k.Expires.IsZero() && !k.Ended.Before(k.Expires) {
			w.check.excused[k.Secret] = true
		}
	}
	w.emu.MoveClock(by)
	w.moved += by
	for _, k := range w.emu.Keys() {
		if k.Minted.After(w.emu.Now()) {
			w.check.excused[k.Secret] = true // a portal whose clock went back refuses what it has not made yet
		}
	}
}

// command gives one, and excuses what its words give away: a compromised key, and
// the key in a slot that a person has regenerated or invalidated.
func (w *randomWorld) command(kind rotate.CommandKind, n int) {
	cmd := rotate.Command{Kind: kind, Text: "release week"}
	before := w.record()
	spare := before.Live.Slot.Other()
	switch kind {
	case rotate.CommandRegenerate, rotate.CommandInvalidate:
		cmd.Slot = spare
	case rotate.CommandAdopt:
		if n%3 == 0 {
			cmd.Slot = spare
		}
	case rotate.CommandCompromised:
		if n%2 == 0 && before.Live.Fingerprint != "" {
			cmd.Fingerprints = []rotate.Fingerprint{before.Live.Fingerprint}
		}
	case rotate.CommandHold:
		if n%2 == 0 {
			cmd.Until = time.Now().Add(20 * day)
		}
	case rotate.CommandReplace:
		cmd.Heir = &rotate.Heir{ID: w.heir(), Made: n%7 != 1, Keep: n%3 == 1, Compromised: n%5 == 1}
	case rotate.CommandResume, rotate.CommandRotate, rotate.CommandRollback, rotate.CommandConfirm, rotate.CommandCancel:
	}
	err := w.try(cmd)
	after := w.record()
	if err != nil {
		w.note("%s: %v", kind, err)
		// A process that died behind its journal write has accepted it all the same.
		if q := after.Request; q == nil || string(q.Kind) != string(kind) {
			return
		}
	}
	switch kind {
	case rotate.CommandCompromised:
		if after.Request == nil {
			return
		}
		for _, k := range w.emu.Keys() {
			for _, f := range after.Request.Fingerprints {
				if rotate.NewSecret(k.Secret).Fingerprint() == f {
					w.check.excused[k.Secret] = true
				}
			}
		}
	case rotate.CommandRegenerate, rotate.CommandInvalidate:
		for _, k := range w.keysIn(spare) {
			if !k.OutOfBand {
				w.check.excused[k.Secret] = true
			}
		}
	case rotate.CommandReplace:
		for _, k := range w.emu.Keys() {
			if cmd.Heir.Compromised && k.ItemID == string(before.ID.Item) && !k.OutOfBand {
				w.check.excused[k.Secret] = true
			}
		}
	case rotate.CommandAdopt, rotate.CommandHold, rotate.CommandResume, rotate.CommandRotate, rotate.CommandRollback, rotate.CommandConfirm,
		rotate.CommandCancel:
	}
	w.settleExcuses()
}

// finish undoes every disturbance and lets a person do what status tells them.
func (w *randomWorld) finish() {
	w.note("UNDONE")
	w.next, w.pending = nil, nil
	w.hook()
	w.moveClock(-w.moved)
	w.switchesBack()
	w.cred.Mode = rotate.ModeRotate
	h, g := w.asked()
	h.veto, g.busy = false, false
	w.emu.FlushLate()
	for _, s := range w.sinks {
		s.Settle()
	}
	w.settleExcuses()
	if !w.rests(200) {
		w.check.fail("no rest within 200 days: %s", w.state())
		return
	}
	w.check.end(1 << 20)
	generation, rested := w.record().Live.Generation, false
	for range 3 { // a date that a person puts right on the way moves the day that it is due
		w.drive(max(w.untilDue(), 0) + time.Hour)
		if rested = w.rests(60); !rested || w.record().Live.Generation > generation {
			break
		}
	}
	if !rested || w.record().Live.Generation <= generation {
		w.check.fail("no further rotation: generation %d, was %d: %s", w.record().Live.Generation, generation, w.state())
		return
	}
	w.check.end(1 << 20)
}

func (w *randomWorld) state() string {
	r := w.record()
	return string(r.Phase) + " due " + string(r.Due) + " blocked " + string(r.Blocked) + " drift " + string(r.Drift) + " (" + r.DriftDetail + ") error " + r.LastError
}

// rests drives up to so many days until nothing is under way, wrong or left over. A
// person looks once a day.
func (w *randomWorld) rests(days int) bool {
	for d := range days {
		w.look()
		rested := w.driveUntil(day, func(res rotate.AdvanceResult) bool { return w.idle(res) && w.well(res.Record) })
		if rested || w.over() {
			return rested
		}
		w.person(d)
	}
	return false
}

// well: agreed on, nothing stopped, and no key of ours unserved.
func (w *randomWorld) well(r rotate.Record) bool {
	if r.Drift != rotate.DriftNone || r.Quarantine != nil || r.Hold != nil || r.AdoptedAt.IsZero() || r.Blocked == rotate.ReasonOccupied || len(r.Refusals) > 0 || r.HookDue != nil || r.Former != nil {
		return false
	}
	for _, s := range w.sinks {
		key := s.Served().Key
		if valid, _ := w.emu.KeyValid(key.Reveal()); !valid || key.Fingerprint() != r.Live.Fingerprint {
			return false
		}
	}
	for _, k := range ours(w.world) {
		if k.Valid(w.emu.Now()) && w.check.servedBy(k.Secret) == "" && !w.lost[k.ItemID] {
			return false
		}
	}
	return true
}

// person does what status tells them on the dth day.
func (w *randomWorld) person(d int) {
	r := w.record()
	w.note("PERSON %s", w.state())
	if r.Hold != nil || r.Quarantine != nil {
		w.command(rotate.CommandResume, 0)
	}
	if r.Request != nil && d > 10 {
		w.command(rotate.CommandCancel, 0)
	}
	switch {
	case r.AdoptedAt.IsZero():
		for _, s := range w.sinks {
			w.putRight(s)
		}
		w.command(rotate.CommandAdopt, 1)
	case r.Blocked == rotate.ReasonOccupied && r.Former != nil && r.Due == "":
		for _, k := range w.emu.Keys() {
			if k.ItemID == string(r.Former.Record.ID.Item) && k.OutOfBand && k.Ended.IsZero() {
				w.byHand(w.emu.RevokeOutOfBand(k.ItemID, k.Slot))
			}
		}
	case r.Blocked == rotate.ReasonOccupied:
		w.command(rotate.CommandAdopt, 0)
	case d < 2:
		// What heals by itself does so within two days.
	case r.Drift == rotate.DriftSinksDiffer:
		// A later sink that lags is copied from the first one without a person.
		w.check.fail("a later sink still lags: %s", w.state())
	case r.Drift == rotate.DriftSinkEmpty || r.Drift == rotate.DriftSinkForeign || r.Drift == rotate.DriftSinkOtherItem:
		for _, s := range w.sinks {
			w.putRight(s)
		}
		if d%3 == 2 {
			w.settleExcuses()
			w.command(rotate.CommandAdopt, 1)
		}
	case r.Drift == rotate.DriftDates:
		for _, k := range w.keysIn(r.Live.Slot) {
			w.byHand(w.emu.SetDateOutOfBand(w.item(), k.Slot, k.Expires))
		}
	case d > 5 && r.Drift != rotate.DriftNone:
		w.command(rotate.CommandAdopt, 1)
	}
}
