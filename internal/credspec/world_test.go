package credspec

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// worldItem is an item of the model portal.
type worldItem struct {
	id                     string
	app, protected, tagged bool
	keyed, replaced        bool
}

// late is a request whose answer was lost and that has not taken effect yet.
type late struct {
	at time.Time
	do func()
}

// world is a portal, sinks, a config and a journal, in which a process may be killed
// between any two writes, and a request may be lost, answered cleanly, or take effect
// later than its answer was given up.
type world struct {
	t        *rapid.T
	now      time.Time
	spec     *Spec
	folder   bool
	items    []*worldItem
	pending  []late
	recorded string
	served   string // item whose key every sink serves
	journal  Replacement
	made     int // items ever made
	reported map[string]bool
	beyond   bool // a late request may act after the horizon
}

func (w *world) find(id string) *worldItem {
	for _, it := range w.items {
		if it.id == id {
			return it
		}
	}
	return nil
}

func (w *world) settle() {
	rest := w.pending[:0]
	for _, l := range w.pending {
		if l.at.After(w.now) {
			rest = append(rest, l)
		} else {
			l.do()
		}
	}
	w.pending = rest
}

// see reads everything afresh.
func (w *world) see() ReplacementSeen {
	w.settle()
	c := w.journal.New
	s := Seen{Folder: w.folder}
	for _, it := range w.items {
		if it.replaced {
			s.Candidates = append(s.Candidates, Candidate{it.id, it.app})
		}
	}
	it := w.find(c.Item)
	if it == nil && c.Item == "" && len(s.Candidates) == 1 {
		it = w.find(s.Candidates[0].Item)
	}
	s.Gone = c.Item != "" && it == nil
	if it != nil {
		have := portalHas()
		have.Protected = it.protected
		s.HasApp, s.Settings, s.Marked, s.Recorded = it.app, have, it.tagged, w.recorded == it.id
	}
	out := ReplacementSeen{New: s, Serving: ServeOld, Valid: true, OldGone: w.find("old") == nil}
	if w.served != "old" {
		out.Serving = ServeNew
	}
	if old := w.find("old"); old != nil {
		out.OldActive, out.OldProtected = old.keyed, old.protected
	}
	return out
}

// effect of a step at the portal or the sinks; the id of what it made.
func (w *world) effect(s Step) (do func(), id string) {
	it := w.find(s.Item)
	switch s.Act {
	case ActFolder:
		return func() { w.folder = true }, ""
	case ActItem:
		w.made++
		id = fmt.Sprintf("new%d", w.made)
		return func() { w.items = append(w.items, &worldItem{id: id, tagged: true, replaced: true}) }, id
	case ActRemove:
		return func() { w.items = slices.DeleteFunc(w.items, func(o *worldItem) bool { return o.id == s.Item }) }, ""
	case ActRegister:
		return func() {
			if it.app && it.keyed {
				w.t.Fatalf("registered again under a key: %+v", it)
			}
			it.app = true
		}, ""
	case ActTidy:
		return func() { it.tagged = false }, ""
	case ActProtect:
		return func() { it.protected = true }, ""
	case ActUnprotect:
		return func() { it.protected = false }, ""
	case ActRecord:
		return func() { w.recorded = s.Item }, ""
	case ActFirstKey:
		return func() { it.keyed = true; w.served = s.Item }, ""
	case ActRevoke:
		return func() { it.keyed = false }, ""
	case ActDelete:
		return func() { w.items = slices.DeleteFunc(w.items, func(o *worldItem) bool { return o.id == s.Item }) }, ""
	default:
		return func() {}, ""
	}
}

// turn reads, takes one step, and may be killed or lose the answer on the way.
func (w *world) turn(trouble func(string) bool) Step {
	seen := w.see()
	s := w.journal.Next(w.spec, seen, w.now, replaceOptions())
	for _, id := range s.Extra {
		w.reported[id] = true
	}
	if s.Act == ActWait || s.Act == ActOverlap {
		w.now = maxTime(w.now.Add(time.Second), s.Until)
		return s
	}
	if trouble("killed before the journal") {
		return s
	}
	w.journal = w.journal.Begin(s, w.now)
	if trouble("killed before the request") {
		return s
	}
	do, id := w.effect(s)
	if trouble("refused") {
		w.journal = w.journal.Refused(s)
		return s
	}
	if (s.Act == ActItem || s.Act == ActRegister) && trouble("lost, and late") {
		after := horizon - time.Second
		if w.beyond && s.Act == ActItem { // a registration that late is refused, or beyond help
			after = 3 * horizon
		}
		w.pending = append(w.pending, late{w.now.Add(after), do})
		return s
	}
	do()
	if trouble("killed before the answer was noted") {
		return s
	}
	w.journal = w.journal.End(s, id, w.now)
	return s
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func newWorld(t *rapid.T, beyond bool) *world {
	return &world{t: t, now: epoch(), spec: tutorial(), items: []*worldItem{{id: "old", app: true, protected: true, keyed: true}}, served: "old", recorded: "old",
		journal: Replacement{Old: "old", New: Creation{Mark: "m"}}, reported: map[string]bool{}, beyond: beyond}
}

// check what must hold at every moment.
func (w *world) check(s Step) {
	if it := w.find(w.served); it == nil || !it.keyed {
		w.t.Fatalf("after %s the served key of %s is dead", s.Act, w.served)
	}
	ours := 0
	for _, it := range w.items {
		if it.replaced {
			ours++
		}
	}
	if !w.beyond && ours > 1 {
		w.t.Fatalf("after %s there are %d new items", s.Act, ours)
	}
}

// Whatever is killed, refused, lost or late: there are never two items, none is left that
// nobody was told of, the served key is always valid, and in the end the new one serves and
// the old one is gone.
func TestReplacementSurvivesACrashAnywhere(t *testing.T) { replaceUnder(t, false) }

// A request that acts after the horizon breaks an assumption: then there may be two items,
// and the second is reported and removed, or left to a person.
func TestReplacementReportsWhatComesTooLate(t *testing.T) { replaceUnder(t, true) }

func replaceUnder(t *testing.T, beyond bool) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, beyond)
		left := rapid.IntRange(0, 12).Draw(t, "troubles")
		trouble := func(what string) bool {
			if left > 0 && rapid.IntRange(0, 4).Draw(t, what) == 0 {
				left--
				return true
			}
			return false
		}
		var s Step
		for range 200 {
			s = w.turn(trouble)
			w.check(s)
			if s.Act == ActStuck || (s.Act == ActDone && left == 0 && len(w.pending) == 0) {
				break
			}
			if s.Act == ActDone {
				left = 0
				w.now = w.now.Add(4 * horizon)
			}
		}
		for _, it := range w.items {
			if it.id != w.served && it.id != "old" && !w.reported[it.id] {
				t.Fatalf("ended with %+v, and nobody was told of %s: %+v", s, it.id, w.items)
			}
		}
		if s.Act == ActStuck && beyond {
			return
		}
		if s.Act != ActDone || w.find("old") != nil || w.served == "old" || len(w.items) != 1 || w.recorded != w.served {
			t.Fatalf("ended with %+v: items %v, served %s, config names %s, journal %+v", s, len(w.items), w.served, w.recorded, w.journal)
		}
	})
}
