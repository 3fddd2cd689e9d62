package crashsweep

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/journal"
	"rotatord/internal/rotate"
)

// inWorld runs f in a settled world in fake time and checks the invariants after it.
func inWorld(t *testing.T, f func(w *world)) {
	t.Helper()
	dir := scratch(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, nil, nil)
		defer w.close()
		settled(w)
		w.steps = nil
		f(w)
		w.report()
	})
}

func (w *world) report() {
	w.t.Helper()
	if len(w.check.problems) > 0 {
		w.t.Error(strings.Join(w.check.problems, "\n"))
	}
	if w.t.Failed() {
		w.t.Logf("last steps:\n%s", strings.Join(w.steps[max(len(w.steps)-40, 0):], "\n"))
	}
}

func (w *world) wantDrift(want rotate.Drift) {
	w.t.Helper()
	if r := w.record(); r.Drift != want {
		w.t.Errorf("got drift %q (%s), want %q", r.Drift, r.DriftDetail, want)
	}
}

func (w *world) wantMints(want int) {
	w.t.Helper()
	if got := len(ours(w)); got != want {
		w.t.Errorf("got %d mints in all, want %d", got, want)
	}
}

// wantRested: everything is as it should be: idle, agreed, working, nothing unserved.
func (w *world) wantRested() {
	w.t.Helper()
	if !w.run(30*day, w.idle) {
		w.t.Errorf("no rest: %+v", w.record())
	}
	w.run(8*day, nil)
	w.check.end(1 << 20)
	w.wantDrift(rotate.DriftNone)
}

func (w *world) look() { w.sess.Look() }

func TestForeignKeyInTheSinkIsDriftAndNothingIsDone(t *testing.T) {
	inWorld(t, func(w *world) {
		old := w.sinks[0].Served()
		w.sinks[0].Overwrite(rotate.NewSecret("somebody's own value"), old.Meta)
		w.look()
		w.run(80*day, nil)
		w.wantDrift(rotate.DriftSinkForeign)
		w.wantMints(1)
		// Putting the right key back heals it, and the rotation that is due by then goes ahead.
		w.sinks[0].Overwrite(old.Key, old.Meta)
		w.wantRested()
		w.wantMints(2)
	})
}

func TestAnotherCredentialsKeyInTheSink(t *testing.T) {
	inWorld(t, func(w *world) {
		w.sinks[0].Overwrite(rotate.NewSecret(w.other.Keys[0]), nil)
		w.look()
		w.run(2*day, nil)
		w.wantDrift(rotate.DriftSinkOtherItem)
		w.wantMints(1)
	})
}

func TestForeignFieldsAreKept(t *testing.T) {
	inWorld(t, func(w *world) {
		w.sinks[0].SetForeign("owner", "maps")
		pause(w.untilDue())
		w.wantRested()
		if got := w.sinks[0].Foreign()["owner"]; got != "maps" {
			w.t.Errorf("got foreign field %q, want maps", got)
		}
	})
}

func TestSinkRestoredToTheRetiredKey(t *testing.T) {
	for _, both := range []bool{false, true} {
		t.Run(fmt.Sprintf("both %v", both), func(t *testing.T) {
			inWorld(t, func(w *world) {
				before := [2]rotate.Version{w.sinks[0].Served().Version, w.sinks[1].Served().Version}
				w.excuseSink(0) // it will be dead when somebody makes the sink serve it again
				pause(w.untilDue())
				w.wantRested()
				mints := len(ours(w))
				w.sinks[0].Restore(before[0])
				if both {
					w.sinks[1].Restore(before[1])
				}
				w.look()
				w.wantRested()
				want := 0 // the other sink still has the newer key
				if both {
					want = 1
				}
				if got := len(ours(w)) - mints; got != want {
					w.t.Errorf("got %d further mints, want %d", got, want)
				}
			})
		})
	}
}

func TestSinkRestoredInTheOverlapKeepsBothKeys(t *testing.T) {
	inWorld(t, func(w *world) {
		before := [2]rotate.Version{w.sinks[0].Served().Version, w.sinks[1].Served().Version}
		rotateToOverlap(w)
		mints := len(ours(w))
		w.sinks[0].Restore(before[0])
		w.sinks[1].Restore(before[1])
		w.look()
		w.wantRested()
		if got := len(ours(w)); got != mints {
			w.t.Errorf("got %d mints for a restore in the overlap, want 0", got-mints)
		}
	})
}

