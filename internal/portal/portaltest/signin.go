package portaltest

import (
	"maps"
	"strings"
	"time"
)

// generateToken signs a built-in user in.
func (e *Emulator) generateToken(c *call) (any, error) {
	u := e.users[c.body.Get("username")]
	if u == nil || u.SSO || u.Password == "" || u.Password != c.body.Get("password") {
		return nil, badRequest("Unable to generate token.", "Invalid username or password.")
	}
	t := &token{kind: tokenUser, username: u.Username, passwordGeneration: u.passwordGeneration}
	switch c.form.Get("client") {
	case "referer":
		if t.referer = c.form.Get("referer"); t.referer == "" {
			return nil, badRequest("Unable to generate token.", "'referer' must be specified.")
		}
	case "ip":
		if t.ip = c.form.Get("ip"); t.ip == "" {
			return nil, badRequest("Unable to generate token.", "'ip' must be specified.")
		}
	default: // requestip, and what the portal takes it for
		t.ip = remoteIP(c.remote)
	}
	minutes := c.intParam("expiration", defaultTokenMinutes)
	if minutes <= 0 {
		minutes = defaultTokenMinutes
	}
	t.expires = c.now.Add(time.Duration(min(minutes, maxTokenMinutes)) * time.Minute)
	text := e.newToken(t)
	e.record(Event{Kind: EventSignedIn, Op: c.op, User: u.Username})
	return obj{"token": text, "expires": millis(t.expires), "ssl": true}, nil
}

func (e *Emulator) newToken(t *token) string {
	if e.issued++; e.issued%pruneTokens == 0 { // late enough that a refresh token is still told to have expired
		now := e.now()
		maps.DeleteFunc(e.tokens, func(_ string, t *token) bool { return now.After(t.expires.Add(maxRefreshLifetime)) })
	}
	text := e.tokenText()
	e.tokens[text] = t
	return text
}

// info is the root document that says where tokens come from.
func (e *Emulator) info(c *call) (any, error) {
	return obj{"owningSystemUrl": c.host + strings.TrimSuffix(e.root, "/sharing/rest"),
		"authInfo": obj{"tokenServicesUrl": c.host + e.root + "/generateToken", "isTokenBasedSecurity": true}}, nil
}

func (e *Emulator) portalSelf(c *call) (any, error) {
	if len(c.vars) > 0 && c.vars[0] != e.orgID && c.vars[0] != e.opts.Product.urlKey() {
		return nil, &apiError{code: 404, messageCode: "GWM_0002", message: "Organization does not exist or is inaccessible."}
	}
	self := obj{"id": e.orgID, "name": e.opts.OrgName, "isPortal": e.opts.Product.enterprise(),
		"currentVersion": e.opts.Product.version(), "portalHostname": strings.TrimPrefix(strings.TrimPrefix(c.host, "http://"), "https://"),
		"allSSL": true, "supportsOAuth": true}
	if !e.opts.Product.enterprise() {
		self["urlKey"], self["customBaseUrl"] = e.opts.Product.urlKey(), "maps.arcgis.com"
	}
	if c.id.anonymous() {
		return self, nil
	}
	self["maxTokenExpirationMinutes"] = -1
	self["subscriptionInfo"] = obj{"id": "0000000000", "type": e.opts.Product.subscription(), "state": "active", "expDate": millis(c.now.AddDate(1, 0, 0))}
	switch {
	case c.id.key != nil:
		self["appInfo"] = e.appInfo(c)
	case c.id.kind == tokenApp:
		return self, nil
	default:
		self["user"] = e.userJSON(c.id.user)
		if c.id.admin() && !e.opts.Product.enterprise() {
			self["availableCredits"] = 1000.0
		}
	}
	return self, nil
}

// appInfo is what the portal tells a key about itself.
func (e *Emulator) appInfo(c *call) obj {
	it, k := c.id.keyOf, c.id.key
	expires := int64(-1)
	if !k.expires.IsZero() {
		expires = millis(k.expires)
	}
	if k.slot > 0 && e.is(SwitchProveExpiration, "item") {
		expires = it.dates[k.slot-1]
	}
	return obj{"appId": it.app.clientID, "itemId": it.ID, "appOwner": it.Owner, "appTitle": it.Title, "orgId": e.orgID,
		"privileges": nonNil(it.app.privileges), "expirationDate": expires}
}

func (e *Emulator) communitySelf(c *call) (any, error) {
	if c.id.kind == tokenApp {
		return nil, forbidden()
	}
	u := e.userJSON(c.id.user)
	if c.id.key != nil {
		u["appInfo"] = e.appInfo(c)
	}
	return u, nil
}

func (e *Emulator) userInfo(c *call) (any, error) {
	u := e.users[c.vars[0]]
	if u == nil || c.id.anonymous() {
		return nil, &apiError{code: 400, messageCode: "COM_0018", message: textUserMissing}
	}
	o := e.userJSON(u)
	if u != c.id.user && e.is(SwitchUserPrivileges, "own_only") {
		delete(o, "privileges")
	}
	return o, nil
}

func (e *Emulator) userJSON(u *account) obj {
	return obj{"username": u.Username, "fullName": u.FullName, "email": u.Email, "role": u.Role, "roleId": u.Role,
		"orgId": e.orgID, "userLicenseTypeId": u.UserType, "privileges": nonNil(u.Privileges), "disabled": false,
		"provider": map[bool]string{false: "arcgis", true: "enterprise"}[u.SSO]}
}

// nonNil keeps an empty list from becoming JSON null.
func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
