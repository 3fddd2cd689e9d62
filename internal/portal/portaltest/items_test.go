package portaltest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestFolders(t *testing.T) {
	w := newWorld(t, Online)
	me := "content/users/" + CreatorUser
	folder := w.creator.ok(me+"/createFolder", "title", "keys")["folder"].(map[string]any)
	w.want("folder's user", folder["username"], CreatorUser)
	w.want("same title", w.creator.refused(me+"/createFolder", "title", "keys"), "400 "+textFolderExists)
	id := folder["id"].(string)
	inside := w.creator.ok(me+"/"+id+"/addItem", "type", "Web Map", "title", "inside")
	w.want("answered folder", inside["folder"], id)
	w.want("unknown folder", w.creator.refused(me+"/nowhere/addItem", "type", "Web Map", "title", "t"), "400 "+textFolderMissing)

	moved := w.creator.ok(me+"/items/"+w.cred.ItemID+"/move", "folder", id)
	w.want("moved to", moved["folder"], id)
	w.want("item's folder", w.item()["ownerFolder"], id)
	// the path works with and without the folder
	w.creator.ok(me+"/items/"+w.cred.ItemID+"/update", "snippet", "one")
	w.creator.ok(me+"/"+id+"/items/"+w.cred.ItemID+"/update", "snippet", "two")
	w.want("snippet", w.item()["snippet"], "two")

	root, in := w.creator.ok(me, "num", "100"), w.creator.ok(me+"/"+id, "num", "100")
	w.want("items in the root", len(root["items"].([]any)), 0)
	w.want("folders", len(root["folders"].([]any)), 1)
	w.want("items in the folder", len(in["items"].([]any)), 2)
	w.want("current folder", in["currentFolder"].(map[string]any)["title"], "keys")
	w.creator.ok(me+"/items/"+w.cred.ItemID+"/move", "folder", "/")
	w.want("items in the root", len(w.creator.ok(me)["items"].([]any)), 1)
}

func TestUserContentPages(t *testing.T) {
	e := New(Options{})
	for i := range 25 {
		e.AddItem(CreatorUser, "Web Map", fmt.Sprint(i), "private")
	}
	c := signedIn(t, e, CreatorUser)
	seen := map[any]bool{}
	start, pages := "1", 0
	for start != "-1" {
		got := c.ok("content/users/"+CreatorUser, "start", start, "num", "10")
		for _, it := range got["items"].([]any) {
			seen[it.(map[string]any)["id"]] = true
		}
		start = fmt.Sprint(got["nextStart"])
		pages++
	}
	if len(seen) != 25 || pages != 3 {
		t.Errorf("%d items in %d pages, want 25 in 3", len(seen), pages)
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t, Online)
	key := w.creator.mint(w.cred, 1)
	path := "content/users/" + CreatorUser + "/items/" + w.cred.ItemID
	w.creator.ok(path + "/protect")
	w.want("protected", w.creator.refused(path+"/delete"), "400 "+textProtected)
	w.want("canDelete", w.creator.refused(path+"/canDelete"), "400 "+textProtected)
	w.creator.ok(path + "/unprotect")
	w.want("canDelete", w.creator.ok(path + "/canDelete")["itemId"], w.cred.ItemID)
	w.creator.ok(path+"/delete", "permanentDelete", "true")
	if valid, why := w.e.KeyValid(key); valid || why != EndedDeleted {
		t.Errorf("key of a deleted item: valid %v, %q", valid, why)
	}
	w.want("key", w.admin.as(key).refused("portals/self"), "498 Invalid token.")
	w.want("mint", w.mintRefused(), "400 Invalid client_id")
	w.want("found", w.found(`id:"`+w.cred.ItemID+`"`), 0)
}

func TestUnregister(t *testing.T) {
	w := newWorld(t, Online)
	key := w.creator.mint(w.cred, 1)
	w.want("unregistered", w.creator.ok("oauth2/apps/" + w.cred.ClientID + "/unregister")["itemId"], w.cred.ItemID)
	if valid, why := w.e.KeyValid(key); valid || why != EndedUnregistered {
		t.Errorf("key: valid %v, %q", valid, why)
	}
	w.want("keywords", w.item()["typeKeywords"], "[]")
	w.want("info", w.creator.refused("content/users/"+CreatorUser+"/items/"+w.cred.ItemID+"/registeredAppInfo"), "400 "+textNotRegistered)
	w.creator.ok("oauth2/registerApp", registerPairs(w.cred.ItemID, "[]")...)
}

