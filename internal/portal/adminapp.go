package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// Settings are what a registered app carries. Both keys of a credential share them.
type Settings struct {
	Privileges   []string // item grants among them (ItemGrant), MaxItemGrants at most
	Referrers    []string // none: the keys work from anywhere
	RedirectURIs []string // none asked for: the one that every client gives credentials
	Personal     bool     // isPersonalAPIToken
}

// AppRecord is a registered app as the portal has it. What it carries may be less than
// what was asked for: compare.
type AppRecord struct {
	Settings
	Item               rotate.ItemID
	App                rotate.App // client id and secret, flags, and the same privileges and referrers
	Registered, Edited time.Time
}

// PrivilegesError says which of the privileges asked for the portal refused. Names is
// empty where it did not say; then it was one of them.
type PrivilegesError struct{ Names []string }

func (e *PrivilegesError) Error() string {
	if len(e.Names) == 0 {
		return "the portal refuses a privilege and does not say which"
	}
	return "the portal refuses " + strings.Join(e.Names, ", ")
}

// RegisterApp registers the app of an Application item, which the caller must own. It makes
// no key: set a slot's date (SetExpiry), then Mint. An item that has an app is
// ErrRegistered on some portals and made anew on others, which would kill keys: send it
// only after AppSettings said CauseNotCredential and Details shows no HasApp. Unknown outcome: ask AppSettings.
// Refused privileges are a *PrivilegesError, and nothing was registered.
func (c *Client) RegisterApp(ctx context.Context, item rotate.ItemID, s Settings) (AppRecord, error) {
	form, err := s.form("register app of item " + string(item))
	if err != nil {
		return AppRecord{}, err
	}
	form.Set("itemId", string(item))
	return c.writeApp(ctx, call{op: opRegisterApp, what: "register app of item " + string(item), path: "/oauth2/registerApp", form: form}, s)
}

// EditApp replaces all settings of the app. IT KILLS BOTH KEYS of the credential at once,
// whatever was changed (contract 4.3), and it does so late where its outcome is unknown: a
// key that is minted before that is settled may die of it. For apps that have no key yet, and
// for in-place edits, which say so.
func (c *Client) EditApp(ctx context.Context, clientID string, s Settings) (AppRecord, error) {
	form, err := s.form("edit app " + clientID)
	if err != nil {
		return AppRecord{}, err
	}
	if clientID == "" {
		return AppRecord{}, &rotate.Error{Op: "edit app", Kind: rotate.KindPermanent, Err: errors.New("no client id")}
	}
	return c.writeApp(ctx, call{op: opEditApp, what: "edit app " + clientID, path: appPath(clientID, "update"), form: form}, s)
}

func appPath(clientID, verb string) string {
	return "/oauth2/apps/" + url.PathEscape(clientID) + "/" + verb
}

// form refuses what the portal would refuse, or take for something else.
func (s Settings) form(what string) (url.Values, error) {
	fail := func(err error) (url.Values, error) {
		return nil, &rotate.Error{Op: what, Kind: rotate.KindPermanent, Err: err}
	}
	grants := 0
	for _, p := range s.Privileges {
		if _, ok := GrantedItem(p); ok {
			grants++
		}
		if strings.TrimSpace(p) != p || p == "" {
			return fail(errors.New("a privilege is empty or has blanks around it"))
		}
	}
	if grants > MaxItemGrants {
		return fail(fmt.Errorf("%w: %d", ErrTooManyGrants, grants))
	}
	redirects := s.RedirectURIs
	if len(redirects) == 0 {
		redirects = []string{outOfBand}
	}
	form := url.Values{"appType": {"multiple"}, "isPersonalAPIToken": {strconv.FormatBool(s.Personal)}}
	// These three must be JSON: a comma list makes silently wrong apps (contract 1.2).
	for name, values := range map[string][]string{"privileges": s.Privileges, "httpReferrers": s.Referrers, "redirect_uris": redirects} {
		raw, err := json.Marshal(append([]string{}, values...))
		if err != nil {
			return fail(err)
		}
		form.Set(name, string(raw))
	}
	return form, nil
}

func (c *Client) writeApp(ctx context.Context, k call, s Settings) (AppRecord, error) {
	k.nature, k.refine = happening, func(f *fault, e *rotate.Error) { refineApp(f, e, s) }
	var w wireAppRecord
	r, err := c.do(ctx, k, &w)
	if err != nil {
		return AppRecord{}, err
	}
	if w.ClientID == "" || w.ClientSecret == "" {
		return AppRecord{}, unsettled(k.what, "client_id or client_secret")
	}
	record, old := w.record(k.what, r)
	return record, asError(old)
}

