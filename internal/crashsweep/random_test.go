package crashsweep

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

// deed is one thing that time, a person or a fault does. Its numbers are read by
// the deed's kind; every combination means something, so that shrinking is free.
type deed struct {
	What string
	N    int           // a slot, a sink, a version, a value: by kind
	For  time.Duration // how long the driver runs after it
}

func (d deed) String() string { return fmt.Sprintf("{%q, %d, %s}", d.What, d.N, d.For) }

// randomWorld is a world in which anything happens.
type randomWorld struct {
	*world
	pending []pendingFault
	moved   time.Duration // of the portal's clock
	backup  bool          // a journal backup is there
	// seen is every entry that a sink ever served: a person can put one back.
	seen []rotate.Entry
}

// pendingFault strikes the call after skip more of those that it can break.
type pendingFault struct {
	kind faultKind
	skip int
}

// deeds maps each kind to what it does.
func deeds() map[string]func(w *randomWorld, n int) {
	m := map[string]func(w *randomWorld, n int){
		"wait":             func(*randomWorld, int) {},
		"look":             func(w *randomWorld, _ int) { w.look() },
		"restart":          func(w *randomWorld, _ int) { w.boot("one") },
		"journal deleted":  (*randomWorld).deleteJournal,
		"journal backup":   (*randomWorld).backUp,
		"journal restored": (*randomWorld).restoreJournal,
		"sink restored":    (*randomWorld).restoreSink,
		"sink deleted":     func(w *randomWorld, n int) { w.sinks[n%2].Delete() },
		"sink vanished":    func(w *randomWorld, n int) { w.sinks[n%2].Vanish() },
		"sink overwritten": func(w *randomWorld, n int) {
			s := w.sinks[n%2]
			s.Overwrite(rotate.NewSecret("somebody's own value"), s.Served().Meta)
		},
		"sink put right": func(w *randomWorld, n int) { w.putRight(w.sinks[n%2]) },
		"sink down": func(w *randomWorld, n int) {
			w.sinks[n%2].SetFaults(func(rotatetest.SinkOp) rotatetest.SinkFault {
				return rotatetest.SinkFault{Kind: rotatetest.SinkFailBefore}
			})
		},
		"sinks up":           func(w *randomWorld, _ int) { w.hook() },
		"person revokes":     func(w *randomWorld, n int) { w.byHand(w.emu.RevokeOutOfBand(w.item(), 1+n%2)) },
		"person regenerates": (*randomWorld).regenerateByHand,
		"person edits date":  (*randomWorld).editDate,
		"person edits rights": func(w *randomWorld, _ int) {
			w.byHand(w.emu.EditAppOutOfBand(w.item(), nil, []string{"premium:user:basemaps"}))
		},
		"switch": func(w *randomWorld, n int) {
			all := settings()
			s := all[n%len(all)]
			w.note("switch %s=%s", s.name, s.value)
			w.byHand(w.emu.SetSwitch(s.name, s.value))
		},
		"switches back": func(w *randomWorld, _ int) { w.switchesBack() },
		"clock": func(w *randomWorld, n int) {
			w.moveClock([]time.Duration{10 * time.Minute, 5 * time.Hour, -5 * time.Hour, 2 * day}[n%4])
		},
		"hooks": func(w *randomWorld, n int) {
			h, g := w.asked()
			h.veto, g.busy = n%4 == 1, n%4 == 2
		},
		"clock right": func(w *randomWorld, _ int) { w.moveClock(-w.moved) },
		"watch":       func(w *randomWorld, _ int) { w.cred.Mode = rotate.ModeWatch },
		"watch off":   func(w *randomWorld, _ int) { w.cred.Mode = rotate.ModeRotate },
		"until due":   func(w *randomWorld, _ int) { w.drive(max(w.untilDue(), 0)) },
	}
	for _, k := range commandKinds() {
		m[string(k)] = func(w *randomWorld, n int) { w.command(k, n) }
	}
	for _, k := range []faultKind{failBefore, failAfter, loseReply, lateOne, lateFour, lateTime, dieBefore, dieAfter, stale, tooMany, lie} {
		m["fault "+string(k)] = func(w *randomWorld, n int) { w.pending = append(w.pending, pendingFault{k, n % 12}) }
	}
	return m
}

func commandKinds() []rotate.CommandKind {
	return []rotate.CommandKind{rotate.CommandRotate, rotate.CommandCompromised, rotate.CommandRollback, rotate.CommandHold, rotate.CommandResume,
		rotate.CommandRegenerate, rotate.CommandInvalidate, rotate.CommandAdopt, rotate.CommandConfirm, rotate.CommandCancel,
		rotate.CommandReplace}
}

