package lifecycle

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"rotatord/internal/portal/portaltest"
)

// kinds of strikes. The portal's are those that a command cannot tell from one another's
// outcome at once: lost, late, wrong, failed, and a lie.
func kinds() []portaltest.FaultKind {
	return []portaltest.FaultKind{killBefore, killAfter, portaltest.LoseRequest, portaltest.LoseReply, portaltest.LateEffect, portaltest.FailBefore,
		portaltest.FailAfter, portaltest.ServerErrorHTML, portaltest.WrongJSON, portaltest.Lie}
}

// command is one that is struck: prepared for, run, and judged once it has succeeded.
type command struct {
	name    string
	prepare func(w *world)
	args    []string
	serves  bool // a key is served before, and has to work all the time
	judge   func(w *world)
	over    string // what it says where all is done and cannot be done again
}

func commands() []command {
	made := func(w *world) { w.ok("apply", "--yes") }
	return []command{
		{"apply", func(*world) {}, []string{"apply", "--yes"}, false, func(w *world) { w.complete(1) }, ""},
		{"edit", func(w *world) {
			made(w)
			w.edit("title: Trail map", "title: Path map")
			w.edit("folder: API keys", "folder: Keys of apps")
			w.edit("tags: [web]", "tags: [web, trails]")
		}, []string{"apply", "--yes"}, true, func(w *world) {
			w.complete(1)
			if it := w.items()[0]; it.Title != "Path map" {
				w.fail("edited to %+v", it)
			}
		}, ""},
		{"replace", func(w *world) {
			made(w)
			w.edit("[premium:user:basemaps]", "[premium:user:basemaps, premium:user:geocode]")
		}, []string{"apply", "trail-map", "--replace", "--yes"}, true, func(w *world) {
			w.complete(1)
			if it := w.items()[0]; !strings.Contains(fmt.Sprint(it.Privileges), "geocode") {
				w.fail("replaced by %+v", it)
			}
		}, ""},
		{"retire", func(w *world) {
			made(w)
			w.edit("probe_every: 1s", "probe_every: 1m") // else the command waits for what it holds
			w.ok("rotate", "trail-map")                  // two keys work now
		}, []string{"retire", "trail-map", "--item", "delete", "--yes"}, false, (*world).ended, "was retired on "},
		{"rename", made, []string{"rename", "trail-map", "path-map"}, true, func(w *world) {
			w.complete(1)
			w.ok("history", "path-map")
		}, "no credential trail-map"},
	}
}

// complete: one item as the config says, one key that works, served, and nothing left over.
func (w *world) complete(items int) {
	w.t.Helper()
	w.settle(items)
	w.gone(items)
	w.servedWorks()
	w.ok("apply", "--dry-run") // 3 where anything differs from the config
}

// gone: no more than so many items are left.
func (w *world) gone(items int) {
	w.t.Helper()
	if !within(calm, func() bool {
		w.run(strike{}, "once")
		return len(w.items()) == items
	}) {
		w.fail("%d items are left, want %d", len(w.items()), items)
	}
}

// ended: no key works, no item is there, and the sink serves nothing.
func (w *world) ended() {
	w.t.Helper()
	w.settle(0)
	w.gone(0)
	if w.served() != "" {
		w.fail("the sink still serves a key")
	}
}

// finish repeats a command that was struck until it has nothing to do any more: it may say that something
// sent may still happen, and to come back later. A retired name and a name that is gone say so with a code of their own.
func (w *world) finish(c command) {
	w.t.Helper()
	if !within(calm, func() bool {
		return w.run(strike{}, c.args...) == 0 || c.over != "" && strings.Contains(w.log[len(w.log)-1], c.over)
	}) {
		w.fail("%s: never succeeded", c.name)
	}
}

// play a command under one strike; reached tells whether there was such a request.
func (c command) play(t testing.TB, s strike) (reached bool) {
	t.Helper()
	w := newWorld(t)
	c.prepare(w)
	code := w.run(s, c.args...)
	reached = w.struck != ""
	if c.serves {
		w.servedWorks()
	}
	if code != 0 {
		w.finish(c)
	}
	c.judge(w)
	return reached
}

// requests is how many a command makes unhindered.
func (c command) requests(t testing.TB) int {
	t.Helper()
	w := newWorld(t)
	c.prepare(w)
	if code := w.run(strike{}, c.args...); code != 0 {
		w.fail("%s: code %d", c.name, code)
	}
	n := w.calls
	c.judge(w)
	return n
}

// TestSweep strikes every request of every command with every kind, each in a world of its own.
// ROTATORD_SWEEP=full does all of it, and without it every 11th.
func TestSweep(t *testing.T) {
	step := 11
	if os.Getenv("ROTATORD_SWEEP") == "full" {
		step = 1
	}
	for _, c := range commands() {
		t.Run(c.name, func(t *testing.T) {
			n, played := c.requests(t), 0
			for i := 0; i < n*len(kinds()); i++ {
				if i%step != 0 {
					continue
				}
				s := strike{at: 1 + i/len(kinds()), kind: kinds()[i%len(kinds())]}
				played++
				t.Run(s.String(), func(t *testing.T) {
					t.Parallel()
					if !c.play(t, s) {
						t.Errorf("there was no request %d", s.at)
					}
				})
			}
			t.Logf("%s: %d requests, %d strikes", c.name, n, played)
		})
	}
}