// excuseSink forgives that a sink serves a dead key by somebody's doing.
func (w *world) excuseSink(i int) { w.check.excused[w.sinks[i].Served().Key.Reveal()] = true }

func TestSecretThatVanishedIsWrittenBack(t *testing.T) {
	for _, how := range []string{"deleted", "metadata deleted", "metadata deleted everywhere"} {
		t.Run(how, func(t *testing.T) {
			inWorld(t, func(w *world) {
				switch how {
				case "deleted":
					w.sinks[0].Delete()
				case "metadata deleted":
					w.sinks[0].Vanish()
				default:
					w.sinks[0].Vanish()
					w.sinks[1].Vanish()
					w.look()
					w.run(10*day, nil)
					w.wantDrift(rotate.DriftSinkEmpty)
					w.wantMints(1)
					return
				}
				w.look()
				w.wantRested()
				w.wantMints(1)
			})
		})
	}
}

func TestJournalDeleted(t *testing.T) {
	points := map[string]func(w *world){
		"idle":    func(*world) {},
		"overlap": rotateToOverlap,
		"claimed": func(w *world) {
			w.order(rotate.Command{Kind: rotate.CommandRotate})
			w.run(day, func(r rotate.AdvanceResult) bool { return r.Record.Phase == rotate.PhaseMinting })
		},
		"minted": func(w *world) {
			w.order(rotate.Command{Kind: rotate.CommandRotate})
			w.run(day, func(r rotate.AdvanceResult) bool { return r.Record.Phase == rotate.PhaseProving })
		},
		// Still due after the loss: the slot with the lost key may be minted into again
		// only after an overlap.
		"minted when due": func(w *world) {
			pause(w.untilDue())
			w.run(day, func(r rotate.AdvanceResult) bool { return r.Record.Phase == rotate.PhaseProving })
		},
	}
	for name, reach := range points {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				reach(w)
				w.loseJournal()
				deleted := time.Now()
				w.run(w.cred.Policy.Overlap-time.Hour, func(r rotate.AdvanceResult) bool {
					if r.Effect == rotate.EffectRevoke || r.Effect == rotate.EffectMint {
						w.t.Errorf("%s %s after the journal was rebuilt", r.Effect, time.Since(deleted))
					}
					return false
				})
				if w.record().AdoptedAt.IsZero() {
					w.t.Error("the adoption was lost with the journal")
				}
				pause(max(w.untilDue(), 0))
				w.wantRested()
			})
		})
	}
}

// loseJournal deletes the journal's files; the instance id lives beside them.
func (w *world) loseJournal() {
	_ = w.db.Close()
	w.db = nil
	for _, f := range []string{"j.db", "j.db-wal", "j.db-shm"} {
		_ = os.Remove(filepath.Join(w.dir, f))
	}
	w.boot("one")
}

func TestHoldOutlivesTheJournal(t *testing.T) {
	inWorld(t, func(w *world) {
		w.order(rotate.Command{Kind: rotate.CommandHold, Text: "release week"})
		w.run(day, nil)
		w.loseJournal()
		w.run(day, nil)
		if h := w.record().Hold; h == nil || h.Reason != "release week" {
			w.t.Errorf("got hold %+v after the journal was lost", h)
		}
	})
}

func TestJournalRestoredFromABackup(t *testing.T) {
	inWorld(t, func(w *world) {
		backup := filepath.Join(w.dir, "backup.db")
		_ = os.Remove(backup)
		if err := w.db.Backup(w.t.Context(), backup); err != nil {
			w.t.Fatal(err)
		}
		pause(w.untilDue())
		w.wantRested()
		_ = w.db.Close()
		w.db = nil
		for _, f := range []string{"j.db", "j.db-wal", "j.db-shm"} {
			_ = os.Remove(filepath.Join(w.dir, f))
		}
		if err := os.Rename(backup, filepath.Join(w.dir, "j.db")); err != nil {
			w.t.Fatal(err)
		}
		w.boot("one")
		mints := len(ours(w))
		w.wantRested()
		if got := len(ours(w)); got != mints {
			w.t.Errorf("got %d mints after a restored journal, want 0", got-mints)
		}
		if g := w.record().Live.Generation; g != w.sinks[0].Served().Meta.Key.Generation {
			w.t.Errorf("journal has generation %d, the sink %d", g, w.sinks[0].Served().Meta.Key.Generation)
		}
	})
}

