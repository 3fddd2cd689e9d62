package portaltest

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// User is one account of the organisation.
type User struct {
	Username   string   `json:"username"`
	Password   string   `json:"-"`
	FullName   string   `json:"full_name"`
	Email      string   `json:"email"`
	Role       string   `json:"role"` // org_admin, org_publisher, org_user, or the id of a custom role
	UserType   string   `json:"user_type"`
	Privileges []string `json:"privileges"`
	// SSO accounts have no built-in login: generateToken fails, the OAuth form works.
	SSO bool `json:"sso"`
}

type account struct {
	User
	passwordGeneration int // rises with every password change; older tokens are dead
	folders            []folder
	items              []string // ids in order of creation
}

func (a *account) has(privilege string) bool { return slices.Contains(a.Privileges, privilege) }

func (a *account) folder(idOrTitle string) (folder, bool) {
	i := slices.IndexFunc(a.folders, func(f folder) bool { return f.ID == idOrTitle || f.Title == idOrTitle })
	if i < 0 {
		return folder{}, false
	}
	return a.folders[i], true
}

func (a *account) hasTitle(title string) bool {
	return slices.ContainsFunc(a.folders, func(f folder) bool { return f.Title == title })
}

type folder struct {
	ID       string `json:"id"`
	Title    string `json:"title"`
	Username string `json:"username"`
	Created  int64  `json:"created"`
}

// item is a portal item; the lookups e.items and e.clients hold it by id, so that a stale read can swap it.
type item struct {
	ID, Owner, Folder, Type, Title string
	Keywords, Tags                 []string
	fields                         map[string]string // description, snippet, url, properties and the like, as sent
	data                           string
	Created, Modified              time.Time
	Access                         string
	Protected                      bool
	dates                          [2]int64 // apiTokenNExpirationDate in epoch ms, -1 for none
	personal                       bool
	app                            *app
	org                            string   // of another organisation's item
	groups                         []string // ids of those that it is shared with
	prev                           *item    // as it was before its last effect; what a stale replica would still show
}

func (it *item) clone() *item {
	c := *it
	c.Keywords = slices.Clone(it.Keywords)
	c.Tags = slices.Clone(it.Tags)
	c.groups = slices.Clone(it.groups)
	c.fields = maps.Clone(it.fields)
	c.prev = nil
	if it.app != nil {
		a := *it.app
		a.redirectURIs = slices.Clone(it.app.redirectURIs)
		a.referrers = slices.Clone(it.app.referrers)
		a.privileges = slices.Clone(it.app.privileges)
		c.app = &a
	}
	return &c
}

func (it *item) addKeyword(word string) {
	if !slices.ContainsFunc(it.Keywords, func(k string) bool { return strings.EqualFold(k, word) }) {
		it.Keywords = append(it.Keywords, word)
		slices.Sort(it.Keywords)
	}
}

// legacy says that the item is an API key of the retired kind.
func (it *item) legacy() bool { return it.Type == "API Key" }

type app struct {
	clientID, secret     string
	appType              string
	redirectURIs         []string
	referrers            []string
	privileges           []string
	registered, modified time.Time
	personal             bool
	slots                [2]*key // nil: no active key
	legacyKey            *key
}

// grantsItem says whether the app's privileges name the item.
func (a *app) grantsItem(id string) bool { return slices.Contains(a.privileges, itemGrantPrefix+id) }

const itemGrantPrefix = "portal:app:access:item:"

// key is one key ever made. Whether it is alive is decided by the slot that points at it.
type key struct {
	secret     string
	itemID     string
	clientID   string
	slot       int // 0 for a legacy key
	minted     time.Time
	expires    time.Time
	ended      time.Time
	endedBy    string
	outOfBand  bool
	neverValid bool
}

type tokenKind string

const (
	tokenUser    tokenKind = "generate_token"
	tokenOAuth   tokenKind = "oauth_user"
	tokenApp     tokenKind = "app"
	tokenRefresh tokenKind = "refresh"
	tokenCode    tokenKind = "code"
)

type token struct {
	kind               tokenKind
	username           string
	passwordGeneration int
	clientID           string
	referer, ip        string
	expires            time.Time
	redirectURI        string
	challenge, method  string        // PKCE, of a code
	refreshFor         time.Duration // lifetime of the refresh token a code gives
}

func millis(t time.Time) int64 { return t.UnixMilli() }

func tail(secret string) string {
	if len(secret) <= 12 {
		return secret
	}
	return secret[len(secret)-12:]
}
