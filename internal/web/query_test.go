package web

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"rotatord/docs"
	"rotatord/internal/daemon"
	"rotatord/internal/rotate"
)

func at() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func fine(name string, left time.Duration) Credential {
	c := Credential{Name: rotate.Name(name), Mode: rotate.ModeRotate, DueAt: at().Add(left - 30*day), Overlap: 7 * day, CriticalBefore: 3 * day}
	c.Record = rotate.Record{Name: c.Name, AdoptedAt: at().Add(-day), Phase: rotate.PhaseIdle,
		Live: rotate.KeyFacts{Slot: rotate.Slot1, Fingerprint: "AT1_ABCDEFGH-12345678", Expires: at().Add(left)}}
	return c
}

func rowsOf(list ...Credential) []row {
	s := &Site{o: Options{Snapshot: func(time.Time) []Credential { return list }}}
	return s.rows(at())
}

func names(rows []row) string {
	var out []string
	for _, r := range rows {
		out = append(out, string(r.Name))
	}
	return strings.Join(out, " ")
}

func TestSearchAndSort(t *testing.T) {
	a, b, c, d := fine("alpha", 200*day), fine("bravo", 100*day), fine("charlie", 50*day), fine("delta", 40*day)
	a.Owner, b.Owner, b.Environment = "team maps", "Team Roads", "prod"
	b.Consumers = []string{"snow plough"}
	c.Attention, c.Record.Drift = "drift", rotate.DriftFlag
	d.Record.Live.Expires = time.Time{}
	for _, tt := range []struct{ query, want string }{
		{"", "charlie bravo alpha delta"},
		{"sort=name", "alpha bravo charlie delta"},
		{"sort=name&desc=1", "delta charlie bravo alpha"},
		{"sort=expires", "charlie bravo alpha delta"},
		{"sort=nonsense&desc=1", "charlie bravo alpha delta"},
		{"q=TEAM", "bravo alpha"},
		{"q=team+plough", "bravo"},
		{"q=AT1_ABCDEFGH&sort=name", "alpha bravo charlie delta"},
		{"q=team&owner=team+maps", "alpha"},
		{"env=prod", "bravo"},
		{"env=nowhere", ""},
		{"state=attention", "charlie"},
		{"state=nonsense&sort=name", "alpha bravo charlie delta"},
		{"problem=drift", "charlie"},
		{"problem=any", "charlie"},
		{"problem=dead", ""},
		{"due=2026-05-10", "bravo"},
		{"due=1.1.2026&sort=name", "alpha bravo charlie delta"},
	} {
		v, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		q := readQuery(v)
		kept := q.filter(rowsOf(a, b, c, d))
		q.sort(kept)
		if got := names(kept); got != tt.want {
			t.Errorf("%q finds %q, want %q", tt.query, got, tt.want)
		}
		if again := readQuery(q.values()); again != q {
			t.Errorf("%q becomes %+v, and its link %+v", tt.query, q, again)
		}
	}
}

func TestPagesOfATable(t *testing.T) {
	var list []Credential
	for i := range 260 {
		list = append(list, fine(fmt.Sprintf("c%03d", i), time.Duration(100+i)*day))
	}
	seen := map[rotate.Name]bool{}
	pages := 0
	for next := "./?size=25"; next != ""; pages++ {
		u, err := url.Parse(next)
		if err != nil {
			t.Fatal(err)
		}
		m := tableOf(rowsOf(list...), readQuery(u.Query()))
		for _, r := range m.Rows {
			if seen[r.Name] {
				t.Errorf("%s is shown twice", r.Name)
			}
			seen[r.Name] = true
		}
		next = m.Pager.Next
	}
	if len(seen) != 260 || pages != 11 {
		t.Errorf("%d pages show %d", pages, len(seen))
	}
	if m := tableOf(rowsOf(list...), readQuery(url.Values{"page": {"999"}})); len(m.Rows) != 60 || m.Pager.Page != 3 {
		t.Errorf("beyond the end: %d rows of page %d", len(m.Rows), m.Pager.Page)
	}
	if m := tableOf(nil, readQuery(url.Values{})); len(m.Rows) != 0 || m.Pager.Prev+m.Pager.Next != "" {
		t.Errorf("nothing: %+v", m.Pager)
	}
}

