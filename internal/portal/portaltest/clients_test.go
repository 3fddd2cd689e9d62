package portaltest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The requests below have the very parameters that the contract's section 10 records of three shipping clients, with their
// surplus ones, against manner portal.

func credentialOf(app map[string]any) Credential {
	return Credential{ItemID: app["itemId"].(string), ClientID: app["client_id"].(string), ClientSecret: app["client_secret"].(string), Owner: CreatorUser}
}

// restJSCreate is createApiKey of arcgis-rest-js with generateToken1.
func restJSCreate(t *testing.T, c *caller, expires time.Time) (Credential, string) {
	t.Helper()
	me := "content/users/" + CreatorUser
	id := c.ok(me+"/addItem", "type", "Application", "title", "web map key", "description", "d", "tags", "a,b", "snippet", "s")["id"].(string)
	app := c.ok("oauth2/registerApp", "itemId", id, "appType", "multiple", "redirect_uris", `["urn:ietf:wg:oauth:2.0:oob"]`,
		"httpReferrers", `[]`, "privileges", `["premium:user:basemaps"]`)
	c.ok(me+"/items/"+id+"/update", "id", id, "apiToken1ExpirationDate", fmt.Sprint(expires.UnixMilli()), "apiToken2ExpirationDate", "-1")
	if got := c.ok("content/items/" + id)["apiToken2ExpirationDate"]; got != -1.0 {
		t.Errorf("slot 2 has date %v, want -1", got)
	}
	cred := credentialOf(c.ok(me + "/items/" + id + "/registeredAppInfo"))
	key := c.anonymous().ok("oauth2/token", "client_id", cred.ClientID, "client_secret", cred.ClientSecret, "apiToken", "1",
		"regenerateApiToken", "true", "grant_type", "client_credentials")["access_token"].(string)
	if app["apiToken1Active"] != false || c.appInfo(cred)["apiToken1Active"] != true {
		t.Error("apiToken1Active did not turn from false to true")
	}
	return cred, key
}

func TestRestJSShapes(t *testing.T) {
	e := New(Options{})
	c := signedIn(t, e, CreatorUser)
	me := "content/users/" + CreatorUser
	cred, one := restJSCreate(t, c, e.Now().Add(100*day))

	// updateApiKey with a date and generateToken2
	c.ok(me+"/items/"+cred.ItemID+"/update", "id", cred.ItemID, "apiToken2ExpirationDate", fmt.Sprint(e.Now().Add(200*day).UnixMilli()))
	two := c.anonymous().ok("oauth2/token", "client_id", cred.ClientID, "client_secret", cred.ClientSecret, "apiToken", "2",
		"regenerateApiToken", "true", "grant_type", "client_credentials")
	if left := two["expires_in"].(float64); left < 199*24*3600 || left > 201*24*3600 {
		t.Errorf("expires_in %v, want about 200 days", left)
	}
	// invalidateApiKey: revokeToken with its surplus parameters and no user token
	gone := c.anonymous().ok("oauth2/revokeToken", "client_id", cred.ClientID, "client_secret", cred.ClientSecret, "apiToken", "1",
		"regenerateApiToken", "true", "grant_type", "client_credentials")
	if gone["success"] != true {
		t.Errorf("revokeToken: %v", gone)
	}
	info := c.appInfo(cred)
	if valid, _ := e.KeyValid(one); valid || info["apiToken1Active"] != false || info["apiToken2Active"] != true {
		t.Errorf("after invalidate: valid %v, flags %v %v", valid, info["apiToken1Active"], info["apiToken2Active"])
	}
	// updateApiKey with privileges: both arrays, and every key is dead
	updated := c.ok("oauth2/apps/"+cred.ClientID+"/update", "privileges", `["premium:user:basemaps","premium:user:geocode"]`, "httpReferrers", "[]")
	if valid, why := e.KeyValid(two["access_token"].(string)); valid || why != EndedAppUpdated || updated["apiToken2Active"] != false {
		t.Errorf("after update: valid %v, %q, flag %v", valid, why, updated["apiToken2Active"])
	}
	// the fixtures' form of the app object
	for _, name := range []string{"apnsProdCert", "apnsSandboxCert", "gcmApiKey"} {
		if value, there := info[name]; !there || value != nil {
			t.Errorf("%s: %v, there %v, want null", name, value, there)
		}
	}
}

