package portaltest

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// searchIndex is what search sees: copies of items that follow the real ones after switch search_lag.
type searchIndex struct {
	docs    map[string]*item
	order   []string
	pending []indexChange
}

type indexChange struct {
	due time.Time
	id  string
	doc *item // nil removes
}

// reindex brings the item's present state into the index, after the lag.
func (e *Emulator) reindex(it *item) {
	doc := it.clone()
	doc.app = nil
	e.indexLater(indexChange{id: it.ID, doc: doc})
}

func (e *Emulator) unindex(it *item) { e.indexLater(indexChange{id: it.ID}) }

func (e *Emulator) indexLater(ch indexChange) {
	e.version++
	lag := e.duration(SwitchSearchLag)
	if lag > 0 {
		ch.due = e.now().Add(lag)
		e.index.pending = append(e.index.pending, ch)
		return
	}
	if len(e.index.pending) > 0 { // what was to come for this item is older than this
		e.index.pending = slices.DeleteFunc(e.index.pending, func(p indexChange) bool { return p.id == ch.id })
	}
	e.index.apply(ch)
}

func (x *searchIndex) apply(ch indexChange) {
	_, known := x.docs[ch.id]
	if ch.doc == nil {
		delete(x.docs, ch.id)
		x.order = without(x.order, ch.id)
		return
	}
	if !known {
		x.order = append(x.order, ch.id)
	}
	x.docs[ch.id] = ch.doc
}

// catchUp applies what is due.
func (e *Emulator) catchUp(now time.Time) {
	if len(e.index.pending) == 0 {
		return
	}
	e.index.pending = slices.DeleteFunc(e.index.pending, func(ch indexChange) bool {
		if now.Before(ch.due) {
			return false
		}
		e.index.apply(ch)
		e.version++
		return true
	})
}

// search answers R/search from the index.
func (e *Emulator) search(c *call) (any, error) {
	q, filter := c.form.Get("q"), c.form.Get("filter")
	if !c.form.Has("q") && !c.form.Has("filter") {
		return nil, badRequest("'q' must be specified.")
	}
	e.catchUp(c.now)
	start := c.intParam("start", 1)
	if start > searchWindow {
		return nil, badRequest(textBadSearch, "start is limited to 10000")
	}
	list, err := e.found(c, q, filter)
	if err != nil {
		return nil, badRequest(textBadSearch, err.Error())
	}
	from, to, next := pageOf(len(list), start, c.intParam("num", defaultPage))
	if next > searchWindow {
		next = -1
	}
	results := make([]itemView, 0, to-from)
	for _, doc := range list[from:to] {
		results = append(results, e.view(doc, c.id).found(e.is(SwitchSearchTokenDates, "real")))
	}
	return obj{"query": q, "total": len(list), "start": from + 1, "num": len(results), "nextStart": next, "results": results}, nil
}

// found is the whole result list, in order.
func (e *Emulator) found(c *call, q, filter string) ([]*item, error) {
	ask, err := parseQuery(q, e.orgID)
	if err != nil {
		return nil, err
	}
	narrow, err := parseQuery(filter, e.orgID)
	if err != nil {
		return nil, err
	}
	order, field := c.form.Get("sortOrder"), c.form.Get("sortField")
	who := "anonymous"
	switch {
	case c.id.key != nil:
		who = "key " + c.id.keyOf.ID
	case c.id.user != nil:
		who = string(c.id.kind) + " " + c.id.user.Username
	}
	name := strings.Join([]string{"search", who, q, filter, order, field}, "\x00")
	return e.cached(name, func() []*item {
		var list []*item
		for _, id := range e.index.order {
			if doc := e.index.docs[id]; ask(doc) && narrow(doc) && e.sees(c.id, doc) {
				list = append(list, doc)
			}
		}
		sortItems(list, field, order)
		return list
	}), nil
}

func sortItems(list []*item, field, order string) {
	var by func(a, b *item) int
	switch strings.ToLower(field) {
	case "title":
		by = func(a, b *item) int { return strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title)) }
	case "created":
		by = func(a, b *item) int { return a.Created.Compare(b.Created) }
	case "modified":
		by = func(a, b *item) int { return a.Modified.Compare(b.Modified) }
	case "owner":
		by = func(a, b *item) int { return strings.Compare(a.Owner, b.Owner) }
	case "type":
		by = func(a, b *item) int { return strings.Compare(a.Type, b.Type) }
	default:
		return // the index's own order
	}
	slices.SortStableFunc(list, func(a, b *item) int {
		n := by(a, b)
		if strings.EqualFold(order, "desc") {
			n = -n
		}
		return cmp.Or(n, strings.Compare(a.ID, b.ID))
	})
}
