package portal

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"rotatord/internal/rotate"
)

// ListedKey is one slot in a listing.
type ListedKey struct {
	Present bool
	Expires time.Time // zero is unknown
}

// Listing is what a survey learns of one credential without reading its app.
type Listing struct {
	Item     rotate.ItemID
	Title    string
	Owner    string
	Type     string
	Keywords []string
	ClientID string // "" where the listing does not tell
	Legacy   bool   // a key of the retired kind: no slots
	// Exact: the portal listed the keys themselves. Otherwise Present means only that
	// the item has a date for the slot, which outlives its key.
	Exact bool
	Keys  [3]ListedKey // by rotate.Slot; index 0 is unused
}

const (
	pageSize     = 100    // the documented most of search; used in Esri's demos for the rest
	searchWindow = 10_000 // start+num may not pass it (documented)
)

// accelerator remembers whether portals/self/apiTokens answers usefully. It is asked
// again after accelRetry: rights and versions change.
type accelerator struct {
	mu       sync.Mutex
	notUntil time.Time // guarded by mu
}

const accelRetry = 24 * time.Hour

func (a *accelerator) worthTrying() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !time.Now().Before(a.notUntil)
}

func (a *accelerator) giveUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.notUntil = time.Now().Add(accelRetry)
}

// Listings is the light survey: every credential that has keys, by portals/self/apiTokens
// where that answers, else by search and item reads. An error ends it; absence from it
// proves nothing.
func (c *Client) Listings(ctx context.Context) iter.Seq2[Listing, error] {
	return func(yield func(Listing, error) bool) {
		list, ok, err := c.byKeys(ctx)
		switch {
		case err != nil:
			yield(Listing{}, err)
		case ok:
			yieldAll(list, yield)
		default:
			c.searchAll(ctx, nil, yield)
		}
	}
}

// byKeys lists by portals/self/apiTokens; ok is false where that does not serve us.
func (c *Client) byKeys(ctx context.Context) (list []Listing, ok bool, err error) {
	if !c.accel.worthTrying() {
		return nil, false, nil
	}
	list, err = c.apiTokens(ctx)
	if err != nil && refusedForGood(err) {
		c.accel.giveUp()
		return nil, false, nil
	}
	return list, err == nil, err
}

// Discover lists every credential and every legacy key that we can see, with or
// without keys in them.
func (c *Client) Discover(ctx context.Context) iter.Seq2[Listing, error] {
	return func(yield func(Listing, error) bool) {
		list, _, err := c.byKeys(ctx)
		if err != nil {
			yield(Listing{}, err)
			return
		}
		exact := map[rotate.ItemID]Listing{}
		for _, l := range list {
			exact[l.Item] = l
		}
		stopped := false
		c.searchAll(ctx, exact, func(l Listing, err error) bool {
			delete(exact, l.Item)
			stopped = !yield(l, err) || err != nil
			return !stopped
		})
		if stopped {
			return
		}
		// What search does not show yet, the keys' own list did.
		for _, l := range sorted(exact) {
			if !yield(l, nil) {
				return
			}
		}
		c.legacy(ctx, yield)
	}
}

func sorted(m map[rotate.ItemID]Listing) []Listing {
	return slices.SortedFunc(maps.Values(m), func(a, b Listing) int { return strings.Compare(string(a.Item), string(b.Item)) })
}

// yieldAll goes on until the reader stops.
func yieldAll(list []Listing, yield func(Listing, error) bool) {
	for _, l := range list {
		if !yield(l, nil) {
			return
		}
	}
}

// refusedForGood tells an operation that does not exist for us from one that is in
// trouble just now.
func refusedForGood(err error) bool {
	kind := rotate.KindOf(err)
	return kind == rotate.KindPermanent || kind == rotate.KindAuth ||
		kind == rotate.KindTransient && rotate.CauseOf(err) == rotate.CauseNotAPortal
}

