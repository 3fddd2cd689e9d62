package crashsweep

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// tally of a whole sweep.
type tally struct {
	mu                  sync.Mutex
	points, pairs, runs int
	violations, worst   int
	shown               int
}

func (a *tally) add(t *testing.T, name string, faults []fault, o outcome) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.runs++
	crashes := 0
	for _, f := range faults {
		if f.costsMint() {
			crashes++
		}
	}
	if crashes > 0 {
		a.worst = max(a.worst, (o.extra+crashes-1)/crashes)
	}
	if len(o.problems) == 0 {
		return
	}
	a.violations++
	if a.shown++; a.shown > 5 {
		t.Fail()
		return
	}
	t.Errorf("%s under %v:\n  %s\nsteps:\n%s", name, faults, strings.Join(o.problems, "\n  "), strings.Join(o.steps[max(len(o.steps)-60, 0):], "\n"))
}

// scratch is a folder in memory where there is one: the sweep commits thousands of
// times to a real journal.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sweep") //nolint:usetesting // in memory, which TempDir is not
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (s scenario) once(t *testing.T, dir string, faults []fault, switches map[string]string) (o outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, faults, switches)
		defer w.close()
		o = s.play(w)
	})
	return o
}

// effectful tells whether pairs are made of the call's faults.
func (c call) effectful() bool {
	return c.kind == callEffect || c.kind == callSinkWrite || c.kind == callSave
}

func TestBaseline(t *testing.T) {
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			o := s.once(t, scratch(t), nil, nil)
			if len(o.problems) > 0 {
				t.Errorf("%s\nsteps:\n%s", strings.Join(o.problems, "\n"), strings.Join(o.steps, "\n"))
			}
			if o.extra != 0 {
				t.Errorf("got %d mints more than %d", o.extra, s.mints)
			}
			t.Logf("%d calls", len(o.trace))
		})
	}
}

// TestSweep breaks every call of every scenario in every way, and every ordered
// pair of effects and journal writes. ROTATORD_SWEEP=full runs all pairs; otherwise
// every stride-th pair is run.
func TestSweep(t *testing.T) {
	stride := 61
	switch os.Getenv("ROTATORD_SWEEP") {
	case "full":
		stride = 1
	case "points":
		stride = 1 << 30
	}
	var all tally
	t.Run("all", func(t *testing.T) {
		for _, s := range scenarios() {
			for half := range 2 {
				t.Run(fmt.Sprintf("%s %d", s.name, half), func(t *testing.T) {
					t.Parallel()
					s.sweep(t, &all, half, stride)
				})
			}
		}
	})
	fmt.Printf("crash points: %d, pairs: %d, violations: %d, worst extra mints a crash: %d\n", all.points, all.pairs, all.violations, all.worst)
}

// sweep does one half of a scenario's faults.
func (s scenario) sweep(t *testing.T, all *tally, half, stride int) {
	dir := scratch(t)
	base := s.once(t, dir, nil, nil)
	n := 0
	for at, c := range base.trace {
		for _, kind := range c.kind.kinds() {
			if n++; n%2 != half {
				continue
			}
			first := fault{at, kind, c}
			o := s.once(t, dir, []fault{first}, nil)
			all.add(t, s.name, []fault{first}, o)
			all.mu.Lock()
			all.points++
			all.mu.Unlock()
			if c.effectful() {
				s.pairs(t, all, dir, first, o.trace, stride)
			}
		}
	}
}

// pairs breaks every later effect of a run that one fault changed already.
func (s scenario) pairs(t *testing.T, all *tally, dir string, first fault, trace []call, stride int) {
	n := first.at
	for at := first.at + 1; at < len(trace); at++ {
		if !trace[at].effectful() {
			continue
		}
		for _, kind := range trace[at].kind.kinds() {
			if n++; n%stride != 0 {
				continue
			}
			two := []fault{first, {at, kind, trace[at]}}
			all.add(t, s.name, two, s.once(t, dir, two, nil))
			all.mu.Lock()
			all.pairs++
			all.mu.Unlock()
		}
	}
}
