// Package portal is the client of one ArcGIS portal: sign-in, the calls that rotation
// needs, listings, online checks. It turns whatever a portal or the network can answer
// into rotate's closed classification, and decides nothing else.
//
// What holds for every call: parameters go in a form body, never in a URL; the body is
// capped; no error or log line holds a value that was sent or received; what makes or
// ends something is sent at most once, on a connection of its own (mint and revoke
// without a user token), and unless its answer is clean its outcome is unknown.
// docs/portal.md has the tables.
package portal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go"

	"rotatord/internal/rotate"
)

// The operations, as counted and as label values.
const (
	opSignIn    = "sign_in"
	opOAuth     = "oauth_token"
	opSelf      = "self"
	opUser      = "community_self"
	opItem      = "item"
	opApp       = "app"
	opSetExpiry = "set_expiry"
	opMint      = "mint"
	opRevoke    = "revoke"
	opProve     = "prove"
	opControl   = "control"
	opSearch    = "search"
	opContent   = "content"
	opAPITokens = "api_tokens"
	opAPIKeys   = "api_keys"
	opParity    = "parity"
	opUsage     = "usage"

	opAddItem       = "add_item"
	opEditItem      = "edit_item"
	opDeleteItem    = "delete_item"
	opFolder        = "create_folder"
	opRegisterApp   = "register_app"
	opEditApp       = "edit_app"
	opUnregisterApp = "unregister_app"
	opGrant         = "grant"
)

// Ops lists every operation, for metrics that create their series at start.
func Ops() []string {
	return []string{opSignIn, opOAuth, opSelf, opUser, opItem, opApp, opSetExpiry, opMint, opRevoke, opProve, opControl,
		opSearch, opContent, opAPITokens, opAPIKeys, opParity, opUsage,
		opAddItem, opEditItem, opDeleteItem, opFolder, opRegisterApp, opEditApp, opUnregisterApp, opGrant}
}

// Client of one portal. Its methods may be called from several goroutines.
type Client struct {
	opts    Options
	root    *url.URL
	referer string
	traced  bool            // the transport is a real one and reports on connections
	clients [3]*http.Client // by nature
	limits  *limits
	retry   failsafe.Policy[any] // nil: reads are not repeated
	session *session             // nil in a client that only logs in
	clock   clock
	counts  counts
	accel   accelerator
}

var _ rotate.Portal = (*Client)(nil)

// New makes a client. It sends nothing.
func New(o Options) (*Client, error) {
	if err := o.Identity.validate(); err != nil {
		return nil, fmt.Errorf("make portal client: %w", err)
	}
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	switch id := c.opts.Identity; {
	case id.Password != nil:
		c.session = newSession(&passwordSignIn{*id.Password, c})
	case id.APIKey != nil:
		c.session = newSession(&apiKeySignIn{*id.APIKey})
		c.referer = orElse(id.APIKey.Referrer, c.referer)
	case id.OwnKey != nil:
		c.session = newSession(&ownKeySignIn{OwnKeyIdentity: *id.OwnKey, c: c})
	case id.Refresh != nil:
		c.session = newSession(&refreshSignIn{RefreshIdentity: *id.Refresh, c: c})
	}
	return c, nil
}

// newClient is New without an identity.
func newClient(o Options) (*Client, error) {
	root, err := Root(o.URL)
	if err != nil {
		return nil, fmt.Errorf("make portal client: %w", err)
	}
	o = o.withDefaults()
	many, once, err := transports(o)
	if err != nil {
		return nil, fmt.Errorf("make portal client: %w", err)
	}
	c := &Client{
		opts: o, root: root, traced: o.Transport == nil,
		referer: orElse(o.Referer, root.Scheme+"://"+root.Host),
		clients: [3]*http.Client{
			reading:   {Transport: many, CheckRedirect: sameHost},
			settling:  {Transport: many, CheckRedirect: noRedirect},
			happening: {Transport: once, CheckRedirect: noRedirect},
		},
		retry: newRetry(o.Limits, o.Jitter),
	}
	c.limits = newLimits(o.Limits, o.Log, c.paused)
	return c, nil
}