// anyDeeds draws a short life. Waits are of every size that a phase has.
func anyDeeds(rt *rapid.T) []deed {
	var kinds []string
	for k := range deeds() {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	kinds = append([]string{"wait"}, append(kinds, "rotate", "rotate", "until due", "until due")...)
	times := []time.Duration{0, 0, time.Second, time.Minute, 5 * time.Minute, time.Hour, day, 4 * day, 10 * day, 35 * day}
	one := rapid.Custom(func(rt *rapid.T) deed {
		return deed{rapid.SampledFrom(kinds).Draw(rt, "what"), rapid.IntRange(0, 63).Draw(rt, "n"), rapid.SampledFrom(times).Draw(rt, "for")}
	})
	return rapid.SliceOfN(one, 1, 14).Draw(rt, "deeds")
}

// TestRandomLife drives random deeds of people, time and faults against the real
// engine. After each the invariants hold; when all is undone, it comes to rest and
// rotates once more. ROTATORD_RANDOM=N runs N lives from a new seed; without it 30
// lives of a fixed one are run. The seed is always printed, and with a failure the
// shrunk life too, each as a command to paste. ROTATORD_LIFE plays that one life.
func TestRandomLife(t *testing.T) {
	if text := os.Getenv("ROTATORD_LIFE"); text != "" {
		life, err := parseLife(text)
		if err != nil {
			t.Fatal(err)
		}
		if problems, steps := live(t, scratch(t), life); len(problems) > 0 {
			t.Fatal(told(life, problems, steps))
		}
		return
	}
	checks, seed := os.Getenv("ROTATORD_RANDOM"), fmt.Sprint(1+rand.Uint64N(math.MaxInt64))
	if checks == "" {
		checks, seed = "30", "1"
	}
	for name, value := range map[string]string{"rapid.checks": checks, "rapid.seed": seed} {
		f := flag.Lookup(name)
		before := f.Value.String()
		if before != f.DefValue {
			continue // asked for on the command line
		}
		if err := f.Value.Set(value); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Value.Set(before) })
	}
	t.Logf("seed %[1]v; the same lives again: go test -count=1 -run 'TestRandomLife$' ./internal/crashsweep -rapid.seed=%[1]v -rapid.checks=%[2]v",
		flag.Lookup("rapid.seed").Value, flag.Lookup("rapid.checks").Value)
	dir := scratch(t)
	rapid.Check(t, func(rt *rapid.T) {
		life := anyDeeds(rt)
		if problems, steps := live(t, dir, life); len(problems) > 0 {
			rt.Fatal(told(life, problems, steps))
		}
	})
}

// Lives that once failed, one a line; add what TestRandomLife finds.
func TestLivesThatOnceFailed(t *testing.T) {
	b, err := os.ReadFile("testdata/lives.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		life, err := parseLife(line)
		if err != nil {
			t.Fatal(err)
		}
		if problems, steps := live(t, scratch(t), life); len(problems) > 0 {
			t.Error(told(life, problems, steps))
		}
	}
}

// told is what a failure says: what was wrong, how to see it again, and what went before.
func told(life []deed, problems, steps []string) string {
	return fmt.Sprintf("%s\nthis life again: ROTATORD_LIFE='%s' go test -count=1 -run 'TestRandomLife$' ./internal/crashsweep\nsteps:\n%s",
		strings.Join(problems, "\n"), lifeText(life), strings.Join(steps[max(len(steps)-80, 0):], "\n"))
}

// lifeText is a life in one line; parseLife reads it.
func lifeText(life []deed) string {
	parts := make([]string, len(life))
	for i, d := range life {
		parts[i] = fmt.Sprintf("%s/%d/%s", d.What, d.N, d.For)
	}
	return strings.Join(parts, ", ")
}

func parseLife(text string) (life []deed, err error) {
	known := deeds()
	for part := range strings.SplitSeq(text, ", ") {
		fields := strings.Split(part, "/")
		if len(fields) != 3 || known[fields[0]] == nil {
			return nil, fmt.Errorf("ROTATORD_LIFE: %q is no deed, write WHAT/NUMBER/DURATION", part)
		}
		d := deed{What: fields[0]}
		if d.N, err = strconv.Atoi(fields[1]); err != nil {
			return nil, fmt.Errorf("ROTATORD_LIFE: %q: %w", part, err)
		}
		if d.For, err = time.ParseDuration(fields[2]); err != nil {
			return nil, fmt.Errorf("ROTATORD_LIFE: %q: %w", part, err)
		}
		life = append(life, d)
	}
	return life, nil
}

