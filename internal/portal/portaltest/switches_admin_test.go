package portaltest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// adminSwitchTests are the rows of the switches around creating, editing and proving credentials.
func adminSwitchTests() map[string]func(*world) {
	me := "content/users/" + CreatorUser
	return map[string]func(*world){
		"service_status=as_known":  func(w *world) { w.wantServices("403 200/403", "premium:user:basemaps", "premium:user:geocode") },
		"service_no_privilege=403": func(w *world) { w.wantServices("200/403", "premium:user:geocode") },
		"service_no_privilege=498": func(w *world) { w.wantServices("200/498", "premium:user:geocode") },
		"service_no_privilege=499": func(w *world) { w.wantServices("200/499", "premium:user:geocode") },
		"service_roots=open":       func(w *world) { w.wantServices("200 200", "premium:user:elevation", "premium:user:networkanalysis") },
		"service_roots=closed": func(w *world) {
			w.wantServices("403 200/403", "premium:user:elevation", "premium:user:networkanalysis")
		},
		"service_arguments=token_first":     func(w *world) { w.wantServices("403", "premium:user:places") },
		"service_arguments=arguments_first": func(w *world) { w.wantServices("400", "premium:user:places") },
		"register_twice=refuse":             func(w *world) { w.wantRegisteredTwice("400 "+textAlreadyAnApp, true) },
		"register_twice=updates":            func(w *world) { w.wantRegisteredTwice("same client", false) },
		"register_twice=replaces":           func(w *world) { w.wantRegisteredTwice("other client", false) },
		"own_keywords=kept":                 func(w *world) { w.want("keywords", w.ownKeywords(), "[Registered App mark]") },
		"own_keywords=dropped":              func(w *world) { w.want("keywords", w.ownKeywords(), "[Registered App]") },
		"empty_fields=need_flag":            func(w *world) { w.wantEmptied("text [a]") },
		"empty_fields=clear":                func(w *world) { w.wantEmptied(" []") },
		"grant_of_no_item=accept":           func(w *world) { w.want("kept", w.grantOfNothing(), "the other kept") },
		"grant_of_no_item=refuse":           func(w *world) { w.want("answer", w.grantOfNothing(), "Unable to register app. Invalid Privileges") },
		"grant_of_no_item=drop":             func(w *world) { w.want("kept", w.grantOfNothing(), "the other dropped") },
		"personal_flag=as_sent":             func(w *world) { w.want("flags", w.personalFlags(), [2]any{true, false}) },
		"personal_flag=computed":            func(w *world) { w.want("flags", w.personalFlags(), [2]any{false, true}) },
		"protected_unregister=allowed":      func(w *world) { w.want("error", w.unregisterProtected(), nil) },
		"protected_unregister=refused":      func(w *world) { w.want("refused", w.unregisterProtected() != nil, true) },
		"folder_taken=refuse": func(w *world) {
			w.creator.ok(me+"/createFolder", "title", "keys")
			w.want("answer", w.creator.refused(me+"/createFolder", "title", "keys"), "400 "+textFolderExists)
		},
		"folder_taken=second": func(w *world) {
			w.creator.ok(me+"/createFolder", "title", "keys")
			w.creator.ok(me+"/createFolder", "title", "keys")
			w.want("folders", len(w.creator.ok(me)["folders"].([]any)), 2)
		},
		"user_privileges=shown": func(w *world) {
			w.want("told", w.creator.ok("community/users/" + AdminUser)["privileges"] != nil, true)
		},
		"user_privileges=own_only": func(w *world) {
			w.want("told", w.creator.ok("community/users/" + AdminUser)["privileges"] != nil, false)
			w.want("own", w.creator.ok("community/users/" + CreatorUser)["privileges"] != nil, true)
		},
	}
}

