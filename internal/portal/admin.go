package portal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// What creates, edits and retires credentials. Each method is one request. A method that
// makes or ends something is sent at most once, or again after a renewed sign-in, which a
// portal that refused the token has not acted upon. Where its answer is not clean the
// outcome is unknown: read before sending it again. docs/portal.md says how.

// Refusals that a caller acts upon, found by errors.Is; no member of the portal's answer
// but its text tells them.
var (
	ErrProtected     = errors.New("the item is protected against deletion")
	ErrFolderTaken   = errors.New("the user has a folder of that title")
	ErrNoFolder      = errors.New("the user has no such folder")
	ErrRegistered    = errors.New("the item has a registered app already")
	ErrTooManyGrants = fmt.Errorf("more than %d items are granted", MaxItemGrants)
)

// MaxItemGrants is how many items one credential may be granted (contract 6).
const MaxItemGrants = 100

// ItemGrant is the privilege that lets a key read the item (contract 6).
func ItemGrant(id rotate.ItemID) string { return grantPrefix + string(id) }

// GrantedItem is the item of such a privilege; ok is false for any other privilege.
func GrantedItem(privilege string) (id rotate.ItemID, ok bool) {
	rest, ok := strings.CutPrefix(privilege, grantPrefix)
	return rotate.ItemID(rest), ok && rest != ""
}

// NewItem is the Application item of a credential to be made.
type NewItem struct {
	Owner  string // its name stands in the path
	Folder string // id; "" is the root folder
	Title  string // required
	// Mark is a word that nothing else has, without comma or blank, such as an operation's
	// ULID. It becomes a tag and a type keyword, for FindItems after an unknown outcome.
	Mark        string
	Tags        []string // no entry may hold a comma
	Snippet     string
	Description string
	// Personal is isPersonalAPIToken: keys act as their owner. The portal's first question
	// (public, private or personal use) leaves no other trace that a source names.
	Personal bool
}

// CreateItem makes the item, as yet without an app. Unknown outcome: FindItems by the mark.
func (c *Client) CreateItem(ctx context.Context, n NewItem) (rotate.ItemID, error) {
	what := "create item for " + n.Owner
	tags := n.Tags
	if n.Mark != "" {
		tags = append([]string{n.Mark}, tags...)
	}
	if err := plainItem(what, n.Owner, n.Title, append([]string{n.Mark}, tags...)); err != nil {
		return "", err
	}
	form := url.Values{"type": {typeApplication}, "title": {n.Title}, "tags": {strings.Join(tags, ",")}, "typeKeywords": {n.Mark},
		"snippet": {n.Snippet}, "description": {n.Description}, "isPersonalAPIToken": {strconv.FormatBool(n.Personal)}}
	path := userPath(n.Owner)
	if n.Folder != "" {
		path += "/" + url.PathEscape(n.Folder)
	}
	var w struct {
		wireSuccess
		ID ident `json:"id"`
	}
	_, err := c.do(ctx, call{op: opAddItem, what: what, path: path + "/addItem", form: form, nature: happening, refine: refineFolder}, &w)
	if err != nil {
		return "", err
	}
	if !w.Success.v || w.ID == "" {
		return "", unsettled(what, "success or id")
	}
	return rotate.ItemID(w.ID), nil
}

func userPath(owner string) string { return "/content/users/" + url.PathEscape(owner) }

// plainItem refuses what would reach the portal as something else: its lists are joined by
// commas.
func plainItem(what, owner, title string, words []string) error {
	fail := func(why string) error {
		return &rotate.Error{Op: what, Kind: rotate.KindPermanent, Err: errors.New(why)}
	}
	switch {
	case owner == "":
		return fail("no owner")
	case strings.TrimSpace(title) == "":
		return fail("no title")
	}
	for _, w := range words {
		if strings.Contains(w, ",") {
			return fail("a tag holds a comma")
		}
	}
	return nil
}

// unsettled is an answer of success without what it should hold: it may have happened.
func unsettled(what, member string) *rotate.Error {
	e := incomplete(what, member)
	e.Kind = rotate.KindUnknownOutcome
	return e
}

// refusedAs puts the sentinel before the portal's own word, and says that nothing happened.
func refusedAs(e *rotate.Error, sentinel error) {
	e.Kind, e.Err = rotate.KindPermanent, fmt.Errorf("%w: %w", sentinel, e.Err)
}

