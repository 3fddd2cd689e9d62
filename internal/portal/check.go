package portal

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// Product is which kind of portal it is.
type Product string

// The products.
const (
	LocationPlatform Product = "location_platform"
	Online           Product = "online"
	Enterprise       Product = "enterprise"
)

// Self is who we are at the portal, and what it says about itself.
type Self struct {
	Product    Product
	OrgID      string
	OrgName    string
	Version    string
	User       string // the key's owner, where the identity is an API key
	Role       string
	Privileges []string
	KeyItem    rotate.ItemID // the credential of the API key we use, if we use one
	// MaxTokenMinutes caps our sign-in; 0 is no cap or not told.
	MaxTokenMinutes int
	Date            time.Time

	pages string
}

const roleAdmin = "org_admin"

// Admin tells whether we sign in as an administrator of the organisation.
func (s Self) Admin() bool { return s.KeyItem == "" && s.Role == roleAdmin }

// Has tells whether our identity carries the privilege.
func (s Self) Has(privilege string) bool { return slices.Contains(s.Privileges, privilege) }

// SeesAll tells whether private items of others are visible to us.
func (s Self) SeesAll() bool { return s.Admin() || s.Has(privViewAll) }

// ItemPage is the item's page for people.
func (s Self) ItemPage(id rotate.ItemID) string {
	return s.pages + "/home/item.html?id=" + url.QueryEscape(string(id)) + "#settings"
}

// Whoami asks portals/self, and community/self where that names neither user nor owner.
func (c *Client) Whoami(ctx context.Context) (Self, error) {
	w, err := c.self(ctx, opSelf, "ask portals/self")
	if err != nil {
		return Self{}, err
	}
	if w.User.v.Username == "" && w.AppInfo.v.Owner == "" {
		var u struct {
			wireUser
			AppInfo loose[wireAppInfo] `json:"appInfo"`
		}
		if _, err := c.do(ctx, call{op: opUser, what: "ask community/self", path: "/community/self"}, &u); err != nil {
			return Self{}, err
		}
		w.User = loose[wireUser]{u.wireUser, true}
		if !w.AppInfo.set {
			w.AppInfo = u.AppInfo
		}
	}
	return c.selfOf(w), nil
}

type selfAnswer struct {
	wireSelf
	date time.Time
}

// self asks portals/self. The portal answers it to nobody too, so a token that was
// lost on the way shows in the missing user and appInfo only.
func (c *Client) self(ctx context.Context, op, what string) (selfAnswer, error) {
	var w wireSelf
	r, err := c.do(ctx, call{op: op, what: what, path: "/portals/self"}, &w)
	if err != nil {
		return selfAnswer{}, err
	}
	if w.ID == "" {
		return selfAnswer{}, incomplete(what, "id")
	}
	return selfAnswer{w, r.date}, nil
}

func (c *Client) selfOf(w selfAnswer) Self {
	s := Self{Product: Online, OrgID: string(w.ID), OrgName: string(w.Name), Version: string(w.Version), User: string(w.User.v.Username),
		Role: string(w.User.v.Role), Privileges: w.User.v.Privileges.v, Date: w.date, MaxTokenMinutes: int(max(0, w.MaxTokenMinutes.v))}
	switch {
	case w.IsPortal.v:
		s.Product = Enterprise
	case strings.Contains(strings.ToLower(string(w.Subscription.v.Type)), "location platform"):
		s.Product = LocationPlatform
	}
	if info := w.AppInfo.v; info.AppID != "" {
		// What counts is what the key may do, not what its owner may.
		s.KeyItem, s.Privileges = rotate.ItemID(info.ItemID), info.Privileges.v
		s.User = orElse(string(info.Owner), s.User)
	}
	s.pages = c.root.Scheme + "://" + c.root.Host + strings.TrimSuffix(c.root.Path, restRoot)
	if w.URLKey != "" && w.CustomBase != "" && s.Product != Enterprise {
		s.pages = "https://" + string(w.URLKey) + "." + string(w.CustomBase)
	}
	return s
}

// Verb is what an identity shall be able to do.
type Verb string

// The verbs.
const (
	VerbWatch  Verb = "watch"
	VerbRotate Verb = "rotate"
	VerbCreate Verb = "create"
)

// Severity of a finding.
type Severity string

// The severities: with an error the item cannot be handled as asked.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
	SeverityInfo    Severity = "info"
)

// Finding is one thing that an online check has to say.
type Finding struct {
	Severity Severity
	Item     rotate.ItemID // "" for the portal as a whole
	Sentence string
	Cure     string // "" where there is none
}

// CheckItem is one configured credential.
type CheckItem struct {
	Item  rotate.ItemID
	Owner string // as configured; "" if it is not
}

// CheckRequest says what shall be possible.
type CheckRequest struct {
	Items []CheckItem
	Verb  Verb
}