// wantServices asks the services of the privileges with a key that has none of them; an error in the body of HTTP 200 shows
// as 200/code.
func (w *world) wantServices(want string, privileges ...string) {
	w.t.Helper()
	poor := w.e.AddCredential(CredentialSeed{Title: "poor", Privileges: []string{privilegeCreate}, Expires: soon(w.e), Minted: true})
	var got strings.Builder
	for _, privilege := range privileges {
		for _, s := range locationServices() {
			if s.privilege == privilege {
				got.WriteString(" " + askService(w.t, w.e, servicePath(s), poor.Keys[0]))
			}
		}
	}
	w.want("answers", got.String(), " "+want)
}

func (w *world) wantRegisteredTwice(want string, keyLives bool) {
	w.t.Helper()
	key := w.creator.mint(w.cred, 1)
	got, _, err := w.creator.send(w.t.Context(), "oauth2/registerApp", "itemId", w.cred.ItemID, "appType", "multiple", "redirect_uris", "[]",
		"httpReferrers", "[]", "privileges", `["premium:user:basemaps"]`)
	if err != nil {
		w.t.Fatal(err)
	}
	said := "other client"
	if inner, _ := got["error"].(map[string]any); inner != nil {
		said = "400 " + inner["message"].(string)
	} else if got["client_id"] == w.cred.ClientID {
		said = "same client"
	}
	w.want("answer", said, want)
	w.want("the key lives", w.valid(key), keyLives)
	w.want("apps of the item", len(w.e.clients), 1)
}

// bare makes an item without an app.
func (w *world) bare(pairs ...string) string {
	w.t.Helper()
	return w.creator.ok("content/users/"+CreatorUser+"/addItem", append([]string{"type", "Application", "title", "bare"}, pairs...)...)["id"].(string)
}

func (w *world) registerBare(id, privileges, personal string) map[string]any {
	w.t.Helper()
	return w.creator.ok("oauth2/registerApp", "itemId", id, "appType", "multiple", "redirect_uris", "[]", "httpReferrers", "[]",
		"privileges", privileges, "isPersonalAPIToken", personal)
}

func (w *world) ownKeywords() any {
	id := w.bare("typeKeywords", "mark")
	w.registerBare(id, "[]", "false")
	return w.creator.ok("content/items/" + id)["typeKeywords"]
}

func (w *world) wantEmptied(want string) {
	w.t.Helper()
	id := w.bare("snippet", "text", "tags", "a")
	update := "content/users/" + CreatorUser + "/items/" + id + "/update"
	w.creator.ok(update, "snippet", "", "tags", "")
	show := func() string {
		it := w.creator.ok("content/items/" + id)
		tags := "[]"
		if list := it["tags"].([]any); len(list) > 0 {
			tags = "[a]"
		}
		return it["snippet"].(string) + " " + tags
	}
	w.want("after an empty value", show(), want)
	w.creator.ok(update, "snippet", "", "tags", "", "clearEmptyFields", "true")
	w.want("after an empty value with the flag", show(), " []")
}

// grantOfNothing registers an app with a grant of an item that is there and of one that is not.
func (w *world) grantOfNothing() string {
	w.t.Helper()
	there := itemGrantPrefix + w.e.AddItem(CreatorUser, "Feature Service", "trees", "private")
	none := itemGrantPrefix + strings.Repeat("0", 32)
	got, _, err := w.creator.send(w.t.Context(), "oauth2/registerApp", "itemId", w.bare(), "appType", "multiple", "redirect_uris", "[]",
		"httpReferrers", "[]", "privileges", `["`+there+`","`+none+`"]`)
	if err != nil {
		w.t.Fatal(err)
	}
	if inner, _ := got["error"].(map[string]any); inner != nil {
		return inner["message"].(string)
	}
	kept := fmt.Sprint(got["privileges"])
	if !strings.Contains(kept, there) {
		w.t.Errorf("the grant that is good was not kept: %s", kept)
	}
	return "the other " + map[bool]string{true: "kept", false: "dropped"}[strings.Contains(kept, none)]
}