func TestPythonShapes(t *testing.T) {
	e := New(Options{})
	c := signedIn(t, e, CreatorUser)
	me := "content/users/" + CreatorUser
	date := fmt.Sprint(e.Now().Add(26 * 7 * day).UnixMilli())
	// create: addItem with the date, register with isPersonalAPIToken, the date again; no key
	id := c.ok(me+"/addItem", "type", "Application", "title", "py", "tags", "", "snippet", "", "typeKeywords", "",
		"subscriptionType", "", "isPersonalAPIToken", "false", "apiToken1ExpirationDate", date)["id"].(string)
	if got := c.ok("content/items/" + id)["apiToken1ExpirationDate"]; got != -1.0 {
		t.Errorf("a date sent before registration stuck: %v", got)
	}
	cred := credentialOf(c.ok("oauth2/registerApp", "itemId", id, "appType", "multiple", "redirect_uris", `["urn:ietf:wg:oauth:2.0:oob"]`,
		"httpReferrers", `["https://a.example.com"]`, "privileges", `["premium:user:basemaps"]`, "isPersonalAPIToken", "false"))
	c.ok(me+"/items/"+id+"/update", "apiToken1ExpirationDate", date)
	if n := len(e.Keys()); n != 0 {
		t.Errorf("create made %d keys", n)
	}
	// generate_token and regenerate_token carry the session's token, which a mint does not look at
	mint := func(regenerate string) string {
		c.ok(me+"/items/"+id+"/update", "apiToken1ExpirationDate", date)
		return c.ok("oauth2/token", "client_id", cred.ClientID, "client_secret", cred.ClientSecret, "grant_type", "client_credentials",
			"apiToken", "1", "regenerateApiToken", regenerate)["access_token"].(string)
	}
	first, second := mint("false"), mint("true")
	if valid, why := e.KeyValid(first); valid || why != EndedOverwritten {
		t.Errorf("first key: valid %v, %q", valid, why)
	}
	// list is one query line
	q := `owner: ` + CreatorUser + ` -typekeywords:("MapAreaPackage") -type:("Map Area" OR "Indoors Map Configuration")` +
		` (type:("Application" AND typekeywords:"Registered App" AND typekeywords:"APIToken"))`
	if got := c.ok("search", "q", q, "num", "100"); got["total"] != 1.0 {
		t.Errorf("list found %v, want 1", got["total"])
	}
	// update sends client_id too, and its list of referrers un-serialised: one wrong entry, no error
	got := c.ok("oauth2/apps/"+cred.ClientID+"/update", "client_id", cred.ClientID, "privileges", `["premium:user:basemaps"]`,
		"httpReferrers", "https://a.example.com,https://b.example.com", "redirect_uris", `["urn:ietf:wg:oauth:2.0:oob"]`)
	if list := got["httpReferrers"].([]any); len(list) != 1 {
		t.Errorf("referrers %v, want the one wrong entry", list)
	}
	if valid, _ := e.KeyValid(second); valid {
		t.Error("update left the key alive")
	}
	c.ok(me+"/items/"+id+"/delete", "permanentDelete", "true")
	if got := c.refused("content/items/" + id); got != "400 Item does not exist or is inaccessible." {
		t.Errorf("after delete: %s", got)
	}
}

