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
	id                            string
	app, protected, tagged, keyed bool
	adapted                       bool // to the specification as it is now
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
	items    []*worldItem // with the mark
	pending  []late
	recorded string
	served   string // item whose key every sink serves
	journal  Creation
	made     int // items ever made
	reported map[string]bool
	edited   bool // the specification, since the app was registered
	asked    bool // this process has adapted the app
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
func (w *world) see() Seen {
	w.settle()
	c := w.journal
	s := Seen{Folder: w.folder}
	for _, it := range w.items {
		s.Candidates = append(s.Candidates, Candidate{it.id, it.app})
	}
	it := w.find(c.Item)
	if it == nil && c.Item == "" && len(s.Candidates) == 1 {
		it = w.find(s.Candidates[0].Item)
	}
	s.Gone = c.Item != "" && it == nil
	if it != nil {
		have := portalHas()
		have.Protected = it.protected
		if w.edited && !it.adapted {
			have.Privileges = []string{GrantOf(item)}
		}
		s.Active, s.Adapted = it.keyed, w.asked
		s.HasApp, s.Settings, s.Marked, s.Recorded = it.app, have, it.tagged, w.recorded == it.id
		s.Keyed = w.served == it.id && it.keyed
	}
	return s
}

// effect of a step at the portal or the sinks; the id of what it made.
func (w *world) effect(s Step) (do func(), id string) {
	it, edited := w.find(s.Item), w.edited
	switch s.Act {
	case ActFolder:
		return func() { w.folder = true }, ""
	case ActItem:
		w.made++
		id = fmt.Sprintf("new%d", w.made)
		return func() { w.items = append(w.items, &worldItem{id: id, tagged: true}) }, id
	case ActRemove:
		return func() { w.items = slices.DeleteFunc(w.items, func(o *worldItem) bool { return o.id == s.Item }) }, ""
	case ActRegister:
		return func() {
			if it.app && it.keyed {
				w.t.Fatalf("registered again under a key: %+v", it)
			}
			it.app, it.adapted = true, edited
		}, ""
	case ActAdapt:
		return func() {
			if it.keyed {
				w.t.Fatalf("an edit kills a key: %+v", it)
			}
			it.adapted = true
		}, ""
	case ActTidy:
		return func() { it.tagged = false }, ""
	case ActProtect:
		return func() { it.protected = true }, ""
	case ActRecord:
		return func() { w.recorded = s.Item }, ""
	case ActFirstKey:
		return func() { it.keyed = true; w.served = s.Item }, ""
	default:
		return func() {}, ""
	}
}

// turn reads, takes one step, and may be killed or lose the answer on the way.
func (w *world) turn(trouble func(string) bool) Step {
	if w.served == "" && !w.edited && trouble("the specification is edited") {
		w.edited, w.asked = true, false
	}
	seen := w.see()
	s := w.journal.Next(w.spec, seen, w.now, horizon)
	for _, id := range s.Extra {
		w.reported[id] = true
	}
	if s.Act == ActWait {
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
	if (s.Act == ActItem || s.Act == ActRegister || s.Act == ActAdapt) && trouble("lost, and late") {
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
	w.journal, w.asked = w.journal.End(s, id), w.asked || s.Act == ActAdapt
	return s
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// check what must hold at every moment.
func (w *world) check(s Step) {
	if !w.beyond && len(w.items) > 1 {
		w.t.Fatalf("after %s there are %d items", s.Act, len(w.items))
	}
	if it := w.find(w.served); w.served != "" && (it == nil || !it.keyed) {
		w.t.Fatalf("after %s the served key of %s is dead", s.Act, w.served)
	}
}

// Whatever is killed, refused, lost or late: there are never two items, and in the end the
// one is served and in the config.
func TestCreationSurvivesACrashAnywhere(t *testing.T) { createUnder(t, false) }

// A request that acts after the horizon breaks an assumption: then there may be two items,
// and the second is reported and removed, or left to a person.
func TestCreationReportsWhatComesTooLate(t *testing.T) { createUnder(t, true) }

func createUnder(t *testing.T, beyond bool) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, now: epoch(), spec: tutorial(), journal: Creation{Mark: "m"}, reported: map[string]bool{}, beyond: beyond}
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
			if it.id != w.served && !w.reported[it.id] {
				t.Fatalf("ended with %+v, and nobody was told of %s: %+v", s, it.id, w.items)
			}
		}
		if s.Act == ActStuck && beyond {
			return
		}
		if it := w.find(w.served); w.edited && (it == nil || !it.adapted) {
			t.Fatalf("the key does not have what the specification says: %+v", it)
		}
		if s.Act != ActDone || len(w.items) != 1 || w.served == "" || w.recorded != w.served {
			t.Fatalf("ended with %+v: items %v, served %q, config names %q, journal %+v", s, len(w.items), w.served, w.recorded, w.journal)
		}
	})
}