func refineFolder(f *fault, e *rotate.Error) {
	if f.Code == http.StatusBadRequest && e.Cause == rotate.CauseNone && f.says("folder") {
		refusedAs(e, ErrNoFolder)
	}
}

// Details is what an item shows, of whatever type.
type Details struct {
	Item                        rotate.ItemID
	Owner, OrgID, Folder        string // Folder is an id, "" for the root; search does not tell it
	Type, Title                 string
	Snippet, Description        string
	Tags, Keywords              []string
	Access                      string // private, shared, org or public
	URL                         string // of a service
	Protected, Manageable       bool   // Manageable: by us, as the portal has it; a listing does not tell
	Created, Modified           time.Time
	Expires                     [3]time.Time // of slots 1 and 2; a search does not tell
	Date                        time.Time    // the answer's; zero in listings
	Application, HasApp, HasKey bool         // by type and keywords; HasKey: a date or key was ever set
}

// Details reads an item of any type: of a credential, or one that is to be granted. An
// item that does not exist, or that we may not see, is CauseNotFound.
func (c *Client) Details(ctx context.Context, id rotate.ItemID) (Details, error) {
	what := "read item " + string(id)
	var w wireDetails
	r, err := c.do(ctx, call{op: opItem, what: what, path: "/content/items/" + url.PathEscape(string(id))}, &w)
	if err != nil {
		return Details{}, err
	}
	if w.Type == "" || w.Owner == "" {
		return Details{}, incomplete(what, "type or owner")
	}
	d := w.details()
	d.Item, d.Date = id, r.date
	return d, nil
}

// wireDetails is wireItem with what a listing of ten thousand need not decode.
type wireDetails struct {
	wireItem
	ID          ident  `json:"id"`
	OrgID       text   `json:"orgId"`
	Snippet     text   `json:"snippet"`
	Description text   `json:"description"`
	Tags        list   `json:"tags"`
	Access      text   `json:"access"`
	URL         text   `json:"url"`
	Modified    number `json:"modified"`
	Control     text   `json:"itemControl"`
}

func (w wireDetails) details() Details {
	return Details{Item: rotate.ItemID(w.ID), Owner: string(w.Owner), OrgID: string(w.OrgID), Folder: string(w.Folder), Type: string(w.Type),
		Title: string(w.Title), Snippet: string(w.Snippet), Description: string(w.Description), Tags: w.Tags.v, Keywords: w.Keywords.v,
		Access: string(w.Access), URL: string(w.URL), Protected: w.Protected.v, Manageable: w.Control == "admin",
		Created: w.Created.time(), Modified: w.Modified.time(), Expires: w.expires(), Application: w.Type == typeApplication,
		HasApp: w.hasKeyword(keywordApp), HasKey: w.hasKeyword(keywordToken)}
}

// ItemEdit is what of an item changes; nil leaves a member as it is. None of it touches
// keys.
type ItemEdit struct {
	Title, Snippet, Description *string
	Tags                        *[]string // all of them; the portal replaces the list
}

// UpdateItem edits the item's page in place. It is idempotent: an unknown outcome is
// transient. Keys are not touched.
func (c *Client) UpdateItem(ctx context.Context, id rotate.ItemID, owner string, edit ItemEdit) error {
	what := "update item " + string(id)
	form := url.Values{}
	for name, value := range map[string]*string{"title": edit.Title, "snippet": edit.Snippet, "description": edit.Description} {
		if value != nil {
			form.Set(name, *value)
		}
	}
	title, tags := "kept", []string(nil)
	if edit.Title != nil {
		title = *edit.Title
	}
	if edit.Tags != nil {
		tags = *edit.Tags
		form.Set("tags", strings.Join(tags, ","))
	}
	if err := plainItem(what, owner, title, tags); err != nil {
		return err
	}
	if len(form) == 0 {
		return nil
	}
	for _, values := range form {
		if values[0] == "" { // without it an empty value may change nothing
			form.Set("clearEmptyFields", "true")
			break
		}
	}
	return c.settle(ctx, call{op: opEditItem, what: what, path: itemPath(owner, id, "update"), form: form})
}

