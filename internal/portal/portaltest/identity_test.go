package portaltest

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{})
		c := &caller{t: t, e: e, referer: testReferer}
		ask := func(pairs ...string) []string {
			return append([]string{"username", AdminUser, "password", StandardPassword, "client", "referer", "referer", testReferer}, pairs...)
		}
		for name, pairs := range map[string][]string{
			"wrong password": ask("password", "wrong"), "wrong case": ask("username", "OPS_ADMIN"),
			"single sign-on": ask("username", SSOUser), "no referer": ask("referer", ""),
		} {
			if got := c.refused("generateToken", pairs...); got != "400 Unable to generate token." {
				t.Errorf("%s: %s", name, got)
			}
		}
		for minutes, want := range map[string]time.Duration{"5": 5 * time.Minute, "": time.Hour, "99999999": maxTokenMinutes * time.Minute} {
			got := c.ok("generateToken", ask("expiration", minutes)...)
			if end := time.UnixMilli(int64(got["expires"].(float64))); end.Sub(e.Now()).Round(time.Second) != want {
				t.Errorf("expiration %q lasts %v, want %v", minutes, end.Sub(e.Now()), want)
			}
		}
		token := c.ok("generateToken", ask("expiration", "5")...)["token"].(string)
		c.as(token).ok("community/self")
		other := c.as(token)
		other.referer = "https://elsewhere.test"
		if got := other.refused("community/self"); got != "498 Invalid token." {
			t.Errorf("other referer: %s", got)
		}
		pass(5 * time.Minute)
		if got := c.as(token).refused("community/self"); got != "498 Invalid token." {
			t.Errorf("expired: %s", got)
		}
	})
}

func TestTokenByAddress(t *testing.T) {
	e := New(Options{})
	c := &caller{t: t, e: e}
	pairs := []string{"username", AdminUser, "password", StandardPassword, "client", "ip", "ip", "192.0.2.7"}
	token := c.ok("generateToken", pairs...)["token"].(string)
	if got := c.as(token).refused("community/self"); got != "498 Invalid token." {
		t.Errorf("from another address: %s", got)
	}
	token = c.ok("generateToken", append(pairs, "client", "requestip")...)["token"].(string)
	c.as(token).ok("community/self")
}

func TestPasswordChangeEndsTokens(t *testing.T) {
	e := New(Options{})
	c := signedIn(t, e, AdminUser)
	e.SetPassword(AdminUser, "another")
	if got := c.refused("community/self"); got != "498 Invalid token." {
		t.Errorf("old token: %s", got)
	}
}

// Who may do what with a credential of the creator.
func TestRights(t *testing.T) {
	rights := map[string]map[string]string{
		AdminUser:   {"item": "ok", "info": "ok", "date": "ok", "app": "ok", "add": "ok", "search": "1", "content": "ok"},
		CreatorUser: {"item": "ok", "info": "ok", "date": "ok", "app": "ok", "add": "ok", "search": "1", "content": "ok"},
		ViewerUser:  {"item": "400", "info": "403", "date": "400", "app": "403", "add": "403", "search": "0", "content": "403"},
		"":          {"item": "499", "info": "499", "date": "499", "app": "499", "add": "499", "search": "0", "content": "499"},
	}
	for user, wanted := range rights {
		t.Run("user "+user, func(t *testing.T) {
			e := New(Options{})
			cred := e.AddCredential(CredentialSeed{Title: "theirs", Owner: CreatorUser})
			c := &caller{t: t, e: e, referer: testReferer}
			if user != "" {
				c = signedIn(t, e, user)
			}
			own := CreatorUser
			if user == ViewerUser {
				own = ViewerUser // nobody adds to another's content, this user not even to the own
			}
			path := "content/users/" + CreatorUser
			for name, ask := range map[string][]string{
				"item": {"content/items/" + cred.ItemID}, "info": {path + "/items/" + cred.ItemID + "/registeredAppInfo"},
				"date": {path + "/items/" + cred.ItemID + "/update", dateParam(1), "1893456000000"},
				"app":  {"oauth2/apps/" + cred.ClientID}, "add": {"content/users/" + own + "/addItem", "type", "Web Map", "title", "t"},
				"content": {path},
			} {
				got, _, err := c.send(t.Context(), ask[0], ask[1:]...)
				if err != nil {
					t.Fatal(err)
				}
				code := "ok"
				if got["error"] != nil {
					code = c.refused(ask[0], ask[1:]...)[:3]
				}
				if code != wanted[name] {
					t.Errorf("%s: %s, want %s", name, code, wanted[name])
				}
			}
			total := c.ok("search", "q", `id:"`+cred.ItemID+`"`)["total"].(float64)
			if got := string(rune('0' + int(total))); got != wanted["search"] {
				t.Errorf("search finds %s, want %s", got, wanted["search"])
			}
		})
	}
}