// personalFlags are those of an app that says personal and of one that is.
func (w *world) personalFlags() [2]any {
	return [2]any{w.registerBare(w.bare(), `["premium:user:basemaps"]`, "true")["isPersonalAPIToken"],
		w.registerBare(w.bare(), `["portal:user:viewOrgItems"]`, "false")["isPersonalAPIToken"]}
}

func (w *world) unregisterProtected() any {
	w.t.Helper()
	w.creator.ok("content/users/" + CreatorUser + "/items/" + w.cred.ItemID + "/protect")
	got, _, err := w.creator.send(w.t.Context(), "oauth2/apps/"+w.cred.ClientID+"/unregister")
	if err != nil {
		w.t.Fatal(err)
	}
	return got["error"]
}

// createSomehow takes a credential from its folder to its end, which works or fails with a portal error under any switches.
func createSomehow(t *testing.T, switches map[string]string) {
	e := New(Options{Switches: switches})
	c := signedIn(t, e, AdminUser)
	me := "content/users/" + AdminUser
	ask := func(path string, pairs ...string) map[string]any {
		got, _, err := c.send(t.Context(), path, pairs...)
		if err != nil && switches[SwitchAmbiguousFailure] == "" {
			t.Fatalf("%v: %s: %v", switches, path, err)
		}
		if got["html"] != nil {
			t.Fatalf("%v: %s: HTML", switches, path)
		}
		return got
	}
	ask(me+"/createFolder", "title", "keys")
	ask(me+"/addItem", "type", "Application", "title", "pair", "tags", "mark", "typeKeywords", "mark", "isPersonalAPIToken", "false")
	list, _ := ask(me, "start", "1", "num", "100")["items"].([]any)
	if len(list) != 1 {
		t.Fatalf("%v: %d items", switches, len(list))
	}
	id := list[0].(map[string]any)["id"].(string)
	arrays := []string{"appType", "multiple", "redirect_uris", `["urn:ietf:wg:oauth:2.0:oob"]`, "httpReferrers", "[]",
		"privileges", `["premium:user:basemaps"]`, "isPersonalAPIToken", "false"}
	ask("oauth2/registerApp", append([]string{"itemId", id}, arrays...)...)
	client, _ := ask(me + "/items/" + id + "/registeredAppInfo")["client_id"].(string)
	if client == "" {
		t.Fatalf("%v: no app", switches)
	}
	ask("oauth2/apps/"+client+"/update", arrays...)
	ask(me+"/items/"+id+"/update", "snippet", "", "clearEmptyFields", "true")
	ask(me + "/items/" + id + "/protect")
	ask(me + "/items/" + id + "/unprotect")
	ask(me+"/items/"+id+"/move", "folder", "/")
	ask("oauth2/apps/" + client + "/unregister")
	ask(me+"/items/"+id+"/delete", "permanentDelete", "true")
	if left, _ := ask(me, "start", "1", "num", "100")["items"].([]any); len(left) != 0 {
		t.Fatalf("%v: %d items are left", switches, len(left))
	}
	if n := len(e.Violations()); n > 0 {
		t.Fatalf("%v: %v", switches, e.Violations())
	}
}