// paused tells of a pause that the portal asked for.
func (c *Client) paused(p pause) {
	wait := time.Until(p.until)
	attrs := []slog.Attr{slog.Duration("wait", wait.Round(time.Second)), slog.Time("until", p.until.UTC().Round(time.Second)), slog.Int("http_status", p.status)}
	if p.asked > maxPause {
		attrs = append(attrs, slog.Duration("asked", p.asked))
	}
	c.opts.Log.LogAttrs(context.Background(), slog.LevelWarn, "portal asks to be left alone", attrs...)
	if c.opts.OnPause != nil {
		c.opts.OnPause(p.until)
	}
}

// Pause sends nothing before until: it is what an earlier client of this portal was told.
// It lasts for an hour at most, whatever happened to our own clock since.
func (c *Client) Pause(until time.Time) {
	now := time.Now()
	c.limits.queue.pause(now.Add(min(until.Sub(now), maxPause)))
}

// Standing is how the limits of this portal stand.
func (c *Client) Standing() Standing { return c.limits.standing() }

// Close drops idle connections.
func (c *Client) Close() { c.clients[reading].CloseIdleConnections() }

// Counts is the number of HTTP requests so far.
func (c *Client) Counts() map[Counted]int { return c.counts.snapshot() }

// Clock tells how far the portal's clock is ahead of ours, to half a second, and when
// that was seen; ok is false before the first answer with a Date.
func (c *Client) Clock() (offset time.Duration, at time.Time, ok bool) { return c.clock.read() }

// Item reads a credential's item. A legacy key or another kind of item is
// CauseNotCredential.
func (c *Client) Item(ctx context.Context, id rotate.ID) (rotate.Item, error) {
	w, r, err := c.item(ctx, id.Item)
	if err != nil {
		return rotate.Item{}, err
	}
	if w.Type != typeApplication {
		return rotate.Item{}, &rotate.Error{Op: "read item " + string(id.Item), Kind: rotate.KindPermanent, Cause: rotate.CauseNotCredential,
			Err: errors.New("the item is no application")}
	}
	return rotate.Item{Owner: string(w.Owner), Title: string(w.Title), Folder: string(w.Folder), Protected: w.Protected.v,
		Expires: w.expires(), Date: r.date}, nil
}

func (c *Client) item(ctx context.Context, id rotate.ItemID) (wireItem, reply, error) {
	what := "read item " + string(id)
	var w wireItem
	r, err := c.do(ctx, call{op: opItem, what: what, path: "/content/items/" + url.PathEscape(string(id))}, &w)
	if err != nil {
		return wireItem{}, r, err
	}
	if w.Type == "" || w.Owner == "" {
		return wireItem{}, r, incomplete(what, "type or owner")
	}
	return w, r, nil
}

// owner is the name for paths: the owner's, never the signed-in user's.
func (c *Client) owner(ctx context.Context, id rotate.ID, owner string) (string, error) {
	if owner != "" {
		return owner, nil
	}
	w, _, err := c.item(ctx, id.Item)
	return string(w.Owner), err
}

func itemPath(owner string, id rotate.ItemID, verb string) string {
	return "/content/users/" + url.PathEscape(owner) + "/items/" + url.PathEscape(string(id)) + "/" + verb
}

// App reads the registered app. An answer without the slots' flags is CauseTooOld, an
// item without an app, or with a legacy one, CauseNotCredential.
func (c *Client) App(ctx context.Context, id rotate.ID, owner string) (rotate.App, error) {
	w, r, err := c.app(ctx, id, owner)
	if err != nil {
		return rotate.App{}, err
	}
	what := "read app of item " + string(id.Item)
	if w.AppType == "apikey" {
		return rotate.App{}, &rotate.Error{Op: what, Kind: rotate.KindPermanent, Cause: rotate.CauseNotCredential, Err: errors.New("it is a legacy api key")}
	}
	if w.Active1 == nil || w.Active2 == nil || !w.Active1.set || !w.Active2.set {
		return rotate.App{}, &rotate.Error{Op: what, Kind: rotate.KindPermanent, Cause: rotate.CauseTooOld, Err: errors.New("the app has no key slots")}
	}
	if w.ClientID == "" || w.ClientSecret == "" {
		return rotate.App{}, incomplete(what, "client_id or client_secret")
	}
	return rotate.App{ClientID: string(w.ClientID), ClientSecret: rotate.NewSecret(string(w.ClientSecret)),
		Active: [3]bool{1: w.Active1.v, 2: w.Active2.v}, Privileges: w.Privileges.v, Referrers: w.Referrers.v, Date: r.date}, nil
}

