package web

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// The sizes of one page of the table, the first is the usual one.
func sizes() []int { return []int{100, 25, 500, 1000} }

// query is what a reader asked for with GET parameters. What cannot be understood is
// left out, so that an old or mistyped address still shows something.
type query struct {
	Text    string // words that must all be found in the row
	State   state
	Problem problem
	Portal  string
	Owner   string
	Env     string
	Due     string // YYYY-MM-DD: a rotation starts on that day, UTC
	Sort    string
	Desc    bool
	Page    int // from 1
	Size    int
	Refresh int // seconds; 0: not at all
}

// columns by which the table can be sorted.
func columns() []string {
	return []string{"state", "name", "portal", "owner", "environment", "phase", "expires", "due", "next"}
}

const longest = 200 // characters of a parameter that are looked at

func readQuery(v url.Values) query {
	get := func(key string) string {
		s := strings.TrimSpace(strings.ToValidUTF8(v.Get(key), ""))
		if r := []rune(s); len(r) > longest {
			s = string(r[:longest])
		}
		return s
	}
	q := query{Text: get("q"), State: state(get("state")), Problem: problem(get("problem")), Portal: get("portal"), Owner: get("owner"), Env: get("env"),
		Due: get("due"), Sort: get("sort"), Desc: get("desc") == "1", Page: 1, Size: sizes()[0]}
	if !slices.Contains(states(), q.State) {
		q.State = ""
	}
	if q.Problem != problemAny && !slices.Contains(problems(), q.Problem) {
		q.Problem = ""
	}
	if _, err := time.Parse(time.DateOnly, q.Due); err != nil {
		q.Due = ""
	}
	if !slices.Contains(columns(), q.Sort) {
		q.Sort, q.Desc = columns()[0], false
	}
	if n, err := strconv.Atoi(get("page")); err == nil && n > 0 {
		q.Page = n
	}
	if n, err := strconv.Atoi(get("size")); err == nil && slices.Contains(sizes(), n) {
		q.Size = n
	}
	if get("refresh") == "60" {
		q.Refresh = 60
	}
	return q
}

// values of the query, without what is usual.
func (q query) values() url.Values {
	v := url.Values{}
	for _, one := range []struct{ key, value string }{{"q", q.Text}, {"state", string(q.State)}, {"problem", string(q.Problem)}, {"portal", q.Portal},
		{"owner", q.Owner}, {"env", q.Env}, {"due", q.Due}} {
		if one.value != "" {
			v.Set(one.key, one.value)
		}
	}
	if q.Sort != columns()[0] {
		v.Set("sort", q.Sort)
	}
	if q.Desc {
		v.Set("desc", "1")
	}
	if q.Page > 1 {
		v.Set("page", strconv.Itoa(q.Page))
	}
	if q.Size != sizes()[0] {
		v.Set("size", strconv.Itoa(q.Size))
	}
	if q.Refresh > 0 {
		v.Set("refresh", strconv.Itoa(q.Refresh))
	}
	return v
}

// link to a page with this query.
func (q query) link(to string) string {
	v := q.values().Encode()
	if v == "" {
		return to
	}
	return to + "?" + v
}

// Narrowed tells whether anything was filtered.
func (q query) Narrowed() bool {
	return q.Text != "" || q.State != "" || q.Problem != "" || q.Portal != "" || q.Owner != "" || q.Env != "" || q.Due != ""
}

// filter the rows; the order stays.
func (q query) filter(rows []row) []row {
	words := strings.Fields(strings.ToLower(q.Text))
	var out []row
	for _, r := range rows {
		if q.keeps(r) && r.has(words) {
			out = append(out, r)
		}
	}
	return out
}

func (q query) keeps(r row) bool {
	if q.Due != "" {
		at, ok := r.Starts()
		if !ok || at.UTC().Format(time.DateOnly) != q.Due {
			return false
		}
	}
	return (q.State == "" || r.State == q.State) && (q.Problem == "" || r.Kind == q.Problem || (q.Problem == problemAny && r.Kind != "")) && (q.Portal == "" || string(r.Portal) == q.Portal) &&
		(q.Owner == "" || r.Owner == q.Owner) && (q.Env == "" || r.Environment == q.Env)
}

// has every word somewhere in what the row says.
func (r row) has(words []string) bool {
	if len(words) == 0 {
		return true
	}
	rec := &r.Record
	text := strings.ToLower(strings.Join(append([]string{string(r.Name), string(r.Portal), r.Product, string(r.Item), r.Owner, r.Environment, string(r.Mode),
		r.State.Label(), string(r.Phase()), string(rec.Due), string(rec.Blocked), string(rec.Drift), string(rec.Live.Fingerprint),
		string(rec.Previous.Fingerprint), r.Attention}, r.Consumers...), "\n"))
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// sort the rows in place.
func (q query) sort(rows []row) {
	by := func(a, b row) int { return cmp.Or(cmp.Compare(a.rank, b.rank), byTime(a.Expires(), b.Expires())) }
	switch q.Sort {
	case "name":
		by = func(row, row) int { return 0 }
	case "portal":
		by = func(a, b row) int { return cmp.Compare(a.Portal, b.Portal) }
	case "owner":
		by = func(a, b row) int { return cmp.Compare(a.Owner, b.Owner) }
	case "environment":
		by = func(a, b row) int { return cmp.Compare(a.Environment, b.Environment) }
	case "phase":
		by = func(a, b row) int {
			return cmp.Compare(slices.Index(rotate.Phases(), a.Phase()), slices.Index(rotate.Phases(), b.Phase()))
		}
	case "expires":
		by = func(a, b row) int { return byTime(a.Expires(), b.Expires()) }
	case "due":
		by = func(a, b row) int { return byTime(a.DueAt, b.DueAt) }
	case "next":
		by = func(a, b row) int { return byTime(a.NextAt, b.NextAt) }
	}
	slices.SortFunc(rows, func(a, b row) int {
		c := cmp.Or(by(a, b), cmp.Compare(a.Name, b.Name))
		if q.Desc {
			return -c
		}
		return c
	})
}

// pager is one page of a longer list.
type pager struct {
	From, To, Of int // counted from 1
	Page, Pages  int
	Prev, Next   string // links; "": none
}

// cut the asked page out of n things.
func (q *query) cut(n int) pager {
	p := pager{Of: n, Pages: max(1, (n+q.Size-1)/q.Size)}
	q.Page = min(q.Page, p.Pages)
	p.Page = q.Page
	p.From = min(n, (q.Page-1)*q.Size) + 1
	p.To = min(n, q.Page*q.Size)
	return p
}

func (p *pager) links(q query, to string) {
	if p.Page > 1 {
		q.Page = p.Page - 1
		p.Prev = q.link(to)
	}
	if p.Page < p.Pages {
		q.Page = p.Page + 1
		p.Next = q.link(to)
	}
}