// Each service lets a key with the privilege in and nobody else, and counts what it would charge for.
func TestServices(t *testing.T) {
	for _, s := range locationServices() {
		e := New(Options{Product: LocationPlatform, Switches: map[string]string{SwitchServiceRoots: "closed"}})
		kind := s.privilege
		switch kind {
		case "premium:user:geocode":
			kind += ":temporary"
		case "premium:user:networkanalysis":
			kind += ":routing"
		}
		rich := e.AddCredential(CredentialSeed{Title: "rich", Privileges: []string{kind}, Expires: soon(e), Minted: true}).Keys[0]
		poor := e.AddCredential(CredentialSeed{Title: "poor", Privileges: []string{privilegeCreate}, Expires: soon(e), Minted: true}).Keys[0]
		path := servicePath(s)
		good, bare := "200", "200/400"
		refusals := [3]string{"200/403", "200/498", "200/499"}
		if s.newer {
			bare, refusals = "400", [3]string{"403", "401", "401"}
		}
		if s.needs == "" {
			bare = good
		}
		full := path + "?" + map[string]string{"": "f=json", "SingleLine": "SingleLine=Berlin", "x y": "x=1&y=2", "studyAreas": "studyAreas=[]"}[s.needs]
		for _, row := range [][2]string{{askService(t, e, path, rich), bare}, {askService(t, e, full, rich), good}, {askService(t, e, path, poor), refusals[0]},
			{askService(t, e, path, "AAPTgone"), refusals[1]}, {askService(t, e, path, ""), refusals[2]}} {
			if row[0] != row[1] {
				t.Errorf("%s: got %s, want %s", s.path, row[0], row[1])
			}
		}
		want := 0
		switch {
		case s.billed && s.needs != "":
			want = 1 // of the two calls with the good key one had its arguments
		case s.billed:
			want = 2
		}
		if e.Billed() != want {
			t.Errorf("%s: %d calls billed, want %d", s.path, e.Billed(), want)
		}
	}
}

// A hosted layer is open to keys that have a grant of its item, and to people who see it.
func TestHostedLayer(t *testing.T) {
	e := New(Options{})
	id, address := e.AddService(AdminUser, "trees", "private")
	granted := e.AddCredential(CredentialSeed{Title: "granted", Privileges: []string{itemGrantPrefix + id}, Expires: soon(e), Minted: true}).Keys[0]
	other := e.AddCredential(CredentialSeed{Title: "other", Expires: soon(e), Minted: true}).Keys[0]
	path := address[len("https://services.arcgis.com"):]
	for _, tail := range []string{"", "/0", "/0/query"} {
		for key, want := range map[string]string{granted: "200", other: "200/403", "": "200/499", "AAPTgone": "200/498"} {
			if got := askService(t, e, path+tail, key); got != want {
				t.Errorf("%s with key %.8s: got %s, want %s", tail, key, got, want)
			}
		}
	}
	if got := askService(t, e, servicePrefix+"Hosted/nothing/FeatureServer", granted); got != "200/400" {
		t.Errorf("no such layer: got %s", got)
	}
	c := signedIn(t, e, AdminUser)
	if got := c.ok("content/items/" + id)["url"]; got != address {
		t.Errorf("item shows url %v, want %s", got, address)
	}
	if err := e.ShareWithGroup(id, "0123456789abcdef"); err != nil {
		t.Fatal(err)
	}
	if got := c.ok("search", "q", `group:"0123456789abcdef"`)["total"]; got != 1.0 {
		t.Errorf("found %v items of the group", got)
	}
	if e.ShareWithGroup("none", "g") == nil {
		t.Error("an item that does not exist was shared")
	}
}

// Another organisation's item shows to people and to nobody's key, and nobody here manages it.
func TestForeignItem(t *testing.T) {
	e := New(Options{})
	id := e.AddForeignItem("Feature Service", "their trees")
	c := signedIn(t, e, AdminUser)
	it := c.ok("content/items/" + id)
	if it["orgId"] == e.OrgID() || it["itemControl"] != nil {
		t.Errorf("item shows organisation %v, control %v", it["orgId"], it["itemControl"])
	}
	if got := c.refused("content/users/partner_user/items/" + id + "/delete"); got[:3] != "403" {
		t.Errorf("delete: %s", got)
	}
	key := e.AddCredential(CredentialSeed{Title: "key", Privileges: []string{itemGrantPrefix + id}, Expires: soon(e), Minted: true}).Keys[0]
	if got := c.as(key).refused("content/items/" + id); got[:3] != "400" {
		t.Errorf("by key: %s", got)
	}
	if err := e.DeleteItem(id); err != nil {
		t.Errorf("delete out of band: %v", err)
	}
}

