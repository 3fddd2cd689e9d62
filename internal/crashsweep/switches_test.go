package crashsweep

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// setting is one value of one switch of the emulator.
type setting struct{ name, value string }

// settings lists every value of every switch that rotation could notice.
func settings() []setting {
	var list []setting
	for _, s := range portaltest.New(portaltest.Options{Product: portaltest.Online}).Switches() {
		if s.Name == portaltest.SwitchManner || strings.HasPrefix(s.Name, "usage_") {
			continue
		}
		for _, v := range s.Values {
			list = append(list, setting{s.Name, v})
		}
	}
	return list
}

// underSettings runs bootstrap and a scheduled rotation, and judges: it rotates, or
// it stops with one stated reason; the invariants hold either way.
func underSettings(t *testing.T, dir string, switches map[string]string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir, nil, switches)
		defer w.close()
		if switches[portaltest.SwitchRevokePropagation] != "" {
			w.check.slowRevoke = true
		}
		adopt(w)
		w.run(70*day, nil)
		r := w.record()
		rotated := r.Live.Generation >= 2 && r.Phase == rotate.PhaseIdle
		if !rotated && r.Blocked == "" && r.LastError == "" && r.Quarantine == nil {
			t.Errorf("%v: neither rotated nor stopped with a reason: %+v", switches, r)
		}
		if rotated {
			w.run(8*day, nil)
			w.check.end(2)
		}
		if len(w.check.problems) > 0 {
			w.report()
			t.Logf("under %v", switches)
		}
		if !rotated {
			stopped(t, switches, r)
		}
	})
}

// stopped checks that only what makes rotation impossible stops it.
func stopped(t *testing.T, switches map[string]string, r rotate.Record) {
	t.Helper()
	if switches[portaltest.SwitchDateHeader] != "" && switches[portaltest.SwitchDateHeader] != "on" && r.Blocked == rotate.ReasonClock {
		return // without a trustworthy Date nothing is retired
	}
	if switches[portaltest.SwitchAmbiguousFailure] == "always" && r.Quarantine != nil {
		return // no key ever arrives
	}
	t.Errorf("%v: stopped in %s: blocked %q, due %q, last error %q, drift %q, quarantine %+v",
		switches, r.Phase, r.Blocked, r.Due, r.LastError, r.Drift, r.Quarantine)
}

func TestEverySwitchAlone(t *testing.T) {
	dir := scratch(t)
	for _, s := range settings() {
		t.Run(s.name+"="+s.value, func(t *testing.T) { underSettings(t, dir, map[string]string{s.name: s.value}) })
	}
}

// TestSwitchesPairwise sets two switches at a time: all pairs with
// ROTATORD_SWEEP=full, every 17th otherwise.
func TestSwitchesPairwise(t *testing.T) {
	stride := 17
	if os.Getenv("ROTATORD_SWEEP") == "full" {
		stride = 1
	}
	all, n, pairs := settings(), 0, 0
	dir := scratch(t)
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.name == b.name {
				continue
			}
			if n++; n%stride != 0 {
				continue
			}
			pairs++
			underSettings(t, dir, map[string]string{a.name: a.value, b.name: b.value})
			if t.Failed() {
				t.Fatalf("failed under %v and %v", a, b)
			}
		}
	}
	fmt.Printf("switch pairs: %d\n", pairs)
}
