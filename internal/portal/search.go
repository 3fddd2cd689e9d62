package portal

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"

	"rotatord/internal/rotate"
)

const queryCredential = ` AND type:"Application" AND typekeywords:"APIToken"`

// finder lists credentials without the help of apiTokens.
type finder struct {
	c     *Client
	exact map[rotate.ItemID]Listing // known better already
	seen  map[text]bool
	yield func(Listing, error) bool
}

// searchAll lists the signed-in user's own content, which is fresh, and then by search
// what others own. Search lags, and its dates are mostly -1, so items are read.
func (c *Client) searchAll(ctx context.Context, exact map[rotate.ItemID]Listing, yield func(Listing, error) bool) {
	f := &finder{c: c, exact: exact, seen: map[text]bool{}, yield: yield}
	self, err := c.Whoami(ctx)
	if err != nil {
		yield(Listing{}, err)
		return
	}
	if self.User != "" && self.KeyItem == "" {
		if err := c.ownContent(ctx, self.User, f.show); err != nil {
			f.end(err)
			return
		}
	}
	f.end(c.search(ctx, scope(self)+queryCredential, f.show))
}

// scope of a search: the organisation where we see all of it, else what we own.
func scope(self Self) string {
	if self.SeesAll() {
		return `orgid:"` + self.OrgID + `"`
	}
	return `owner:"` + self.User + `"`
}

// errStopped says that the reader of a listing wants no more.
var errStopped = errors.New("the reader stopped")

func (f *finder) end(err error) {
	if err != nil && !errors.Is(err, errStopped) {
		f.yield(Listing{}, err)
	}
}

// show yields a page's credentials.
func (f *finder) show(ctx context.Context, page []wireItem) error {
	var rows []wireItem
	for _, w := range page {
		if !f.seen[w.ID] && w.Type == typeApplication && w.hasKeyword(keywordToken) {
			f.seen[w.ID] = true
			rows = append(rows, w)
		}
	}
	if err := f.freshen(ctx, rows); err != nil {
		return err
	}
	for _, w := range rows {
		l := listed(w)
		if known, ok := f.exact[l.Item]; ok {
			known.Keywords = l.Keywords
			l = known
		} else if w.ID == "" {
			continue // gone since it was indexed
		}
		if !f.yield(l, nil) {
			return errStopped
		}
	}
	return nil
}