// refineApp: the portal uses 500 for privileges that it refuses; its text tells that from a
// fault of its own (contract 1.3). Its details name privileges, of which we show those that
// we sent.
func refineApp(f *fault, e *rotate.Error, s Settings) {
	switch {
	case f.says("invalid privilege"):
		e.Kind, e.Cause, e.Err = rotate.KindPermanent, rotate.CauseForbidden, &PrivilegesError{named(f, s.Privileges)}
	case f.Code != http.StatusBadRequest || e.Cause != rotate.CauseNone:
	case f.says("already registered"):
		refusedAs(e, ErrRegistered)
	case f.says("item privileges"):
		refusedAs(e, ErrTooManyGrants)
	default:
		refineNoClient(f, e)
	}
}

// named lists those of the words that the portal's text has whole.
func named(f *fault, words []string) []string {
	said := strings.FieldsFunc(f.whole.Reveal(), func(r rune) bool { return r == ' ' || r == ',' || r == '"' || r == '[' || r == ']' || r == '\'' })
	var names []string
	for _, w := range words {
		if slices.Contains(said, w) {
			names = append(names, w)
		}
	}
	return names
}

// AppSettings reads the app of an item. An item without one is CauseNotCredential, so is a
// legacy key's; a portal without key slots is CauseTooOld.
func (c *Client) AppSettings(ctx context.Context, item rotate.ItemID, owner string) (AppRecord, error) {
	what := "read app of item " + string(item)
	if owner == "" {
		return AppRecord{}, &rotate.Error{Op: what, Kind: rotate.KindPermanent, Err: errors.New("no owner")}
	}
	var w wireAppRecord
	r, err := c.do(ctx, call{op: opApp, what: what, path: itemPath(owner, item, "registeredAppInfo"), refine: refineNoApp}, &w)
	if err != nil {
		return AppRecord{}, err
	}
	if w.AppType == "apikey" {
		return AppRecord{}, &rotate.Error{Op: what, Kind: rotate.KindPermanent, Cause: rotate.CauseNotCredential, Err: errors.New("it is a legacy api key")}
	}
	if w.ClientID == "" || w.ClientSecret == "" {
		return AppRecord{}, incomplete(what, "client_id or client_secret")
	}
	record, old := w.record(what, r)
	return record, asError(old)
}

// refineNoApp: a plain 400 is what an item without a registered app answers (contract 4.2).
func refineNoApp(f *fault, e *rotate.Error) {
	if e.Kind == rotate.KindPermanent && e.Cause == rotate.CauseNone && f.Code == http.StatusBadRequest {
		e.Cause = rotate.CauseNotCredential
	}
}

// UnregisterApp ends the registration and both keys; the item stays. An app that is gone is
// CauseNotFound. Unknown outcome: ask AppSettings, CauseNotCredential once it is done.
func (c *Client) UnregisterApp(ctx context.Context, clientID string) error {
	if clientID == "" {
		return &rotate.Error{Op: "unregister app", Kind: rotate.KindPermanent, Err: errors.New("no client id")}
	}
	return c.end(ctx, call{op: opUnregisterApp, what: "unregister app " + clientID, path: appPath(clientID, "unregister"),
		refine: func(f *fault, e *rotate.Error) {
			refineProtected(f, e)
			refineNoClient(f, e)
		}})
}

func refineNoClient(f *fault, e *rotate.Error) {
	if e.Kind == rotate.KindPermanent && e.Cause == rotate.CauseNone && f.says("client_id") {
		e.Cause = rotate.CauseNotFound
	}
}

type wireAppRecord struct {
	wireApp
	Personal   truth  `json:"isPersonalAPIToken"`
	Registered number `json:"registered"`
	Modified   number `json:"modified"`
}

// record gives what the portal has; too old a portal gives it with an error.
func (w wireAppRecord) record(what string, r reply) (AppRecord, *rotate.Error) {
	a := AppRecord{Item: rotate.ItemID(w.ItemID), Registered: w.Registered.time(), Edited: w.Modified.time(),
		Settings: Settings{Privileges: w.Privileges.v, Referrers: w.Referrers.v, RedirectURIs: w.RedirectURIs.v, Personal: w.Personal.v},
		App: rotate.App{ClientID: string(w.ClientID), ClientSecret: rotate.NewSecret(string(w.ClientSecret)),
			Privileges: w.Privileges.v, Referrers: w.Referrers.v, Date: r.date}}
	if w.Active1 == nil || w.Active2 == nil || !w.Active1.set || !w.Active2.set {
		return a, &rotate.Error{Op: what, Kind: rotate.KindPermanent, Cause: rotate.CauseTooOld, Err: errors.New("the app has no key slots")}
	}
	a.App.Active = [3]bool{1: w.Active1.v, 2: w.Active2.v}
	return a, nil
}