func (c *Client) app(ctx context.Context, id rotate.ID, owner string) (wireApp, reply, error) {
	owner, err := c.owner(ctx, id, owner)
	if err != nil {
		return wireApp{}, reply{}, err
	}
	var w wireApp
	r, err := c.do(ctx, call{op: opApp, what: "read app of item " + string(id.Item), path: itemPath(owner, id.Item, "registeredAppInfo"),
		refine: func(f *fault, e *rotate.Error) {
			// A plain 400 is what an item without a registered app answers (contract 4.2).
			if e.Kind == rotate.KindPermanent && e.Cause == rotate.CauseNone && f.Code == http.StatusBadRequest {
				e.Cause = rotate.CauseNotCredential
			}
		}}, &w)
	return w, r, err
}

// SetExpiry writes one slot's date on the item and nothing else. It is idempotent: an
// unknown outcome is transient.
func (c *Client) SetExpiry(ctx context.Context, id rotate.ID, owner string, slot rotate.Slot, expires time.Time) error {
	what := fmt.Sprintf("set expiry of slot %s of item %s", slot, id.Item)
	if !slot.Valid() || expires.IsZero() {
		return &rotate.Error{Op: what, Kind: rotate.KindPermanent, Err: errors.New("no slot or no date")}
	}
	owner, err := c.owner(ctx, id, owner)
	if err != nil {
		return err
	}
	var w wireSuccess
	_, err = c.do(ctx, call{op: opSetExpiry, what: what, path: itemPath(owner, id.Item, "update"), nature: settling,
		form: url.Values{"apiToken" + slot.String() + "ExpirationDate": {strconv.FormatInt(expires.UnixMilli(), 10)}},
		refine: func(f *fault, e *rotate.Error) {
			if e.Kind == rotate.KindPermanent && e.Cause == rotate.CauseNone && f.Code == http.StatusBadRequest && f.says("date", "expir") {
				e.Cause = rotate.CauseBadDate
			}
		}}, &w)
	if err != nil {
		return err
	}
	if !w.Success.v {
		return incomplete(what, "success")
	}
	return nil
}

func slotForm(app rotate.App, slot rotate.Slot) url.Values {
	return url.Values{"client_id": {app.ClientID}, "client_secret": {app.ClientSecret.Reveal()}, "apiToken": {slot.String()}}
}

func slotReady(what string, app rotate.App, slot rotate.Slot) error {
	if !slot.Valid() || app.ClientID == "" || app.ClientSecret.IsZero() {
		return &rotate.Error{Op: what, Kind: rotate.KindPermanent, Err: errors.New("no slot, client id or client secret")}
	}
	return nil
}

// Mint makes a new key in the slot and kills the one in it. It is sent at most once.
func (c *Client) Mint(ctx context.Context, id rotate.ID, app rotate.App, slot rotate.Slot) (rotate.Minted, error) {
	what := fmt.Sprintf("mint slot %s of item %s", slot, id.Item)
	if err := slotReady(what, app, slot); err != nil {
		return rotate.Minted{}, err
	}
	form := slotForm(app, slot)
	form.Set("regenerateApiToken", "true")
	form.Set("grant_type", "client_credentials")
	var w wireToken
	r, err := c.do(ctx, call{op: opMint, what: what, path: "/oauth2/token", nature: happening, anon: true, form: form,
		secrets: []string{app.ClientSecret.Reveal()}, refine: refineMint}, &w)
	if err != nil {
		return rotate.Minted{}, err
	}
	key := rotate.NewSecret(string(w.AccessToken))
	if err := mintedKey(what, key, app, slot); err != nil {
		return rotate.Minted{}, err
	}
	m := rotate.Minted{Key: key, Date: r.date}
	if life := seconds(w.ExpiresIn); life > 0 {
		m.Expires = r.portalTime().Add(life).UTC()
	}
	return m, nil
}

