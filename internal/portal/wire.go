package portal

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The portal's answers are decoded tolerantly: a member of an unexpected type reads as
// absent, and what is relied upon is checked where it is used.

// number reads 5, 5.0, "5" and null; anything else is 0 and not set.
type number struct {
	v   int64
	set bool
}

func (n *number) UnmarshalJSON(raw []byte) error {
	*n = number{}
	text := strings.Trim(string(raw), `" `)
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		*n = number{v, true}
		return nil
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && math.Abs(f) < 1<<62 {
		*n = number{int64(f), true}
	}
	return nil
}

// time of epoch milliseconds; zero for -1, 0 and absent.
func (n number) time() time.Time {
	if n.v <= 0 || n.v > maxMillis {
		return time.Time{}
	}
	return time.UnixMilli(n.v).UTC()
}

// maxMillis is the end of the year 9999: what lies beyond is no date.
const maxMillis = 253402300799999

// truth reads true, "true" and 1.
type truth struct{ v, set bool }

func (t *truth) UnmarshalJSON(raw []byte) error {
	*t = truth{}
	switch strings.ToLower(strings.Trim(string(raw), `" `)) {
	case "true", "1":
		*t = truth{true, true}
	case "false", "0":
		*t = truth{false, true}
	}
	return nil
}

// text reads a string or a number.
type text string

func (t *text) UnmarshalJSON(raw []byte) error {
	*t = ""
	if n := len(raw); n >= 2 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		*t = text(raw[1 : n-1])
		return nil
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		*t = text(s)
		return nil
	}
	if len(raw) > 0 && raw[0] != '{' && raw[0] != '[' && !bytes.Equal(raw, []byte("null")) {
		*t = text(raw)
	}
	return nil
}

// ident reads an id of an item or an app, which errors, history and pages repeat: it is
// 32 hex digits or 16 letters and digits, and nothing that has the form of a key.
type ident string

const longestIdent = 32

func (id *ident) UnmarshalJSON(raw []byte) error {
	var t text
	_ = t.UnmarshalJSON(raw) // a text takes any value
	if *id = ident(t); len(t) > longestIdent || strings.IndexFunc(string(t), isNotAlnum) >= 0 {
		*id = ""
	}
	return nil
}

func isNotAlnum(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// list reads an array of strings, one string, or null.
type list struct {
	v   []string
	set bool
}

func (l *list) UnmarshalJSON(raw []byte) error {
	*l = list{}
	var many []text
	if json.Unmarshal(raw, &many) == nil {
		if many == nil {
			return nil
		}
		l.v, l.set = make([]string, len(many)), true
		for i, s := range many {
			l.v[i] = string(s)
		}
		return nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil && one != "" {
		l.v, l.set = []string{one}, true
	}
	return nil
}

// loose reads an object into T and leaves T zero for anything else.
type loose[T any] struct {
	v   T
	set bool
}

func (l *loose[T]) UnmarshalJSON(raw []byte) error {
	*l = loose[T]{}
	if len(raw) == 0 || raw[0] != '{' {
		return nil
	}
	if l.set = json.Unmarshal(raw, &l.v) == nil; !l.set {
		*l = loose[T]{}
	}
	return nil
}

// many reads an array of objects and drops what is none.
type many[T any] []T

func (m *many[T]) UnmarshalJSON(raw []byte) error {
	*m = nil
	if json.Unmarshal(raw, (*[]T)(m)) == nil {
		return nil
	}
	*m = nil
	var rows []loose[T]
	if json.Unmarshal(raw, &rows) != nil {
		rows = nil
	}
	for _, r := range rows {
		if r.set {
			*m = append(*m, r.v)
		}
	}
	return nil
}

type wireToken struct {
	Token                 text   `json:"token"`
	Expires               number `json:"expires"` // epoch ms
	AccessToken           text   `json:"access_token"`
	ExpiresIn             number `json:"expires_in"` // seconds
	RefreshToken          text   `json:"refresh_token"`
	RefreshTokenExpiresIn number `json:"refresh_token_expires_in"`
	Username              text   `json:"username"`
}

type wireApp struct {
	ItemID       ident  `json:"itemId"`
	ClientID     ident  `json:"client_id"`
	ClientSecret text   `json:"client_secret"`
	AppType      text   `json:"appType"`
	RedirectURIs list   `json:"redirect_uris"`
	Referrers    list   `json:"httpReferrers"`
	Privileges   list   `json:"privileges"`
	Active1      *truth `json:"apiToken1Active"`
	Active2      *truth `json:"apiToken2Active"`
}

type wireItem struct {
	ID        text   `json:"id"`
	Owner     text   `json:"owner"`
	Title     text   `json:"title"`
	Type      text   `json:"type"`
	Keywords  list   `json:"typeKeywords"`
	Folder    text   `json:"ownerFolder"`
	Protected truth  `json:"protected"`
	Created   number `json:"created"`
	Expires1  number `json:"apiToken1ExpirationDate"`
	Expires2  number `json:"apiToken2ExpirationDate"`
}

func (w wireItem) expires() [3]time.Time {
	return [3]time.Time{1: w.Expires1.time(), 2: w.Expires2.time()}
}

const (
	typeApplication = "Application"
	typeLegacyKey   = "API Key"
	keywordToken    = "APIToken"
	keywordApp      = "Registered App"
)

func (w wireItem) hasKeyword(word string) bool {
	for _, k := range w.Keywords.v {
		if strings.EqualFold(k, word) {
			return true
		}
	}
	return false
}

type wireAppInfo struct {
	AppID      ident  `json:"appId"`
	ItemID     ident  `json:"itemId"`
	Owner      text   `json:"appOwner"`
	Privileges list   `json:"privileges"`
	Expires    number `json:"expirationDate"`
}

type wireUser struct {
	Username   text `json:"username"`
	Role       text `json:"role"`
	OrgID      text `json:"orgId"`
	Privileges list `json:"privileges"`
}

type wireSelf struct {
	ID              text               `json:"id"`
	Name            text               `json:"name"`
	URLKey          text               `json:"urlKey"`
	CustomBase      text               `json:"customBaseUrl"`
	IsPortal        truth              `json:"isPortal"`
	Version         text               `json:"currentVersion"`
	MaxTokenMinutes number             `json:"maxTokenExpirationMinutes"`
	User            loose[wireUser]    `json:"user"`
	AppInfo         loose[wireAppInfo] `json:"appInfo"`
	Subscription    loose[struct {
		Type text `json:"type"`
	}] `json:"subscriptionInfo"`
}

type wireSuccess struct {
	Success truth `json:"success"`
}

type wirePage struct {
	Total   number         `json:"total"`
	Next    number         `json:"nextStart"`
	Results many[wireItem] `json:"results"` // search
	Items   many[wireItem] `json:"items"`   // content/users
	Folders many[struct {
		ID text `json:"id"`
	}] `json:"folders"`
}

type wireKeys struct {
	Next  number         `json:"nextStart"`
	Total number         `json:"total"`
	Items *many[wireKey] `json:"items"`   // portals/self/apiTokens
	Keys  many[wireKey]  `json:"apiKeys"` // portals/self/apiKeys
}

// wireKey is one key of portals/self/apiTokens; no page documents it, and the client
// id's name is not known for certain.
type wireKey struct {
	ItemID    text   `json:"itemId"`
	Title     text   `json:"title"`
	Owner     text   `json:"owner"`
	ClientID  text   `json:"clientId"`
	ClientID2 text   `json:"client_id"`
	Slot      number `json:"apiToken"`
	Expires   number `json:"expirationDate"`
}