const (
	privGenerate = "portal:user:generateApiTokens"
	privAssign   = "portal:user:assignPrivilegesToApps"
	privCreate   = "portal:user:createItem"
	privViewAll  = "portal:admin:viewItems"
	privEditAll  = "portal:admin:updateItems"
	grantPrefix  = "portal:app:access:item:"

	maxSkew = 5 * time.Minute
)

// needs is the table of rights: what an identity must carry at a product for a verb.
// A Location Platform account has the rights by default and lists not all of them
// (contract 2.3); an API key manages by the two administrative privileges or by grants
// of the items (2.4), and no source shows one that creates credentials.
func needs(p Product, key bool, v Verb) (privileges []string, possible bool) {
	switch {
	case key && v == VerbCreate:
		return nil, false
	case key && v == VerbWatch:
		return []string{privViewAll}, true
	case key:
		return []string{privViewAll, privEditAll}, true
	case v == VerbWatch || p == LocationPlatform:
		return nil, true
	}
	return []string{privGenerate, privAssign, privCreate}, true
}

// Check asks the portal whether what the config wants is possible. It changes nothing.
func (c *Client) Check(ctx context.Context, r CheckRequest) []Finding {
	self, err := c.Whoami(ctx)
	if err != nil {
		return []Finding{c.portalFinding(err)}
	}
	k := &checker{c: c, self: self, verb: r.Verb}
	k.rights()
	k.clock()
	k.tokenLife()
	for _, item := range r.Items {
		if ctx.Err() != nil {
			k.add(SeverityError, item.Item, "The check was stopped before this item.", "")
			break
		}
		k.item(ctx, item)
	}
	return k.findings
}

// portalFinding is the one sentence for a portal that cannot be asked anything.
func (c *Client) portalFinding(err error) Finding {
	f := Finding{Severity: SeverityError}
	switch {
	case rotate.CauseOf(err) == rotate.CauseNotAPortal:
		f.Sentence = "What answers at " + c.root.String() + " is not an ArcGIS portal: " + err.Error() + "."
		f.Cure = "Set url to the portal's address, as in https://host/portal or https://www.arcgis.com."
	case rotate.KindOf(err) == rotate.KindAuth:
		f.Sentence = "The portal refuses our identity: " + err.Error() + "."
		f.Cure = "Check user name and secret; accounts of a single sign-on or with a second factor need an OAuth refresh token (rotatord login)."
	case rotate.CauseOf(err) == rotate.CauseUnreachable:
		f.Sentence = "The portal at " + c.root.Host + " cannot be reached: " + err.Error() + "."
		f.Cure = "Check name, network, proxy and certificate."
	default:
		f.Sentence = "The portal cannot be asked just now: " + err.Error() + "."
		f.Cure = "Try again later."
	}
	return f
}

type checker struct {
	c        *Client
	self     Self
	verb     Verb
	findings []Finding
}

func (k *checker) add(s Severity, item rotate.ItemID, sentence, cure string) {
	k.findings = append(k.findings, Finding{Severity: s, Item: item, Sentence: sentence, Cure: cure})
}

// rights names each missing privilege. An API key's are judged item by item, as a grant
// of the item serves as well.
func (k *checker) rights() {
	wanted, possible := needs(k.self.Product, k.self.KeyItem != "", k.verb)
	if !possible {
		k.add(SeverityError, "", "An API key cannot "+string(k.verb)+" credentials.", "Use a user with the three privileges, by password or refresh token.")
		return
	}
	if k.self.KeyItem != "" {
		return
	}
	if k.self.User == "" {
		k.add(SeverityError, "", "The portal does not say who we are: our token was lost on the way or is an app's.", "Check proxies that strip request bodies, and the kind of identity.")
		return
	}
	for _, p := range wanted {
		if !k.self.Has(p) {
			k.add(SeverityError, "", fmt.Sprintf("User %s lacks the privilege %s, which %s needs.", k.self.User, p, k.verb),
				"Give the user a role with it, such as a custom role of user type Creator.")
		}
	}
}

func (k *checker) clock() {
	offset, _, ok := k.c.Clock()
	switch {
	case !ok:
		k.add(SeverityWarning, "", "The portal's answers carry no Date, so that its clock cannot be compared and no key will be retired.", "Let proxies pass the Date header.")
	case offset.Abs() > maxSkew:
		word := "ahead of"
		if offset < 0 {
			word = "behind"
		}
		k.add(SeverityError, "", fmt.Sprintf("The portal's clock is %s %s ours, which blocks retiring.", offset.Abs().Round(time.Second), word), "Synchronise this machine's clock.")
	}
}

func (k *checker) tokenLife() {
	p := k.c.opts.Identity.Password
	if p == nil {
		return
	}
	asked := orElse(p.Minutes, defaultMinutes)
	if k.self.MaxTokenMinutes > 0 && k.self.MaxTokenMinutes < asked {
		k.add(SeverityWarning, "", fmt.Sprintf("The organisation caps tokens at %d minutes, less than the %d asked for.", k.self.MaxTokenMinutes, asked),
			"Nothing breaks: rotatord signs in more often.")
	}
}