func TestRegisterOnce(t *testing.T) {
	w := newWorld(t, Online)
	w.want("again", w.creator.refused("oauth2/registerApp", registerPairs(w.cred.ItemID, "[]")...), "400 "+textAlreadyAnApp)
	id := w.addApplication()
	w.want("by the admin, who is not the owner", w.admin.refused("oauth2/registerApp", registerPairs(id, "[]")...)[:3], "403")
	var many strings.Builder
	for i := range maxItemGrants + 1 {
		fmt.Fprintf(&many, `,"%s%032x"`, itemGrantPrefix, i)
	}
	w.want("101 grants", w.creator.refused("oauth2/registerApp", registerPairs(id, "["+many.String()[1:]+"]")...), "400 "+textTooManyGrants)
}

// A date of one slot says nothing about the other, and what is not sent stays.
func TestUpdateKeepsTheRest(t *testing.T) {
	w := newWorld(t, Online)
	w.creator.setDate(w.cred, 1, w.e.Now().Add(5*day))
	one := w.item()[dateParam(1)]
	w.creator.setDate(w.cred, 2, w.e.Now().Add(9*day))
	w.want("slot 1", w.item()[dateParam(1)], one)
	w.want("title", w.item()["title"], "web map")
	for _, bad := range []string{"0", "-2", "tomorrow", ""} {
		w.want("date "+bad, w.creator.refused("content/users/"+CreatorUser+"/items/"+w.cred.ItemID+"/update", dateParam(1), bad), "400 "+textBadDate)
	}
	w.creator.ok("content/users/"+CreatorUser+"/items/"+w.cred.ItemID+"/update", dateParam(1), "-1")
	w.want("taken back", w.item()[dateParam(1)], -1)
	w.want("mint without a date", w.mintRefused(), "400 "+textBadDate)
}

func TestMintErrors(t *testing.T) {
	w := newWorld(t, Online)
	w.creator.setDate(w.cred, 1, w.e.Now().Add(5*day))
	for name, row := range map[string][3]string{
		"secret": {"client_secret", "00", "400 Invalid client_secret"},
		"grant":  {"grant_type", "password", "400 " + textBadGrant},
		"slot":   {"apiToken", "3", "400 " + textBadSlot},
		"word":   {"apiToken", "one", "400 " + textBadSlot},
	} {
		w.want(name, w.mintRefused(row[0], row[1]), row[2])
	}
	secret, err := w.e.ResetSecret(w.cred.ItemID)
	if err != nil {
		t.Fatal(err)
	}
	w.want("old secret", w.mintRefused(), "400 Invalid client_secret")
	w.admin.anonymous().ok("oauth2/token", append(mintPairs(w.cred, 1), "client_secret", secret)...)
	oauth := w.e.AddOAuthApp(CreatorUser, "sign-in", redirectBack)
	w.want("OAuth app", w.admin.anonymous().refused("oauth2/token", mintPairs(oauth, 1)...), "400 "+textBadDate)
}

func TestOutOfBand(t *testing.T) {
	e := New(Options{})
	cred := e.AddCredential(CredentialSeed{Title: "by hand"})
	key, err := e.MintOutOfBand(cred.ItemID, 2, e.Now().Add(5*day))
	if err != nil {
		t.Fatal(err)
	}
	c := signedIn(t, e, AdminUser)
	if c.appInfo(cred)["apiToken2Active"] != true {
		t.Error("a key made by hand does not show")
	}
	if err := e.SetDateOutOfBand(cred.ItemID, 1, e.Now().Add(9*day)); err != nil {
		t.Fatal(err)
	}
	if err := e.RevokeOutOfBand(cred.ItemID, 2); err != nil {
		t.Fatal(err)
	}
	if valid, why := e.KeyValid(key); valid || why != EndedRevoked {
		t.Errorf("revoked by hand: valid %v, %q", valid, why)
	}
	again := c.mint(cred, 1)
	if err := e.EditAppOutOfBand(cred.ItemID, []string{"https://a.test"}, []string{"premium:user:basemaps"}); err != nil {
		t.Fatal(err)
	}
	if valid, why := e.KeyValid(again); valid || why != EndedAppUpdated {
		t.Errorf("edited by hand: valid %v, %q", valid, why)
	}
	if err := e.DeleteItem(cred.ItemID); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"mint": second(e.MintOutOfBand(cred.ItemID, 1, time.Now())), "revoke": e.RevokeOutOfBand(cred.ItemID, 1),
		"date": e.SetDateOutOfBand(cred.ItemID, 1, time.Now()), "delete": e.DeleteItem(cred.ItemID),
	} {
		if err == nil {
			t.Errorf("%s of a deleted item succeeded", name)
		}
	}
	for _, ev := range e.Events() {
		if ev.Op == "" && !ev.OutOfBand && ev.Kind != EventDateSet && ev.Kind != EventItemAdded {
			t.Errorf("event %+v is not marked as out of band", ev)
		}
	}
}

func second[A any](_ A, err error) error { return err }
