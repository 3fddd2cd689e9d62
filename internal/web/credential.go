package web

import (
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// credentialModel is the page of one credential.
type credentialModel struct {
	frame
	row
	Problem  *card
	Words    []explained // what the words of the plan mean
	Drift    *explained
	Phases   []phaseStep
	Steps    []coming
	Slots    []slotRow
	Sinks    []sinkRow
	Acks     []Ack
	AcksErr  string
	Settings *Settings
	Usage    *Usage
	UsageErr string
	History  []eventRow
	Pager    pager
	HistErr  string
}

// phaseStep is one box of the phase diagram.
type phaseStep struct {
	Phase  rotate.Phase
	What   template.HTML
	Here   bool
	Done   bool
	Symbol string
}

// slotRow is one slot.
type slotRow struct {
	Slot  rotate.Slot
	State rotate.SlotState
	Role  string
}

// sinkRow is one sink and what was last written there, as far as the history reaches.
type sinkRow struct {
	Name   string
	First  bool
	Wrote  *Event // the last write that succeeded; nil: none that is remembered
	Failed *Event // a later one that did not
}

// eventRow is one line of the history.
type eventRow struct {
	Event
	What   string
	Says   string
	Failed bool
}

const (
	perPage   = 50  // events
	remember  = 400 // events that are searched for writes to sinks
	mostPages = 200
)

func (s *Site) credential(r *http.Request, now time.Time) (any, error) {
	name := rotate.Name(r.URL.Query().Get("name"))
	rows := s.rows(now)
	i := slices.IndexFunc(rows, func(x row) bool { return x.Name == name })
	if i < 0 {
		return nil, &notFoundError{"No credential " + strconv.Quote(string(name)) + " is in the config."}
	}
	one := rows[i]
	m := credentialModel{frame: s.frame(string(name), "credential", now, rows), row: one}
	if one.Kind != "" {
		c := s.card(one)
		m.Problem = &c
	}
	s.explainPlan(&m)
	m.Phases = s.phases(one)
	m.Steps = steps(one, now)
	for _, slot := range rotate.Slots() {
		m.Slots = append(m.Slots, slotRow{Slot: slot, State: one.Record.Slots[slot], Role: roleOf(&one.Record, slot)})
	}
	s.fillHistory(r, &m)
	if s.o.Acks != nil {
		acks, err := s.o.Acks(r.Context(), name)
		if err != nil {
			m.AcksErr = err.Error()
		}
		m.Acks = acks
	}
	if s.o.Settings != nil {
		m.Settings = s.o.Settings(name)
	}
	if s.o.Usage != nil {
		u, err := s.o.Usage(r.Context(), name)
		if err != nil {
			m.UsageErr = err.Error()
		} else {
			m.Usage = &u
		}
	}
	return m, nil
}

func (s *Site) explainPlan(m *credentialModel) {
	rec := &m.Record
	for _, w := range []struct {
		table string
		word  rotate.Reason
	}{{"due", rec.Due}, {"blocked", rec.Blocked}} {
		if w.word == "" || w.word == rotate.ReasonNotDue || w.word == rotate.ReasonDrift { // the drift itself says more
			continue
		}
		if e, ok := s.words.explain(w.table, string(w.word), m.Name); ok {
			m.Words = append(m.Words, e)
		}
	}
	if rec.Drift != rotate.DriftNone {
		e, _ := s.words.explain("drift", string(rec.Drift), m.Name)
		m.Drift = &e
	}
}

// phases is the way of a rotation with the place where this one stands.
func (s *Site) phases(r row) []phaseStep {
	var out []phaseStep
	here := slices.Index(rotate.Phases(), r.Phase())
	for i, p := range rotate.Phases() {
		one := phaseStep{Phase: p, Here: i == here, Done: i < here && i > 0, Symbol: itoa(i)}
		if e := s.words["phase"][string(p)]; len(e) > 0 {
			one.What = e[0]
		}
		if one.Done {
			one.Symbol = "✓"
		}
		out = append(out, one)
	}
	return out
}

// steps that are to come, by the clock, in the words of `rotatord plan`.
func steps(r row, now time.Time) []coming {
	var out []coming
	rec := &r.Record
	add := func(at time.Time, what comingKind, note string) {
		out = append(out, coming{row: r, At: at, What: what, Note: note})
	}
	if rec.Phase == rotate.PhaseOverlap || rec.Phase == rotate.PhaseRetiring {
		add(later(rec.RetireAt, now), comingRetire, "slot "+rec.Previous.Slot.String()+", and the proof that it is refused")
		return out
	}
	if at, ok := r.Starts(); ok {
		target := rec.Live.Slot.Other()
		if target == rotate.NoSlot {
			target = rotate.Slot1
		}
		add(at, comingRotation, "claim the first sink, date and generate slot "+target.String()+", prove the key, write it into "+
			count(len(r.Sinks), "sink")+", read back, probe")
		if rec.Live.Slot.Valid() {
			add(at.Add(r.Overlap), comingRetire, "slot "+rec.Live.Slot.String()+", after the overlap")
		}
	}
	return out
}

// roleOf a slot, for people.
func roleOf(rec *rotate.Record, slot rotate.Slot) string {
	st := rec.Slots[slot]
	switch st.Use {
	case rotate.UseLive:
		return "live: consumers read this key"
	case rotate.UsePrevious:
		return "previous: still works, until the overlap ends"
	case rotate.UseOwn:
		return "ours, and in no sink: it will be retired"
	case rotate.UseEmpty:
		return "empty: the spare slot"
	case rotate.UseUnknown:
		if st.Active {
			return "somebody unknown uses it"
		}
	}
	if st.SeenAt.IsZero() {
		return "never looked at"
	}
	return "empty: the spare slot"
}

func (s *Site) fillHistory(r *http.Request, m *credentialModel) {
	for i, name := range m.row.Sinks {
		m.Sinks = append(m.Sinks, sinkRow{Name: name, First: i == 0})
	}
	if s.o.History == nil {
		return
	}
	page := 1
	if n, err := strconv.Atoi(r.URL.Query().Get("page")); err == nil {
		page = min(max(n, 1), mostPages)
	}
	// One more than is shown tells whether there is a next page.
	events, err := s.o.History(r.Context(), m.Name, max(page*perPage+1, remember))
	if err != nil {
		m.HistErr = err.Error()
		return
	}
	slices.Reverse(events)
	fillSinks(m.Sinks, events)
	first := min((page-1)*perPage, len(events))
	for _, e := range events[first:min(len(events), first+perPage)] {
		m.History = append(m.History, eventRowOf(e))
	}
	m.Pager = pager{Page: page, From: first + 1, To: first + len(m.History)}
	link := "credential?name=" + template.URLQueryEscaper(string(m.Name)) + "&page="
	if page > 1 {
		m.Pager.Prev = link + itoa(page-1) + "#history"
	}
	if len(events) > first+perPage && page < mostPages {
		m.Pager.Next = link + itoa(page+1) + "#history"
	}
}

// fillSinks from events, the newest first.
func fillSinks(list []sinkRow, events []Event) {
	for i := range list {
		one := &list[i]
		for _, e := range events {
			if e.Sink != one.Name || e.Effect != rotate.EffectPublish {
				continue
			}
			if e.Result == rotate.ResultOK {
				one.Wrote = &e
				break
			}
			if one.Failed == nil {
				one.Failed = &e
			}
		}
	}
}

func eventRowOf(e Event) eventRow {
	r := eventRow{Event: e, What: plain(e.Kind)}
	if e.Effect != "" {
		r.What = string(e.Effect) + ": " + plain(e.Result)
		r.Failed = e.Result != rotate.ResultOK
	}
	parts := []string{}
	if e.Sink != "" {
		parts = append(parts, "sink "+e.Sink)
	}
	for _, text := range []string{e.Detail, e.Error} {
		if text != "" {
			parts = append(parts, text)
		}
	}
	r.Says = strings.Join(parts, ": ")
	return r
}

// runbookPage serves docs/runbook.md.
func (s *Site) runbookPage(_ *http.Request, now time.Time) (any, error) {
	if len(s.runbook) == 0 {
		return nil, &notFoundError{"No runbook is built in."}
	}
	return struct {
		frame
		Sections []section
	}{s.frame("Runbook", "runbook", now, nil), s.runbook}, nil
}