// What a failure prints is the life that failed.
func TestLifeText(t *testing.T) {
	var every []deed
	for what := range deeds() {
		every = append(every, deed{what, len(every) % 64, time.Duration(len(every)) * 90 * time.Second})
	}
	got, err := parseLife(lifeText(every))
	if err != nil || !slices.Equal(got, every) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseLife("wait/1"); err == nil {
		t.Error("half a deed is taken")
	}
}

func (w *randomWorld) over() bool { return len(w.check.problems) > 0 }

// live plays one life in fake time.
func live(t *testing.T, dir string, life []deed) (problems, steps []string) {
	t.Helper()
	_ = os.Remove(filepath.Join(dir, "backup.db"))
	synctest.Test(t, func(t *testing.T) {
		w := &randomWorld{world: newWorld(t, dir, nil, nil)}
		defer w.close()
		settled(w.world)
		w.steps = nil
		w.next = w.strikePending
		all := deeds()
		for _, d := range life {
			w.note("DEED %s", d)
			w.settleExcuses()
			all[d.What](w, d.N)
			w.settleExcuses()
			w.drive(d.For)
			if w.over() {
				break
			}
		}
		if !w.over() {
			w.finish()
		}
		problems, steps = w.check.problems, w.steps
	})
	return problems, steps
}

// drive lets the driver run for d, to the second.
func (w *randomWorld) drive(d time.Duration) {
	w.driveUntil(d, func(rotate.AdvanceResult) bool { return false })
}

// driveUntil is run, but never longer than d; the invariants are looked at after it
// even where d is none.
func (w *randomWorld) driveUntil(d time.Duration, stop func(rotate.AdvanceResult) bool) bool {
	end := time.Now().Add(d)
	calls := 0
	for spins := 0; time.Now().Before(end) && !w.over(); {
		if calls++; calls > 3000 {
			w.check.fail("more than 3000 calls of Advance in %s", d)
		}
		res := w.advance()
		w.check.now("advance")
		w.remember()
		if stop(res) {
			return true
		}
		wait := min(max(time.Until(res.Next), 0), day, time.Until(end))
		if spins++; wait > 0 {
			spins = 0
			pause(wait)
		} else if spins > 400 {
			w.check.fail("the engine spins: 400 calls of Advance at once")
		}
	}
	w.remember()
	w.check.now("a deed")
	return false
}

// remember what the sinks show, for the person who puts it back.
func (w *randomWorld) remember() {
	for _, s := range w.sinks {
		e := s.Served()
		if e.Key.IsZero() || e.Meta == nil || e.Key.Fingerprint() != e.Meta.Key.Fingerprint {
			continue
		}
		w.seen = slices.DeleteFunc(w.seen, func(o rotate.Entry) bool { return o.Key.Fingerprint() == e.Key.Fingerprint() })
		w.seen = append(w.seen, e)
	}
}

// settleExcuses forgives what is over already or allowed by a person's word: a key
// that is dead cannot be killed, and a slot that a person gave away may be used.
func (w *randomWorld) settleExcuses() {
	r := w.record()
	for _, k := range w.emu.Keys() {
		over := !k.Ended.IsZero() && !k.Ended.After(w.emu.Now())
		taken := k.OutOfBand && k.Slot > 0 && r.Slots[k.Slot].Taken && k.ItemID == w.item()
		if over || taken {
			w.check.excused[k.Secret] = true
		}
	}
}

// strikePending is the world's fault for one call.
func (w *randomWorld) strikePending(c call) faultKind {
	for i := range w.pending {
		p := &w.pending[i]
		if !slices.Contains(c.kind.kinds(), p.kind) {
			continue
		}
		if p.skip > 0 {
			p.skip--
			continue
		}
		kind := p.kind
		w.pending = slices.Delete(w.pending, i, i+1)
		if c.kind == callEffect && (kind == lateOne || kind == lateFour) {
			kind = lateTime // counted in requests it could outlive the effect horizon
		}
		return kind
	}
	return none
}

// item that has the name now.
func (w *randomWorld) item() string {
	if r := w.record(); r.Epoch > 0 && r.Means(w.cred.ID) {
		return string(r.ID.Item)
	}
	return string(w.cred.ID.Item)
}

// byHand fails the test if the world itself refused a person.
func (w *randomWorld) byHand(err error) {
	if err != nil {
		w.check.fail("the world: %v", err)
	}
}

func (w *randomWorld) keysIn(slot rotate.Slot) []portaltest.KeyInfo {
	return slices.DeleteFunc(w.emu.Keys(), func(k portaltest.KeyInfo) bool {
		return k.ItemID != w.item() || k.Slot != int(slot) || !k.Ended.IsZero()
	})
}