// MoveItem puts the item into the folder of that id, "" for the root. It is idempotent.
func (c *Client) MoveItem(ctx context.Context, id rotate.ItemID, owner, folder string) error {
	return c.settle(ctx, call{op: opEditItem, what: "move item " + string(id), path: itemPath(owner, id, "move"),
		form: url.Values{"folder": {orElse(folder, "/")}}, refine: refineFolder})
}

// Protect forbids to delete the item, by us too, until Unprotect. It is idempotent.
func (c *Client) Protect(ctx context.Context, id rotate.ItemID, owner string) error {
	return c.settle(ctx, call{op: opEditItem, what: "protect item " + string(id), path: itemPath(owner, id, "protect")})
}

// Unprotect allows to delete the item. It is idempotent.
func (c *Client) Unprotect(ctx context.Context, id rotate.ItemID, owner string) error {
	return c.settle(ctx, call{op: opEditItem, what: "unprotect item " + string(id), path: itemPath(owner, id, "unprotect")})
}

// ShareItem shows the item's page to the organisation, or to its owner and administrators
// alone. Groups keep what they have. It is idempotent, and touches no key. The answer has
// no success but the item's id (Esri's page "Share item (as item owner)").
func (c *Client) ShareItem(ctx context.Context, id rotate.ItemID, owner string, org bool) error {
	what := "share item " + string(id)
	var w struct {
		ItemID ident `json:"itemId"`
	}
	_, err := c.do(ctx, call{op: opEditItem, what: what, path: itemPath(owner, id, "share"), nature: settling,
		form: url.Values{"everyone": {"false"}, "org": {strconv.FormatBool(org)}}}, &w)
	if err == nil && w.ItemID != ident(id) {
		err = incomplete(what, "itemId")
	}
	return err
}

// settle is an idempotent write that answers success.
func (c *Client) settle(ctx context.Context, k call) error {
	k.nature = settling
	var w wireSuccess
	if _, err := c.do(ctx, k, &w); err != nil {
		return err
	}
	if !w.Success.v {
		return incomplete(k.what, "success")
	}
	return nil
}

// DeleteItem deletes the item and with it the app; every key dies at once. forGood leaves
// nothing in the recycle bin where there is one. A protected item is ErrProtected, one that
// is gone CauseNotFound. Unknown outcome: ask Details, which is CauseNotFound once it is done.
func (c *Client) DeleteItem(ctx context.Context, id rotate.ItemID, owner string, forGood bool) error {
	return c.end(ctx, call{op: opDeleteItem, what: "delete item " + string(id), path: itemPath(owner, id, "delete"),
		form: url.Values{"permanentDelete": {strconv.FormatBool(forGood)}}, refine: refineProtected})
}

// Remove deletes an item that was replaced, protected or not, into the recycle bin where
// there is one; nil also where it is gone already. Whoever calls it has seen that no key
// is left: deleting kills them all.
func (c *Client) Remove(ctx context.Context, id rotate.ID, owner string) error {
	d, err := c.Details(ctx, id.Item)
	if err == nil && d.Protected {
		err = c.Unprotect(ctx, id.Item, owner)
	}
	if err == nil {
		err = c.DeleteItem(ctx, id.Item, owner, false)
	}
	if rotate.CauseOf(err) == rotate.CauseNotFound {
		return nil
	}
	return err
}

// CanDelete asks whether DeleteItem would be let; it changes nothing.
func (c *Client) CanDelete(ctx context.Context, id rotate.ItemID, owner string) error {
	what := "ask to delete item " + string(id)
	var w wireSuccess
	if _, err := c.do(ctx, call{op: opDeleteItem, what: what, path: itemPath(owner, id, "canDelete"), refine: refineProtected}, &w); err != nil {
		return err
	}
	if !w.Success.v {
		return incomplete(what, "success")
	}
	return nil
}

// end is a write that ends something and answers success.
func (c *Client) end(ctx context.Context, k call) error {
	k.nature = happening
	var w wireSuccess
	if _, err := c.do(ctx, k, &w); err != nil {
		return err
	}
	if !w.Success.v {
		return unsettled(k.what, "success")
	}
	return nil
}

func refineProtected(f *fault, e *rotate.Error) {
	if e.Cause == rotate.CauseNone && e.Kind == rotate.KindPermanent && f.says("protect") {
		refusedAs(e, ErrProtected)
	}
}
