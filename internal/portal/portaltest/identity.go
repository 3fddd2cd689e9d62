package portaltest

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// identity is who sends a request: nobody, a user, an app, or an API key.
type identity struct {
	user  *account // the signed-in user; for an app or key the owner
	kind  tokenKind
	key   *key
	keyOf *item // the credential of the key
}

func (id identity) anonymous() bool { return id.user == nil && id.key == nil }

// admin says whether the identity administers the organisation as a signed-in user.
func (id identity) admin() bool {
	return id.user != nil && id.key == nil && id.kind != tokenApp && id.user.Role == roleAdmin
}

// has says whether the identity carries the privilege itself.
func (id identity) has(privilege string) bool {
	switch {
	case id.key != nil:
		return id.keyOf != nil && slices.Contains(id.keyOf.app.privileges, privilege)
	case id.user == nil:
		return false
	}
	return id.user.has(privilege)
}

// identify resolves the request's token; the caller holds e.mu.
func (c *call) identify() error {
	if c.token == "" {
		return nil
	}
	if looksLikeKey(c.token) {
		return c.identifyKey()
	}
	t := c.e.tokens[c.token]
	if t == nil || t.kind == tokenRefresh || t.kind == tokenCode || !c.now.Before(t.expires) {
		return invalidToken()
	}
	if t.referer != "" && !refererMatches(t.referer, c.header.Get("Referer")) || t.ip != "" && t.ip != remoteIP(c.remote) {
		return invalidToken()
	}
	id := identity{kind: t.kind, user: c.e.users[t.username]}
	if id.user == nil || t.kind != tokenApp && t.passwordGeneration != id.user.passwordGeneration {
		return invalidToken()
	}
	c.id = id
	return nil
}

func (c *call) identifyKey() error {
	k := c.e.keys[c.token]
	if k == nil {
		return invalidToken()
	}
	if usable, _ := c.e.keyUsable(k, c.now); !usable {
		return invalidToken()
	}
	it := c.e.items[k.itemID]
	if it == nil || it.app == nil || !referrerAllowed(it.app.referrers, c.header.Get("Referer")) {
		return invalidToken()
	}
	c.id = identity{kind: tokenUser, key: k, keyOf: it, user: c.e.users[it.Owner]}
	return nil
}

// keyState says whether a key is in force, and if not, why; the caller holds e.mu.
func (e *Emulator) keyState(k *key, now time.Time) (valid bool, why string) {
	it := e.items[k.itemID]
	switch {
	case k.endedBy != "" && (it == nil || !it.holds(k)):
		return false, k.endedBy
	case it == nil || it.app == nil || !it.holds(k):
		return false, "gone"
	case !k.expires.IsZero() && !now.Before(k.expires):
		return false, "expired"
	}
	return true, ""
}

func (it *item) holds(k *key) bool {
	if it.app == nil {
		return false
	}
	return it.app.legacyKey == k || slices.Contains(it.app.slots[:], k)
}

// keyUsable is keyState with the propagation switches: what a request with the key meets.
func (e *Emulator) keyUsable(k *key, now time.Time) (usable bool, why string) {
	if now.Before(k.minted.Add(e.duration(SwitchKeyPropagation))) {
		return false, "not there yet"
	}
	usable, why = e.keyState(k, now)
	if !usable && !k.ended.IsZero() && !k.neverValid && now.Before(k.ended.Add(e.duration(SwitchRevokePropagation))) &&
		(k.expires.IsZero() || now.Before(k.expires)) && e.items[k.itemID] != nil && e.items[k.itemID].app != nil {
		return true, ""
	}
	return usable, why
}

func remoteIP(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

// refererMatches compares the referer of a token with that of a request: same host and port, trailing slash and path
// left aside, as rest-js in a browser sends its page and not its origin.
func refererMatches(bound, sent string) bool {
	if sent == "" {
		return false
	}
	return strings.EqualFold(strings.TrimRight(bound, "/"), strings.TrimRight(sent, "/")) ||
		hostOf(bound) != "" && strings.EqualFold(hostOf(bound), hostOf(sent))
}

func hostOf(referer string) string {
	u, err := url.Parse(referer)
	if err != nil {
		return ""
	}
	return u.Host
}

// referrerAllowed applies an app's referrer list: the host must match, *. stands for any subdomain, and a scheme or path
// in the entry must match as a prefix. A missing header fails on any list that is not empty.
func referrerAllowed(list []string, sent string) bool {
	if len(list) == 0 {
		return true
	}
	got, err := url.Parse(sent)
	if err != nil || got.Host == "" {
		return false
	}
	return slices.ContainsFunc(list, func(entry string) bool { return referrerMatches(entry, got) })
}

func referrerMatches(entry string, got *url.URL) bool {
	scheme, rest, hasScheme := strings.Cut(entry, "://")
	if !hasScheme {
		scheme, rest = "", entry
	}
	host, path, hasPath := strings.Cut(rest, "/")
	if scheme != "" && !strings.EqualFold(scheme, got.Scheme) {
		return false
	}
	if hasPath && path != "" && path != "*" && !strings.HasPrefix(strings.TrimPrefix(got.Path, "/"), strings.TrimSuffix(path, "*")) {
		return false
	}
	if suffix, wild := strings.CutPrefix(host, "*."); wild {
		return strings.HasSuffix(strings.ToLower(got.Host), "."+strings.ToLower(suffix))
	}
	return host == "*" || strings.EqualFold(host, got.Host) || strings.EqualFold(host, got.Hostname())
}