// keyRows collects the rows of keys and joins those of one credential.
type keyRows struct {
	list []Listing
	at   map[text]int
}

// add takes a page and tells how many of its keys were new.
func (k *keyRows) add(page []wireKey) (fresh int) {
	if k.at == nil {
		k.at = map[text]int{}
	}
	for _, row := range page {
		if row.ItemID == "" || row.Slot.v != 1 && row.Slot.v != 2 {
			continue
		}
		i, known := k.at[row.ItemID]
		if !known {
			i = len(k.list)
			k.at[row.ItemID] = i
			k.list = append(k.list, Listing{Item: rotate.ItemID(row.ItemID), Title: string(row.Title), Owner: string(row.Owner),
				ClientID: string(orElse(row.ClientID, row.ClientID2)), Type: typeApplication, Keywords: []string{keywordToken}, Exact: true})
		}
		if key := &k.list[i].Keys[row.Slot.v]; !key.Present {
			*key = ListedKey{Present: true, Expires: row.Expires.time()}
			fresh++
		}
	}
	return fresh
}

// apiTokens lists every key. Paging by start is tried first; a portal that ignores it
// is asked window by window of the expiry.
func (c *Client) apiTokens(ctx context.Context) ([]Listing, error) {
	var rows keyRows
	got := int64(0)
	for start := int64(1); ; {
		w, err := c.apiTokenPage(ctx, url.Values{"start": {strconv.FormatInt(start, 10)}})
		if err != nil {
			return nil, err
		}
		page := *w.Items
		fresh := rows.add(page)
		got += int64(len(page))
		switch {
		case w.Next.set && w.Next.v <= 0, len(page) == 0:
			return rows.list, nil
		case fresh == 0 && len(page) >= pageSize:
			return c.apiTokenWindows(ctx)
		case !w.Next.set && len(page) < pageSize && got >= w.Total.v:
			return rows.list, nil
		case fresh == 0:
			return rows.list, nil
		}
		start = max(start+int64(len(page)), w.Next.v)
	}
}

// The expiry window of listed keys: a key lives a year at most, and one that has
// expired may still be listed.
const (
	windowBefore = 400 * 24 * time.Hour
	windowAfter  = 400 * 24 * time.Hour
	windowLeast  = time.Second
	goodPage     = 65 // keys that the next window aims at
)

// apiTokenWindows sweeps the expiry with a window that adapts to how many keys it finds.
func (c *Client) apiTokenWindows(ctx context.Context) ([]Listing, error) {
	var rows keyRows
	now := time.Now()
	from, end := now.Add(-windowBefore).UnixMilli(), now.Add(windowAfter).UnixMilli()
	for width := end - from; from <= end; {
		to := min(from+width-1, end)
		w, err := c.apiTokenPage(ctx, url.Values{"startExpirationDate": {strconv.FormatInt(from, 10)},
			"endExpirationDate": {strconv.FormatInt(to, 10)}})
		if err != nil {
			return nil, err
		}
		page := *w.Items
		if len(page) >= pageSize {
			if width <= windowLeast.Milliseconds() {
				return nil, &rotate.Error{Op: "list keys", Kind: rotate.KindPermanent,
					Err: fmt.Errorf("%d or more keys expire in one second and the portal does not page", pageSize)}
			}
			width /= 2
			continue
		}
		rows.add(page)
		from = to + 1
		width = min(2*width, width*goodPage/max(1, int64(len(page))))
	}
	return rows.list, nil
}

func (c *Client) apiTokenPage(ctx context.Context, form url.Values) (wireKeys, error) {
	form.Set("num", strconv.Itoa(pageSize))
	var w wireKeys
	if _, err := c.do(ctx, call{op: opAPITokens, what: "list keys", path: "/portals/self/apiTokens", form: form}, &w); err != nil {
		return wireKeys{}, err
	}
	if w.Items == nil {
		return wireKeys{}, incomplete("list keys", "items")
	}
	return w, nil
}