// What a person writes on an item's page shows, and ends no key.
func TestEditItemOutOfBand(t *testing.T) {
	e := New(Options{})
	cred := e.AddCredential(CredentialSeed{Title: "old", Expires: soon(e), Minted: true})
	err := e.EditItemOutOfBand(cred.ItemID, ItemPage{Title: new("by hand"), Snippet: new("s"), Tags: &[]string{"a"}, Protected: new(true)})
	it := signedIn(t, e, AdminUser).ok("content/items/" + cred.ItemID)
	if err != nil || it["title"] != "by hand" || it["snippet"] != "s" || it["protected"] != true || fmt.Sprint(it["tags"]) != "[a]" || it["description"] != nil {
		t.Errorf("item: %v, %v", it, err)
	}
	if ok, why := e.KeyValid(cred.Keys[0]); !ok {
		t.Errorf("the key is dead: %s", why)
	}
	if !slices.ContainsFunc(e.Events(), func(ev Event) bool { return ev.Kind == EventItemUpdated && ev.OutOfBand && ev.ItemID == cred.ItemID }) {
		t.Error("the edit is not told")
	}
	if e.EditItemOutOfBand("none", ItemPage{}) == nil {
		t.Error("an item that does not exist was edited")
	}
}

// In manner strict a key in a service's query is refused, as are the careless forms of the administrative calls.
func TestStrictAdmin(t *testing.T) {
	e := New(Options{Switches: map[string]string{SwitchManner: "strict"}})
	c := signedIn(t, e, AdminUser)
	cred := e.AddCredential(CredentialSeed{Title: "x"})
	base := "content/users/" + AdminUser + "/items/" + cred.ItemID
	e.AddCredential(CredentialSeed{Title: "y", Folder: "keys"})
	arrays := []string{"redirect_uris", "[]", "httpReferrers", "[]", "privileges", "[]"}
	for i, ask := range [][]string{
		{base + "/update", "snippet", ""}, {base + "/update", "snippet", "", "clearEmptyFields", "1"}, {base + "/delete"},
		{base + "/delete", "permanentDelete", "yes"}, {base + "/move", "folder", "keys"},
		append([]string{"oauth2/apps/" + cred.ClientID + "/update", "appType", "apikey"}, arrays...),
		append([]string{"oauth2/apps/" + cred.ClientID + "/update", "appType", "multiple", "isPersonalAPIToken", "no"}, arrays...),
		{"oauth2/apps/" + cred.ClientID + "/update", "appType", "multiple", "privileges", "[]", "httpReferrers", "[]"},
	} {
		if got := c.refused(ask[0], ask[1:]...); len(e.Violations()) != i+1 {
			t.Errorf("%v: %s is no violation", ask, got)
		}
	}
	before := len(e.Violations())
	if got := askService(t, e, servicePrefix+"World?token=AAPTx", ""); got != "200/400" || len(e.Violations()) != before+1 {
		t.Errorf("a key in the query: %s", got)
	}
}

// askService gives the answer as its HTTP status, and 200/code for an error in the body of HTTP 200.
func askService(t *testing.T, e *Emulator, path, key string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://services.test"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("X-Esri-Authorization", "Bearer "+key)
	}
	res, err := e.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body struct{ Error *struct{ Code int } }
	if json.NewDecoder(res.Body).Decode(&body) == nil && body.Error != nil && res.StatusCode == http.StatusOK {
		return fmt.Sprintf("200/%d", body.Error.Code)
	}
	return fmt.Sprint(res.StatusCode)
}

func servicePath(s locationService) string {
	return servicePrefix + strings.ReplaceAll(s.path, "{}", "1")
}

func soon(e *Emulator) [2]time.Time { return [2]time.Time{e.Now().Add(5 * day)} }
