package portal

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// Folder of a user. The root folder is none.
type Folder struct {
	ID, Title string
	Created   time.Time
}

// Folders lists a user's folders, fresh: the portal does not take them from its index.
func (c *Client) Folders(ctx context.Context, owner string) ([]Folder, error) {
	what := "list folders of " + owner
	if owner == "" {
		return nil, &rotate.Error{Op: what, Kind: rotate.KindPermanent, Err: errors.New("no owner")}
	}
	var w struct {
		Username text             `json:"username"`
		Folders  many[wireFolder] `json:"folders"`
	}
	form := url.Values{"start": {"1"}, "num": {"1"}}
	if _, err := c.do(ctx, call{op: opContent, what: what, path: userPath(owner), form: form}, &w); err != nil {
		return nil, err
	}
	if w.Username == "" {
		return nil, incomplete(what, "username")
	}
	var list []Folder
	for _, f := range w.Folders {
		if f.ID != "" {
			list = append(list, f.folder())
		}
	}
	return list, nil
}

type wireFolder struct {
	ID      ident  `json:"id"`
	Title   text   `json:"title"`
	Created number `json:"created"`
}

func (w wireFolder) folder() Folder {
	return Folder{ID: string(w.ID), Title: string(w.Title), Created: w.Created.time()}
}

// CreateFolder makes a folder. Look in Folders first, and again after an unknown outcome:
// a title that the user has already is ErrFolderTaken on some portals, and a second folder
// of it may come of it on others.
func (c *Client) CreateFolder(ctx context.Context, owner, title string) (Folder, error) {
	what := "create folder of " + owner
	if owner == "" || strings.TrimSpace(title) == "" {
		return Folder{}, &rotate.Error{Op: what, Kind: rotate.KindPermanent, Err: errors.New("no owner or title")}
	}
	var w struct {
		wireSuccess
		Folder loose[wireFolder] `json:"folder"`
	}
	_, err := c.do(ctx, call{op: opFolder, what: what, path: userPath(owner) + "/createFolder", form: url.Values{"title": {title}},
		nature: happening, refine: func(f *fault, e *rotate.Error) {
			if f.Code == http.StatusBadRequest && e.Cause == rotate.CauseNone && f.says("not available", "already") {
				refusedAs(e, ErrFolderTaken)
			}
		}}, &w)
	if err != nil {
		return Folder{}, err
	}
	if !w.Success.v || w.Folder.v.ID == "" {
		return Folder{}, unsettled(what, "success or folder")
	}
	return w.Folder.v.folder(), nil
}

// Page of a listing; Next is 0 on the last one.
type Page struct {
	Items []Details
	Next  int
}

// ContentPage lists one page of a user's folder ("" is the root), fresh. start counts from 1.
func (c *Client) ContentPage(ctx context.Context, owner, folder string, start int) (Page, error) {
	path := userPath(owner)
	if folder != "" {
		path += "/" + url.PathEscape(folder)
	}
	return c.page(ctx, call{op: opContent, what: "list content of " + owner, path: path, refine: refineFolder}, start, nil)
}

// SearchPage lists one page of a search, as by `group:"…"`, `title:"…"` or
// `typekeywords:"…"`. The index lags, and its dates are mostly not set: an absence proves
// nothing.
func (c *Client) SearchPage(ctx context.Context, query string, start int) (Page, error) {
	return c.page(ctx, call{op: opSearch, what: "search", path: "/search"}, start, url.Values{"q": {query}, "sortField": {"created"}, "sortOrder": {"asc"}})
}

func (c *Client) page(ctx context.Context, k call, start int, more url.Values) (Page, error) {
	k.form = pageForm(int64(max(start, 1)))
	maps.Copy(k.form, more)
	var w struct {
		Total   number            `json:"total"`
		Next    number            `json:"nextStart"`
		Results many[wireDetails] `json:"results"`
		Items   many[wireDetails] `json:"items"`
	}
	if _, err := c.do(ctx, k, &w); err != nil {
		return Page{}, err
	}
	var p Page
	rows := slices.Concat(w.Results, w.Items)
	for _, row := range rows {
		if row.ID != "" && row.Owner != "" {
			p.Items = append(p.Items, row.details())
		}
	}
	p.Next = int(nextStart(int64(max(start, 1)), wirePage{Total: w.Total, Next: w.Next}, len(rows)))
	return p, nil
}

// FindItems lists a user's Application items that carry the mark as tag or keyword, oldest
// first, in every folder. It reads listings that are fresh, several requests: an empty
// answer means that a creation under this mark did not happen, or has not yet.
func (c *Client) FindItems(ctx context.Context, owner, mark string) ([]Details, error) {
	if mark == "" {
		return nil, &rotate.Error{Op: "find items of " + owner, Kind: rotate.KindPermanent, Err: errors.New("no mark")}
	}
	return c.find(ctx, owner, func(d Details) bool {
		return slices.Contains(d.Tags, mark) || slices.ContainsFunc(d.Keywords, func(k string) bool { return strings.EqualFold(k, mark) })
	})
}

// FindTitled lists a user's Application items of that title, oldest first, in every folder.
func (c *Client) FindTitled(ctx context.Context, owner, title string) ([]Details, error) {
	return c.find(ctx, owner, func(d Details) bool { return d.Title == title })
}

func (c *Client) find(ctx context.Context, owner string, wanted func(Details) bool) ([]Details, error) {
	folders, err := c.Folders(ctx, owner)
	if err != nil {
		return nil, err
	}
	var found []Details
	for _, folder := range append([]Folder{{}}, folders...) {
		for start := 1; start > 0; {
			page, err := c.ContentPage(ctx, owner, folder.ID, start)
			if errors.Is(err, ErrNoFolder) {
				break // deleted since
			}
			if err != nil {
				return nil, err
			}
			for _, d := range page.Items {
				if d.Application && wanted(d) {
					found = append(found, d)
				}
			}
			start = page.Next
		}
	}
	slices.SortStableFunc(found, func(a, b Details) int { return a.Created.Compare(b.Created) })
	return found, nil
}

// SortOut says which of the items of one creation to go on with: the one whose app is
// registered, else the oldest; and which are left over and to be deleted. Two appear where a
// creation of unknown outcome took effect after it had been sent again. Two with an app are
// for a person: ok is false.
func SortOut(found []Details) (keep Details, extra []Details, ok bool) {
	at, apps := 0, 0
	for i, d := range found {
		if d.HasApp {
			if apps++; apps == 1 {
				at = i
			}
		}
	}
	if len(found) == 0 || apps > 1 {
		return Details{}, nil, len(found) == 0
	}
	return found[at], slices.Delete(slices.Clone(found), at, at+1), true
}