// mintedKey checks that the token answered is a key of this slot of this credential.
func mintedKey(what string, key rotate.Secret, app rotate.App, slot rotate.Slot) error {
	fp := key.Fingerprint()
	switch {
	case key.IsZero():
		return &rotate.Error{Op: what, Kind: rotate.KindUnknownOutcome, Cause: rotate.CauseNotAPortal, Err: errors.New("the answer has no access_token")}
	case fp.Slot() == rotate.NoSlot && !strings.HasPrefix(key.Reveal(), "AAPT"):
		// A portal that knows no slots takes apiToken for surplus and answers an app token.
		return &rotate.Error{Op: what, Kind: rotate.KindPermanent, Cause: rotate.CauseTooOld, Err: errors.New("the answer is a token, not an api key")}
	case fp.Slot() != slot || !strings.HasSuffix(app.ClientID, fp.ClientTail()):
		return &rotate.Error{Op: what, Kind: rotate.KindUnknownOutcome, Err: fmt.Errorf("the answer is key %s, of another slot or credential", fp)}
	}
	return nil
}

// refineMint: a client id or secret that the portal does not know was read from an app
// that has changed since, so that our read lost a race (KindConflict: read again). The
// only word for a refused date is in the message; no source quotes it.
func refineMint(f *fault, e *rotate.Error) {
	if e.Kind != rotate.KindPermanent || e.Cause != rotate.CauseNone {
		return
	}
	switch {
	case f.says("client_id", "client_secret", "client id", "client secret") || f.OAuth == "invalid_client":
		e.Kind = rotate.KindConflict
	case f.says("date", "expir"):
		e.Cause = rotate.CauseBadDate
	}
}

// Revoke kills the key in the slot. It is sent at most once.
func (c *Client) Revoke(ctx context.Context, id rotate.ID, app rotate.App, slot rotate.Slot) error {
	what := fmt.Sprintf("revoke slot %s of item %s", slot, id.Item)
	if err := slotReady(what, app, slot); err != nil {
		return err
	}
	var w wireSuccess
	_, err := c.do(ctx, call{op: opRevoke, what: what, path: "/oauth2/revokeToken", nature: happening, anon: true, form: slotForm(app, slot),
		secrets: []string{app.ClientSecret.Reveal()}, refine: refineMint}, &w)
	if err != nil {
		return err
	}
	if !w.Success.v {
		return &rotate.Error{Op: what, Kind: rotate.KindUnknownOutcome, Cause: rotate.CauseNotAPortal, Err: errors.New("the answer has no success")}
	}
	return nil
}

// Prove asks portals/self with the key. An answer without appInfo proves nothing: the
// portal also answers it to nobody, as when a proxy dropped the token.
func (c *Client) Prove(ctx context.Context, key rotate.Secret, referrer string) (rotate.Proof, error) {
	what := "prove key " + string(key.Fingerprint())
	if key.IsZero() {
		return rotate.Proof{}, &rotate.Error{Op: "prove key", Kind: rotate.KindPermanent, Err: errors.New("no key")}
	}
	var w wireSelf
	r, err := c.do(ctx, call{op: opProve, what: what, path: "/portals/self", token: key, referer: referrer}, &w)
	if rotate.KindOf(err) == rotate.KindAuth && r.fault.tokenRefused() {
		return rotate.Proof{Date: r.date}, nil
	}
	if err != nil {
		return rotate.Proof{}, err
	}
	info := w.AppInfo.v
	if info.AppID == "" {
		return rotate.Proof{}, incomplete(what, "appInfo")
	}
	return rotate.Proof{Valid: true, ClientID: string(info.AppID), Item: rotate.ItemID(info.ItemID), Expires: info.Expires.time(),
		Privileges: info.Privileges.v, Date: r.date}, nil
}

// Control asks portals/self with our own identity.
func (c *Client) Control(ctx context.Context) error {
	_, err := c.self(ctx, opControl, "ask portals/self")
	return err
}
