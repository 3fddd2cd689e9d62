package web

import (
	"maps"
	"net/http"
	"slices"
	"time"
)

// root is the first page, as a link from any other one.
const root = "./"

// cards is how many problems are told in full on the first page.
const cards = 12

// fleetModel is the first page.
type fleetModel struct {
	frame
	Query  query
	Cards  []card
	Groups []choice // of problems, where there are more than the cards
	More   string   // link to all problems
	Tiles  []choice // how many credentials are in each state
	Chart  chart
	Soon   []soon
	tableModel
}

// tableModel is the fleet's table.
type tableModel struct {
	Rows    []row
	Heads   []head
	Pager   pager
	Total   int
	Sizes   []choice
	States  []choice
	Portals []choice
	Owners  []choice
	Envs    []choice
	Clear   string // link without filters
	Turn    string // link that switches refreshing on or off
}

// choice is one of several: an option, or a link with a number.
type choice struct {
	Value, Label string
	Sign         string
	Count        int
	Link         string
	Chosen       bool
}

// head of a column.
type head struct {
	Label string
	Link  string // sorts by it
	Aria  string // ascending, descending; "": not sorted by it
}

func (s *Site) fleet(r *http.Request, now time.Time) (any, error) {
	q := readQuery(r.URL.Query())
	rows := s.rows(now)
	m := fleetModel{frame: s.frame("Fleet", root, now, rows), Query: q, Chart: expiryChart(rows, now, 90)}
	if q.Refresh > 0 {
		m.Refresh = "60"
	}
	bad, groups := worst(rows)
	for _, b := range bad[:min(len(bad), cards)] {
		m.Cards = append(m.Cards, s.card(b))
	}
	if len(bad) > cards {
		m.More = query{Sort: columns()[0], Size: sizes()[0], Problem: problemAny}.link(root) + "#fleet"
		for _, g := range groups {
			m.Groups = append(m.Groups, choice{Label: g.Kind.Label(), Count: g.Count,
				Link: query{Sort: columns()[0], Size: sizes()[0], Problem: g.Kind}.link(root) + "#fleet"})
		}
	}
	m.Tiles = tiles(rows, q)
	m.Soon = soonest(rows, now, 8)
	m.tableModel = tableOf(rows, q)
	return m, nil
}

// tableOf the rows that the query keeps. It sorts them.
func tableOf(rows []row, q query) tableModel {
	t := tableModel{Total: len(rows), States: stateChoices(rows, q),
		Portals: choicesOf(rows, q.Portal, func(r row) string { return string(r.Portal) }),
		Owners:  choicesOf(rows, q.Owner, func(r row) string { return r.Owner }),
		Envs:    choicesOf(rows, q.Env, func(r row) string { return r.Environment })}
	kept := q.filter(rows)
	q.sort(kept)
	t.Pager = q.cut(len(kept))
	t.Pager.links(q, root)
	t.Rows = kept[min(len(kept), t.Pager.From-1):t.Pager.To]
	for _, h := range []struct{ sort, label string }{{"name", "Credential"}, {"state", "State"}, {"portal", "Portal"}, {"owner", "Owner"},
		{"environment", "Environment"}, {"phase", "Phase"}, {"expires", "Key expires"}, {"due", "Rotation due"}, {"next", "Next look"}} {
		to := q
		to.Sort, to.Desc, to.Page = h.sort, q.Sort == h.sort && !q.Desc, 1
		one := head{Label: h.label, Link: to.link(root) + "#fleet"}
		if q.Sort == h.sort {
			one.Aria = "ascending"
			if q.Desc {
				one.Aria = "descending"
			}
		}
		t.Heads = append(t.Heads, one)
	}
	for _, n := range slices.Sorted(slices.Values(sizes())) {
		t.Sizes = append(t.Sizes, choice{Value: itoa(n), Label: itoa(n), Chosen: n == q.Size})
	}
	t.Clear = query{Sort: q.Sort, Desc: q.Desc, Size: q.Size, Refresh: q.Refresh}.link(root) + "#fleet"
	turn := q
	turn.Refresh = 60 - q.Refresh
	t.Turn = turn.link(root)
	return t
}

// tiles count the states, each with a link to its credentials.
func tiles(rows []row, q query) []choice {
	n := map[state]int{}
	for _, r := range rows {
		n[r.State]++
	}
	var out []choice
	for _, st := range states() {
		to := query{Sort: columns()[0], Size: q.Size, State: st, Refresh: q.Refresh}
		out = append(out, choice{Value: string(st), Label: st.Label(), Sign: st.Sign(), Count: n[st], Link: to.link(root) + "#fleet", Chosen: q.State == st})
	}
	return out
}

func stateChoices(rows []row, q query) []choice {
	var out []choice
	for _, c := range tiles(rows, q) {
		if c.Count > 0 || c.Chosen {
			out = append(out, c)
		}
	}
	return out
}

// choicesOf a column: the values that are there, each with its number.
func choicesOf(rows []row, chosen string, of func(row) string) []choice {
	n := map[string]int{}
	if chosen != "" {
		n[chosen] = 0
	}
	for _, r := range rows {
		if v := of(r); v != "" {
			n[v]++
		}
	}
	var out []choice
	for _, v := range slices.Sorted(maps.Keys(n)) {
		out = append(out, choice{Value: v, Label: v, Count: n[v], Chosen: v == chosen})
	}
	return out
}

// soon is a rotation that comes next.
type soon struct {
	row
	At time.Time
}

// soonest rotations, at most n.
func soonest(rows []row, now time.Time, n int) []soon {
	var out []soon
	for _, r := range rows {
		if at, ok := r.Starts(); ok && at.Before(now.Add(400*day)) {
			out = append(out, soon{r, at})
		}
	}
	slices.SortStableFunc(out, func(a, b soon) int { return a.At.Compare(b.At) })
	return out[:min(n, len(out))]
}