// freshen reads the items whose dates the page does not tell, as many at once as the
// portal's limit allows. An item that is gone gets an empty id.
func (f *finder) freshen(ctx context.Context, rows []wireItem) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	turns := make(chan struct{}, f.c.opts.Limits.AtOnce)
	for i := range rows {
		w := &rows[i]
		if _, known := f.exact[rotate.ItemID(w.ID)]; known || w.Expires1.v > 0 || w.Expires2.v > 0 {
			continue
		}
		turns <- struct{}{}
		group.Go(func() {
			defer func() { <-turns }()
			fresh, _, err := f.c.item(ctx, rotate.ItemID(w.ID))
			switch {
			case rotate.CauseOf(err) == rotate.CauseNotFound:
				*w = wireItem{}
			case err != nil:
				cancel(err)
			default:
				*w = fresh
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

func listed(w wireItem) Listing {
	l := Listing{Item: rotate.ItemID(w.ID), Title: string(w.Title), Owner: string(w.Owner), Type: string(w.Type),
		Keywords: w.Keywords.v, Legacy: w.Type == typeLegacyKey}
	if l.Legacy {
		return l
	}
	for slot, expires := range w.expires() {
		l.Keys[slot] = ListedKey{Present: !expires.IsZero(), Expires: expires}
	}
	return l
}

// pageReader is given each page of a listing.
type pageReader func(ctx context.Context, page []wireItem) error

// ownContent reads the root folder and every other folder of a user.
func (c *Client) ownContent(ctx context.Context, user string, show pageReader) error {
	base := "/content/users/" + url.PathEscape(user)
	folders := []string{""}
	for i := 0; i < len(folders); i++ {
		for start := int64(1); start > 0; {
			var w wirePage
			_, err := c.do(ctx, call{op: opContent, what: "list content of " + user, path: base + folders[i], form: pageForm(start)}, &w)
			if err != nil {
				return err
			}
			if i == 0 && start == 1 {
				for _, f := range w.Folders {
					if f.ID != "" {
						folders = append(folders, "/"+url.PathEscape(string(f.ID)))
					}
				}
			}
			if err := show(ctx, w.Items); err != nil {
				return err
			}
			start = nextStart(start, w, len(w.Items))
		}
	}
	return nil
}

func pageForm(start int64) url.Values {
	return url.Values{"start": {strconv.FormatInt(start, 10)}, "num": {strconv.Itoa(pageSize)}}
}

// nextStart of a listing; 0 at its end.
func nextStart(start int64, w wirePage, got int) int64 {
	switch {
	case got == 0, w.Next.set && w.Next.v <= start, !w.Next.set && got < pageSize:
		return 0
	case w.Next.set:
		return w.Next.v
	}
	return start + int64(got)
}

// search reads every hit. The portal pages through searchWindow hits at most, so hits
// come by their creation, and beyond the window the search starts anew at the last
// creation seen.
func (c *Client) search(ctx context.Context, query string, show pageReader) error {
	var since int64
	for {
		q := query
		if since > 0 {
			q += fmt.Sprintf(" AND created:[%019d TO %019d]", since, maxMillis)
		}
		last, more, err := c.searchWindow(ctx, q, show)
		if err != nil || !more {
			return err
		}
		if last <= since {
			return &rotate.Error{Op: "search", Kind: rotate.KindPermanent, Err: fmt.Errorf("more than %d hits of one moment", searchWindow)}
		}
		since = last
	}
}

// searchWindow pages through one search. more tells that hits remain beyond the window:
// a portal that stops there still tells their total.
func (c *Client) searchWindow(ctx context.Context, query string, show pageReader) (last int64, more bool, err error) {
	got := 0
	for start := int64(1); start > 0; {
		num := min(pageSize, searchWindow-start)
		if num <= 0 {
			return last, true, nil
		}
		form := pageForm(start)
		form.Set("num", strconv.FormatInt(num, 10))
		form.Set("q", query)
		form.Set("sortField", "created")
		form.Set("sortOrder", "asc")
		var w wirePage
		if _, err := c.do(ctx, call{op: opSearch, what: "search", path: "/search", form: form}, &w); err != nil {
			return 0, false, err
		}
		for _, hit := range w.Results {
			last = max(last, hit.Created.v)
		}
		if err := show(ctx, w.Results); err != nil {
			return 0, false, err
		}
		got += len(w.Results)
		more = w.Total.v > int64(got) && got >= searchWindow-2*pageSize
		start = nextStart(start, w, len(w.Results))
	}
	return last, more, nil
}

// legacy lists keys of the retired kind: those that portals/self/apiKeys names where it
// answers, and those that search finds.
func (c *Client) legacy(ctx context.Context, yield func(Listing, error) bool) {
	f := &finder{c: c, seen: map[text]bool{}, yield: yield}
	self, err := c.Whoami(ctx)
	if err != nil {
		f.end(err)
		return
	}
	show := func(_ context.Context, page []wireItem) error {
		for _, w := range page {
			if f.seen[w.ID] || w.Type != typeLegacyKey {
				continue
			}
			f.seen[w.ID] = true
			if !yield(listed(w), nil) {
				return errStopped
			}
		}
		return nil
	}
	if err := c.search(ctx, scope(self)+` AND type:"API Key"`, show); err != nil {
		f.end(err)
		return
	}
	f.end(c.legacyKeys(ctx, f, show))
}

// legacyKeys reads the items that portals/self/apiKeys names. That operation exists on
// few portals: a clean refusal is its end.
func (c *Client) legacyKeys(ctx context.Context, f *finder, show pageReader) error {
	for start := int64(1); start > 0; {
		var w wireKeys
		_, err := c.do(ctx, call{op: opAPIKeys, what: "list legacy keys", path: "/portals/self/apiKeys", form: pageForm(start)}, &w)
		if refusedForGood(err) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, k := range w.Keys {
			if k.ItemID == "" || f.seen[k.ItemID] {
				continue
			}
			item, _, err := c.item(ctx, rotate.ItemID(k.ItemID))
			if rotate.CauseOf(err) == rotate.CauseNotFound {
				continue
			}
			if err != nil {
				return err
			}
			if err := show(ctx, []wireItem{item}); err != nil {
				return err
			}
		}
		start = nextStart(start, wirePage{Next: w.Next}, len(w.Keys))
	}
	return nil
}