func (k *checker) item(ctx context.Context, item CheckItem) {
	w, _, err := k.c.item(ctx, item.Item)
	if err != nil {
		k.itemError(item, err)
		return
	}
	if w.Type == typeLegacyKey {
		k.add(SeverityError, item.Item, "The item is a legacy API key, which has no slots and cannot be rotated.", "Create API key credentials in its place.")
		return
	}
	if w.Type != typeApplication {
		k.add(SeverityError, item.Item, "The item is neither an application nor a key, so it is not API key credentials.", "Correct the item id.")
		return
	}
	if item.Owner != "" && item.Owner != string(w.Owner) {
		k.add(SeverityWarning, item.Item, fmt.Sprintf("The item belongs to %s, not to %s.", w.Owner, item.Owner), "Correct the portal user in the config; the portal's word is used.")
	}
	if w.Protected.v {
		k.add(SeverityInfo, item.Item, "The item is protected against deletion, which does not hinder rotation.", "")
	}
	if !k.mayManage(item.Item, string(w.Owner)) {
		return
	}
	app, _, err := k.c.app(ctx, rotate.ID{Item: item.Item}, string(w.Owner))
	if err != nil {
		k.itemError(item, err)
		return
	}
	k.app(item.Item, w, app)
}

// mayManage says whether our identity can do the verb on the item, and if not, why.
func (k *checker) mayManage(item rotate.ItemID, owner string) bool {
	if k.self.KeyItem == "" {
		if owner != k.self.User && !k.self.SeesAll() {
			k.add(SeverityError, item, fmt.Sprintf("The item belongs to %s, and %s is no administrator.", owner, k.self.User),
				"Sign in as the owner or as an administrator.")
			return false
		}
		return true
	}
	if k.self.Has(grantPrefix + string(item)) {
		return true
	}
	wanted, _ := needs(k.self.Product, true, k.verb)
	for _, p := range wanted {
		if !k.self.Has(p) {
			k.add(SeverityError, item, fmt.Sprintf("Our API key neither has a grant of the item nor the privilege %s.", p),
				"Give the key's credential the privilege or the grant; that ends its present keys.")
			return false
		}
	}
	return true
}

func (k *checker) app(item rotate.ItemID, w wireItem, app wireApp) {
	switch {
	case app.AppType == "apikey":
		k.add(SeverityError, item, "The item is a legacy API key, which has no slots and cannot be rotated.", "Create API key credentials in its place.")
	case app.Active1 == nil || app.Active2 == nil:
		k.add(SeverityError, item, fmt.Sprintf("The portal is too old for API key credentials (version %s): its app has no key slots.", orElse(k.self.Version, "unknown")),
			"Use ArcGIS Enterprise 11.4 or later.")
	case app.ClientID == "" || app.ClientSecret == "":
		k.add(SeverityError, item, "The portal does not show us the app's client id and secret.", "Sign in as the owner or as an administrator.")
	case w.hasKeyword(keywordToken):
	case signsPeopleIn(app):
		k.add(SeverityError, item, "The item is an OAuth app, not API key credentials: it has redirect addresses and never had a key.", "Correct the item id.")
	default:
		k.add(SeverityWarning, item, "The item never had an API key; it may be an OAuth app.", "Make sure that it is API key credentials before it is rotated.")
	}
}

// outOfBand is the redirect address that every client gives API key credentials.
const outOfBand = "urn:ietf:wg:oauth:2.0:oob"

func signsPeopleIn(app wireApp) bool {
	for _, u := range app.RedirectURIs.v {
		if !strings.EqualFold(u, outOfBand) {
			return true
		}
	}
	return false
}

func (k *checker) itemError(item CheckItem, err error) {
	switch rotate.CauseOf(err) {
	case rotate.CauseNotFound:
		k.add(SeverityError, item.Item, "The item does not exist or is not visible to us.", "Check the item id, and that our identity is its owner or an administrator.")
	case rotate.CauseForbidden:
		if k.verb == VerbWatch {
			k.add(SeverityWarning, item.Item, fmt.Sprintf("%s may not read the item's app: its dates can be watched, its slots' flags cannot.", orElse(k.self.User, "Our identity")),
				"Sign in as the owner or as an administrator.")
			return
		}
		k.add(SeverityError, item.Item, fmt.Sprintf("%s may not read the item's app.", orElse(k.self.User, "Our identity")), "Sign in as the owner or as an administrator.")
	case rotate.CauseNotCredential:
		k.add(SeverityError, item.Item, "The item has no registered app, so it is not API key credentials.", "Correct the item id.")
	default:
		k.add(SeverityError, item.Item, "The item cannot be read just now: "+err.Error()+".", "Try again later.")
	}
}