// TestEveryAttentionHasItsKind: what the status wants a person for is a problem that
// the page knows, with a section of the runbook.
func TestEveryAttentionHasItsKind(t *testing.T) {
	heads := map[string]bool{}
	for _, s := range readPage(docs.Runbook) {
		heads[s.Head] = true
	}
	for _, tt := range []struct {
		want   problem
		state  state
		change func(*daemon.Managed, *rotate.Record)
	}{
		{"", stateFine, func(*daemon.Managed, *rotate.Record) {}},
		{problemDead, stateBroken, func(_ *daemon.Managed, r *rotate.Record) { r.DeadAt, r.Drift = at(), rotate.DriftFlag }},
		{problemExpired, stateBroken, func(_ *daemon.Managed, r *rotate.Record) { r.Live.Expires = at() }},
		{problemQuarantined, stateAttention, func(_ *daemon.Managed, r *rotate.Record) {
			r.Quarantine = &rotate.Quarantine{}
			r.Live.Expires = at().Add(day)
		}},
		{problemDrift, stateAttention, func(_ *daemon.Managed, r *rotate.Record) { r.Drift = rotate.DriftFlag; r.Live.Expires = at().Add(day) }},
		{problemCritical, stateAttention, func(_ *daemon.Managed, r *rotate.Record) { r.Live.Expires = at().Add(day) }},
		{problemWatchDue, stateAttention, func(m *daemon.Managed, r *rotate.Record) { m.Mode, r.Due = rotate.ModeWatch, rotate.ReasonExpiring }},
		{problemUnadopted, stateAttention, func(_ *daemon.Managed, r *rotate.Record) { r.AdoptedAt = time.Time{} }},
		{problemOccupied, stateAttention, func(_ *daemon.Managed, r *rotate.Record) { r.Blocked = rotate.ReasonOccupied }},
		{problemFailing, stateAttention, func(_ *daemon.Managed, r *rotate.Record) { r.Attempts = 3 }},
		{problemHeld, stateAttention, func(m *daemon.Managed, r *rotate.Record) {
			m.Policy.MaxAge, r.Hold = time.Hour, &rotate.Hold{Reason: "audit"}
		}},
		{"", stateHeld, func(_ *daemon.Managed, r *rotate.Record) { r.Hold = &rotate.Hold{Reason: "audit"} }},
		{problemFleet, stateAttention, func(_ *daemon.Managed, r *rotate.Record) { r.Blocked = rotate.ReasonFleetStop }},
		{problemRevoke, stateAttention, func(_ *daemon.Managed, r *rotate.Record) { r.Revoke.Attempts = 3 }},
		{problemGate, stateAttention, func(_ *daemon.Managed, r *rotate.Record) { r.Blocked = rotate.ReasonGate }},
		{problemVeto, stateAttention, func(_ *daemon.Managed, r *rotate.Record) { r.Blocked = rotate.ReasonVeto }},
		{problemFailing, stateAttention, func(_ *daemon.Managed, r *rotate.Record) { r.LastKind, r.Attempts = rotate.KindAuth, 1 }},
		{"", stateFine, func(_ *daemon.Managed, r *rotate.Record) { r.Attempts = 1 }},
		{"", stateRotating, func(_ *daemon.Managed, r *rotate.Record) { r.Phase = rotate.PhaseProving }},
		{"", stateWatched, func(m *daemon.Managed, _ *rotate.Record) { m.Mode = rotate.ModeWatch }},
		{"", stateWaiting, func(_ *daemon.Managed, r *rotate.Record) { r.Due = rotate.ReasonExpiring }},
	} {
		m := daemon.Managed{Credential: &rotate.Credential{Name: "maps", Mode: rotate.ModeRotate, Policy: rotate.Policy{CriticalBefore: 3 * day}}}
		c := fine("maps", 100*day)
		c.Record.Epoch = 1
		tt.change(&m, &c.Record)
		st := daemon.View{Managed: m, Record: c.Record}.Status(at())
		c.Mode, c.Attention, c.Cure, c.Hold, c.DueAt = st.Mode, st.Attention, st.Cure, st.Hold, st.DueAt
		got := rowOf(&c, at())
		if got.Kind != tt.want || got.State != tt.state {
			t.Errorf("%q is %q, %q; want %q, %q", st.Attention, got.Kind, got.State, tt.want, tt.state)
		}
		if got.Kind != "" && !heads[got.Kind.section()] {
			t.Errorf("the runbook has no section %s", got.Kind.section())
		}
	}
	if got := rowOf(&Credential{Attention: "new in this version"}, at()); got.State != stateAttention {
		t.Errorf("an attention of an unknown kind is %q", got.State)
	}
	if !slices.Contains(problems(), problemOther) || problemOther.section() != "" {
		t.Error("what is not known has a section")
	}
}