// A creator who lacks one of the privileges is refused where it matters.
func TestMissingPrivileges(t *testing.T) {
	without := func(gone string) *caller {
		e := New(Options{})
		for _, u := range e.Users() {
			if u.Username == CreatorUser {
				u.Password = StandardPassword
				var kept []string
				for _, p := range u.Privileges {
					if p != gone {
						kept = append(kept, p)
					}
				}
				u.Privileges = kept
				e.AddUser(u)
			}
		}
		return signedIn(t, e, CreatorUser)
	}
	c := without(privilegeCreate)
	if got := c.refused("content/users/"+CreatorUser+"/addItem", "type", "Application", "title", "t"); got[:3] != "403" {
		t.Errorf("without createItem: %s", got)
	}
	c = without(privilegeGenerate)
	cred := c.e.AddCredential(CredentialSeed{Title: "t", Owner: CreatorUser})
	if got := c.refused("content/users/"+CreatorUser+"/items/"+cred.ItemID+"/update", dateParam(1), "1893456000000"); got[:3] != "403" {
		t.Errorf("without generateApiTokens: %s", got)
	}
	c = without(privilegeAssign)
	id := c.ok("content/users/"+CreatorUser+"/addItem", "type", "Application", "title", "t")["id"].(string)
	if got := c.refused("oauth2/registerApp", registerPairs(id, `["premium:user:basemaps"]`)...); got[:3] != "403" {
		t.Errorf("without assignPrivilegesToApps: %s", got)
	}
}

func TestReferrers(t *testing.T) {
	rows := []struct {
		name   string
		list   []string
		sent   string
		passes bool
	}{
		{"no list, no header", nil, "", true},
		{"list, no header", []string{"https://a.test"}, "", false},
		{"same origin", []string{"https://a.test"}, "https://a.test", true},
		{"page below", []string{"https://a.test"}, "https://a.test/maps/1", true},
		{"other scheme", []string{"https://a.test"}, "http://a.test/", false},
		{"no scheme in the entry", []string{"a.test"}, "http://a.test/", true},
		{"other host", []string{"a.test"}, "https://b.test/", false},
		{"subdomain", []string{"*.a.test"}, "https://x.a.test/", true},
		{"wildcard is not the domain itself", []string{"*.a.test"}, "https://a.test/", false},
		{"wildcard is no suffix match", []string{"*.a.test"}, "https://xa.test/", false},
		{"port", []string{"https://a.test:8443"}, "https://a.test:8443/", true},
		{"entry without the port", []string{"https://a.test"}, "https://a.test:8443/", true},
		{"other port", []string{"https://a.test:8443"}, "https://a.test:9443/", false},
		{"path", []string{"https://a.test/maps/*"}, "https://a.test/maps/1", true},
		{"other path", []string{"https://a.test/maps/*"}, "https://a.test/other", false},
		{"second entry", []string{"https://b.test", "https://a.test"}, "https://a.test/", true},
		{"no URL", []string{"https://a.test"}, "a.test", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			e := New(Options{})
			cred := e.AddCredential(CredentialSeed{Title: "r", Referrers: row.list, Expires: [2]time.Time{e.Now().Add(day)}, Minted: true})
			c := &caller{t: t, e: e, token: cred.Keys[0], referer: row.sent}
			got, _, err := c.send(t.Context(), "portals/self")
			if err != nil {
				t.Fatal(err)
			}
			if passed := got["error"] == nil; passed != row.passes {
				t.Errorf("passed %v, want %v", passed, row.passes)
			}
		})
	}
}

