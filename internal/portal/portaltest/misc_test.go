package portaltest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestItemReads(t *testing.T) {
	w := newWorld(t, Online)
	me := "content/users/" + CreatorUser
	id := w.creator.ok(me+"/addItem", "type", "Web Map", "title", "t", "text", `{"version":"2"}`, "properties", `{"a":1}`, "description", "d")["id"].(string)
	w.want("data", w.creator.ok("content/items/" + id + "/data")["version"], "2")
	item := w.creator.ok("content/items/" + id)
	w.want("properties", item["properties"].(map[string]any)["a"], 1)
	w.want("description", item["description"], "d")
	own := w.creator.ok(me + "/items/" + id)
	w.want("own item", own["item"].(map[string]any)["id"], id)
	w.want("sharing", own["sharing"].(map[string]any)["access"], "private")
	w.want("stranger's data", signedIn(t, w.e, ViewerUser).refused("content/items/" + id + "/data")[:3], "400")
	w.creator.ok(me+"/items/"+id+"/update", "text", "plain")
	got, _, err := w.creator.send(t.Context(), "content/items/"+id+"/data")
	if err != nil || got["html"] != "plain" {
		t.Errorf("data that is no JSON: %v, %v", got, err)
	}
}

func TestUsersAndInfo(t *testing.T) {
	w := newWorld(t, Enterprise114)
	w.want("user", w.admin.ok("community/users/" + CreatorUser)["role"], "org_publisher")
	w.want("nobody", w.admin.refused("community/users/nobody"), "400 "+textUserMissing)
	info := w.admin.anonymous().ok("info")["authInfo"].(map[string]any)
	w.want("token service", strings.HasSuffix(info["tokenServicesUrl"].(string), "/sharing/rest/generateToken"), true)
	w.want("other organisation", w.admin.refused("portals/another")[:3], "404")
	w.want("by id", w.admin.ok("portals/" + w.e.OrgID())["id"], w.e.OrgID())
	w.want("product", w.e.Product(), Enterprise114)
}

func TestSorting(t *testing.T) {
	e := New(Options{})
	for i, title := range []string{"b", "C", "a"} {
		e.AddItem([]string{AdminUser, CreatorUser, AdminUser}[i], []string{"Web Map", "Layer", "App"}[i], title, "org")
		e.MoveClock(time.Second)
	}
	c := signedIn(t, e, AdminUser)
	for field, want := range map[string]string{"title": "abC", "created": "bCa", "modified": "bCa", "type": "aCb", "owner": "Cab", "": "bCa"} {
		got := ""
		for _, r := range c.ok("search", "q", "", "sortField", field)["results"].([]any) {
			got += r.(map[string]any)["title"].(string)
		}
		if field == "owner" { // the two of one owner come in the order of their random ids
			want, got = want[:1], got[:1]
		}
		if got != want {
			t.Errorf("sorted by %q: %s, want %s", field, got, want)
		}
	}
}

func TestDeletingAnAppEndsItsSessions(t *testing.T) {
	w := newWorld(t, Online)
	access, refresh := w.oauthSession()
	w.admin.as(access).ok("community/self")
	item := w.admin.ok("oauth2/apps/" + w.oauthClient)["itemId"].(string)
	if err := w.e.DeleteItem(item); err != nil {
		t.Fatal(err)
	}
	w.want("access token", w.admin.as(access).refused("community/self"), "498 Invalid token.")
	w.want("refresh token", w.admin.anonymous().refused("oauth2/token", "grant_type", "refresh_token", "client_id", w.oauthClient,
		"refresh_token", refresh), "400 Invalid client_id")
}

func TestRevokeUserToken(t *testing.T) {
	w := newWorld(t, Online)
	access, _ := w.oauthSession()
	revoke := func(token string) { w.admin.anonymous().ok("oauth2/revokeToken", "auth_token", token) }
	revoke("no token at all") // success whatever it is given
	revoke(w.admin.token)     // and without effect on a generateToken token
	w.admin.ok("community/self")
	revoke(access)
	w.want("revoked", w.admin.as(access).refused("community/self"), "498 Invalid token.")
	w.want("neither form", w.admin.anonymous().refused("oauth2/revokeToken", "client_id", w.cred.ClientID, "client_secret", w.cred.ClientSecret),
		"400 "+textBadSlot)
}

// A search index that lags shows a deleted item for a while, and never goes back to an older state.
func TestIndexKeepsOrder(t *testing.T) {
	w := newWorld(t, Online)
	set := func(lag string) {
		if err := w.e.SetSwitch(SwitchSearchLag, lag); err != nil {
			t.Fatal(err)
		}
	}
	rename := func(title string) {
		w.creator.ok("content/users/"+CreatorUser+"/items/"+w.cred.ItemID+"/update", "title", title)
	}
	set("10m")
	rename("slow")
	set("0s")
	rename("fast")
	w.e.MoveClock(20 * time.Minute)
	w.want("the older title", w.found("title:slow"), 0)
	w.want("the newer title", w.found("title:fast"), 1)
	set("10m")
	if err := w.e.DeleteItem(w.cred.ItemID); err != nil {
		t.Fatal(err)
	}
	w.want("deleted, not yet noticed", w.found("title:fast"), 1)
	w.e.MoveClock(10 * time.Minute)
	w.want("deleted and noticed", w.found("title:fast"), 0)
}

func TestStandardUsersCoverTheTable(t *testing.T) {
	for _, p := range Products() {
		for _, u := range New(Options{Product: p}).Users() {
			able := u.Username != ViewerUser
			a := &account{User: u}
			if got := a.has(privilegeCreate) && a.has(privilegeGenerate) && a.has(privilegeAssign); got != able {
				t.Errorf("%s, %s: has the three privileges %v, want %v", p, u.Username, got, able)
			}
			if u.SSO != (u.Username == SSOUser) {
				t.Errorf("%s, %s: SSO %v", p, u.Username, u.SSO)
			}
		}
	}
	if got := fmt.Sprint(New(Options{NoUsers: true}).Users()); got != "[]" {
		t.Errorf("NoUsers leaves %s", got)
	}
}