func TestHHKaosShapes(t *testing.T) {
	e := New(Options{Product: LocationPlatform})
	c := signedIn(t, e, AdminUser)
	cred := e.AddCredential(CredentialSeed{Title: "toolkit"})
	found := c.ok("search", "q", "  ", "filter", `owner:"`+AdminUser+`" AND type:"Application" AND typekeywords:"Registered App"`,
		"sortField", "modified", "sortOrder", "desc", "num", "100")
	if found["total"] != 1.0 {
		t.Fatalf("search found %v, want 1", found["total"])
	}
	owner := c.ok("content/items/" + cred.ItemID)["owner"].(string)
	app, _, err := c.raw(t.Context(), http.MethodGet, "content/users/"+owner+"/items/"+cred.ItemID+"/registeredAppInfo",
		url.Values{"f": {"json"}, "token": {c.token}})
	if err != nil || app["client_id"] != cred.ClientID {
		t.Fatalf("GET registeredAppInfo: %v, %v", app, err)
	}
	end := endOfDay(e.Now().Add(363 * day))
	c.ok("content/users/"+owner+"/items/"+cred.ItemID+"/update", "apiToken1ExpirationDate", fmt.Sprint(end.UnixMilli()))
	got := c.ok("oauth2/token", "client_id", cred.ClientID, "client_secret", cred.ClientSecret, "grant_type", "client_credentials",
		"apiToken", "1", "regenerateApiToken", "false")
	if want := int64(end.Sub(e.Now()) / time.Second); int64(got["expires_in"].(float64)) > want+1 || int64(got["expires_in"].(float64)) < want-1 {
		t.Errorf("expires_in %v, want %d", got["expires_in"], want)
	}
	c.ok("oauth2/revokeToken", "client_id", cred.ClientID, "client_secret", cred.ClientSecret, "apiToken", "1")
	if valid, why := e.KeyValid(got["access_token"].(string)); valid || why != EndedRevoked {
		t.Errorf("revoked key: valid %v, %q", valid, why)
	}
}

// The demos rotate with an admin API key that has the two admin privileges and the item.
func TestAdminKeyRotates(t *testing.T) {
	e := New(Options{Switches: map[string]string{SwitchAPIKeyManagement: "privilege_and_item"}})
	cred := e.AddCredential(CredentialSeed{Title: "production", Owner: CreatorUser})
	admin := e.AddCredential(CredentialSeed{Title: "admin key", Privileges: []string{privilegeViewAll, privilegeEditAll, itemGrantPrefix + cred.ItemID},
		Expires: [2]time.Time{e.Now().Add(day)}, Minted: true})
	c := &caller{t: t, e: e, token: admin.Keys[0]}
	if got := c.ok("community/self")["username"]; got != AdminUser {
		t.Errorf("community/self: %v, want the key's owner", got)
	}
	if key := c.mint(cred, 2); !strings.HasSuffix(key, "AT2_"+cred.ClientID[8:]) {
		t.Error("the key's tail does not name the credential")
	}
	c.revoke(cred, 2)
	if c.appInfo(cred)["apiToken2Active"] != false {
		t.Error("the flag stayed true")
	}
}

func TestLegacyKeys(t *testing.T) {
	e := New(Options{})
	legacy := e.AddLegacyKey(AdminUser, "old")
	c := signedIn(t, e, AdminUser)
	list := c.ok("portals/self/apiKeys")["apiKeys"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["itemId"] != legacy.ItemID {
		t.Errorf("apiKeys: %v", list)
	}
	item := c.ok("content/items/" + legacy.ItemID)
	if got := fmt.Sprint(item["type"], item["typeKeywords"]); got != "API Key[API Key Registered App]" {
		t.Errorf("item is %s", got)
	}
	if got := c.appInfo(legacy)["apiKey"]; got != legacy.Keys[0] || !strings.HasPrefix(legacy.Keys[0], "AAPK") {
		t.Error("registeredAppInfo does not show the legacy key")
	}
	for privilege, want := range map[string]bool{"premium:user:basemaps": true, "premium:user:basemaps,premium:user:geocode": false} {
		if got := c.anonymous().ok("oauth2/validateApiKey", "key", legacy.Keys[0], "privilege", privilege)["valid"]; got != want {
			t.Errorf("validateApiKey %s: %v, want %v", privilege, got, want)
		}
	}
}