func TestKeyReachesGrantedItems(t *testing.T) {
	e := New(Options{})
	open := e.AddItem(CreatorUser, "Web Map", "open", "public")
	granted := e.AddItem(CreatorUser, "Web Map", "granted", "private")
	other := e.AddItem(CreatorUser, "Web Map", "other", "private")
	cred := e.AddCredential(CredentialSeed{Title: "k", Owner: CreatorUser, Privileges: []string{itemGrantPrefix + granted},
		Expires: [2]time.Time{e.Now().Add(day)}, Minted: true})
	c := &caller{t: t, e: e, token: cred.Keys[0]}
	c.ok("content/items/" + open)
	c.ok("content/items/" + granted)
	if got := c.refused("content/items/" + other); got != "400 Item does not exist or is inaccessible." {
		t.Errorf("item without a grant: %s", got)
	}
	if got := c.ok("search", "q", `type:"Web Map"`)["total"]; got != 2.0 {
		t.Errorf("search finds %v items, want 2", got)
	}
}

func TestProducts(t *testing.T) {
	for _, p := range Products() {
		t.Run(string(p), func(t *testing.T) {
			e := New(Options{Product: p})
			cred := e.AddCredential(CredentialSeed{Title: "k", Expires: [2]time.Time{e.Now().Add(day)}})
			c := signedIn(t, e, AdminUser)
			self := c.ok("portals/self")
			if got := self["isPortal"]; got != p.enterprise() {
				t.Errorf("isPortal %v", got)
			}
			if _, there := self["urlKey"]; there == p.enterprise() {
				t.Errorf("urlKey there: %v", there)
			}
			_, flags := c.appInfo(cred)["apiToken1Active"]
			_, dates := c.ok("content/items/" + cred.ItemID)[dateParam(1)]
			if flags != p.keepsKeys() || dates != p.keepsKeys() {
				t.Errorf("flags there %v, dates there %v, want %v", flags, dates, p.keepsKeys())
			}
			if wanted := p == LocationPlatform; (len(e.Users()) == 1) != wanted {
				t.Errorf("%d users", len(e.Users()))
			}
			anonymous := c.anonymous().ok("portals/self")
			if anonymous["user"] != nil || anonymous["id"] != e.OrgID() {
				t.Errorf("anonymous self %v", anonymous)
			}
		})
	}
}

func TestPrivilegeTables(t *testing.T) {
	has := func(p Product, name string) bool { return slices.Contains(Privileges(p), name) }
	for _, row := range []struct {
		name                   string
		lp, online, enterprise bool
	}{
		{"premium:user:basemaps", true, true, false},
		{"premium:user:geocode:stored", true, false, false},
		{"premium:user:geocode", false, true, false},
		{"portal:user:generateApiTokens", false, true, true},
		{"portal:admin:viewItems", true, true, true},
		{"portal:admin:manageCredits", true, true, false},
		{"portal:admin:manageServers", false, false, true},
		{"features:user:manageVersions", false, false, true},
		{"marketplace:admin:manage", false, true, false},
		{"portal:user:createItem", true, true, true},
	} {
		got := [3]bool{has(LocationPlatform, row.name), has(Online, row.name), has(Enterprise114, row.name)}
		if want := [3]bool{row.lp, row.online, row.enterprise}; got != want {
			t.Errorf("%s: %v, want %v", row.name, got, want)
		}
	}
}