// second is another rotatord with its own journal on the same credential.
func (w *world) second() (advance func() rotate.AdvanceResult, stop func()) {
	w.t.Helper()
	db, err := journal.Open(context.Background(), journal.Options{Path: filepath.Join(w.t.TempDir(), "second.db")})
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := rotate.New(rotate.Options{Journal: db, Instance: "two"})
	if err != nil {
		w.t.Fatal(err)
	}
	cred, sess := *w.cred, &rotate.Session{}
	cred.Policy.AutoAdopt = true
	return func() rotate.AdvanceResult { return e.Advance(context.Background(), &cred, sess) }, func() { _ = db.Close() }
}

func TestSecondDaemonOnTheSameCredentialStops(t *testing.T) {
	for _, reach := range []string{"idle", "overlap", "proving"} {
		t.Run(reach, func(t *testing.T) {
			inWorld(t, func(w *world) {
				switch reach {
				case "overlap":
					rotateToOverlap(w)
				case "proving":
					w.order(rotate.Command{Kind: rotate.CommandRotate})
					w.run(day, func(r rotate.AdvanceResult) bool { return r.Record.Phase == rotate.PhaseProving })
				}
				two, stop := w.second()
				defer stop()
				for range 60 {
					if res := two(); res.Effect != "" && res.Effect != rotate.EffectSurvey {
						w.t.Errorf("the second daemon did %s: %s", res.Effect, res.Detail)
					}
					w.check.now("second daemon")
					w.run(2*time.Hour, nil)
				}
				w.wantRested()
			})
		})
	}
}

func TestTakenOverByAPerson(t *testing.T) {
	inWorld(t, func(w *world) {
		w.boot("three")
		w.loseJournal()
		w.boot("three")
		w.run(2*day, nil)
		if !w.record().AdoptedAt.IsZero() {
			w.t.Error("another instance's credential was adopted without a word")
		}
		w.order(rotate.Command{Kind: rotate.CommandAdopt})
		w.run(day, nil)
		pause(max(w.untilDue(), 0))
		w.wantRested()
		w.wantMints(2)
	})
}

func TestPausedDaemonsClaimIsNotUsed(t *testing.T) {
	for _, phase := range []rotate.Phase{rotate.PhaseDating, rotate.PhaseMinting, rotate.PhaseProving, rotate.PhasePublishing, rotate.PhaseRetiring} {
		t.Run(string(phase), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.order(rotate.Command{Kind: rotate.CommandRotate})
				w.run(5*day, func(r rotate.AdvanceResult) bool { return r.Record.Phase == phase })
				mintsBefore := len(ours(w))
				pause(6 * time.Hour)
				res := w.advance()
				if res.Effect == rotate.EffectMint || res.Effect == rotate.EffectDate {
					w.t.Errorf("after a pause of 6 h in %s the old claim was used for %s", phase, res.Effect)
				}
				w.wantRested()
				if got := len(ours(w)); got > max(mintsBefore, 2) {
					w.t.Errorf("got %d mints, want %d", got, max(mintsBefore, 2))
				}
			})
		})
	}
}

func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{-5 * time.Hour, 5 * time.Hour, -40 * day, 10 * time.Minute} {
		t.Run(jump.String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				rotateToOverlap(w)
				// The portal's clock against ours is what a jump of ours looks like.
				w.emu.MoveClock(jump)
				w.run(6*day, func(r rotate.AdvanceResult) bool {
					if r.Effect == rotate.EffectRevoke {
						w.t.Errorf("revoked with a clock off by %s", jump)
					}
					return false
				})
				w.emu.MoveClock(-jump)
				w.wantRested()
			})
		})
	}
}

func TestSpareSlotUsedBySomebodyUnknown(t *testing.T) {
	inWorld(t, func(w *world) {
		spare := w.record().Live.Slot.Other()
		key, err := w.emu.MintOutOfBand(string(w.cred.ID.Item), int(spare), time.Now().Add(300*day))
		if err != nil {
			w.t.Fatal(err)
		}
		pause(w.untilDue())
		w.run(10*day, nil)
		w.wantMints(1)
		if r := w.record(); r.Blocked != rotate.ReasonOccupied {
			w.t.Errorf("got blocked %q, want %q", r.Blocked, rotate.ReasonOccupied)
		}
		// A person's word takes the slot.
		w.check.excused[key] = true
		w.order(rotate.Command{Kind: rotate.CommandAdopt, Slot: spare})
		w.wantRested()
		w.wantMints(2)
	})
}
