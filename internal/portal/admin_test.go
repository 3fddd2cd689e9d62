package portal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// keeping lists the products that have API key credentials.
func keeping() []portaltest.Product {
	return []portaltest.Product{portaltest.LocationPlatform, portaltest.Online, portaltest.Enterprise114}
}

// ownable is a privilege that the product's keys can carry.
func ownable(p portaltest.Product) string {
	if p == portaltest.Enterprise114 {
		return "portal:user:viewOrgItems"
	}
	return "premium:user:basemaps"
}

func TestOneCredentialFromItsFolderToItsEnd(t *testing.T) {
	for _, product := range keeping() {
		t.Run(string(product), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { wholeLife(t, product) })
		})
	}
}

func wholeLife(t *testing.T, product portaltest.Product) {
	e := strictEmulator(t, portaltest.Options{Product: product})
	c := newTestClient(t, e, Options{})
	ctx, me := t.Context(), portaltest.AdminUser
	layer, _ := e.AddService(me, "trees", "private")
	folder, err := c.CreateFolder(ctx, me, "keys")
	must(t, "create folder", err)
	folders, err := c.Folders(ctx, me)
	if err != nil || len(folders) != 1 || folders[0].ID != folder.ID || folders[0].Title != "keys" {
		t.Errorf("folders: got %+v, %v", folders, err)
	}
	item, err := c.CreateItem(ctx, NewItem{Owner: me, Folder: folder.ID, Title: "web map", Mark: "rotatord-01J", Tags: []string{"maps", "prod"},
		Snippet: "for the web map", Description: "made by rotatord", Personal: true})
	must(t, "create item", err)
	_, err = c.AppSettings(ctx, item, me)
	wantKind(t, err, permanent, rotate.CauseNotCredential)
	wanted := Settings{Privileges: []string{ownable(product), ItemGrant(rotate.ItemID(layer))}, Referrers: []string{"https://app.example.com"}, Personal: true}
	made, err := c.RegisterApp(ctx, item, wanted)
	must(t, "register app", err)
	if !slices.Equal(made.Privileges, wanted.Privileges) || !slices.Equal(made.Referrers, wanted.Referrers) || !made.Personal || made.Item != item ||
		!slices.Equal(made.RedirectURIs, []string{outOfBand}) || made.App.ClientID == "" || made.App.ClientSecret.IsZero() || made.Registered.IsZero() {
		t.Errorf("registered: %+v", made)
	}
	_, err = c.RegisterApp(ctx, item, wanted)
	wantKind(t, err, permanent, rotate.CauseNone)
	if !errors.Is(err, ErrRegistered) {
		t.Errorf("registered twice: %v", err)
	}
	d, err := c.Details(ctx, item)
	if err != nil || !d.Application || !d.HasApp || d.HasKey || !d.Manageable || d.Folder != folder.ID || d.Owner != me || d.Access != "private" ||
		d.OrgID != e.OrgID() || d.Snippet != "for the web map" || d.Description != "made by rotatord" || !slices.Equal(d.Tags, []string{"rotatord-01J", "maps", "prod"}) || d.Date.IsZero() {
		t.Errorf("details: got %+v, %v", d, err)
	}
	keys := bothKeys(t, c, item, me, made.App)
	editInPlace(t, c, item, me)
	for _, key := range keys {
		if ok, why := e.KeyValid(key); !ok {
			t.Errorf("an edit in place ended a key: %s", why)
		}
	}
	edited, err := c.EditApp(ctx, made.App.ClientID, Settings{Privileges: []string{ownable(product)}})
	if err != nil || edited.App.Active[1] || edited.App.Active[2] || len(edited.Referrers) != 0 || !slices.Equal(edited.Privileges, []string{ownable(product)}) || edited.Personal {
		t.Errorf("edit app: got %+v, %v", edited, err)
	}
	for _, key := range keys {
		if ok, _ := e.KeyValid(key); ok {
			t.Error("a key outlived the app's edit")
		}
	}
	endOfLife(t, e, c, item, me, made.App.ClientID)
}

func must(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func bothKeys(t *testing.T, c *Client, item rotate.ItemID, owner string, app rotate.App) (keys []string) {
	t.Helper()
	id := rotate.ID{Portal: "test", Item: item}
	for _, slot := range []rotate.Slot{rotate.Slot1, rotate.Slot2} {
		must(t, "set expiry", c.SetExpiry(t.Context(), id, owner, slot, inDays(30)))
		minted, err := c.Mint(t.Context(), id, app, slot)
		must(t, "mint", err)
		keys = append(keys, minted.Key.Reveal())
	}
	return keys
}

func editInPlace(t *testing.T, c *Client, item rotate.ItemID, owner string) {
	t.Helper()
	ctx := t.Context()
	must(t, "update item", c.UpdateItem(ctx, item, owner, ItemEdit{Title: new("new title"), Snippet: new(""), Tags: &[]string{"one"}}))
	must(t, "move item", c.MoveItem(ctx, item, owner, ""))
	d, err := c.Details(ctx, item)
	if err != nil || d.Title != "new title" || d.Snippet != "" || d.Description != "made by rotatord" || !slices.Equal(d.Tags, []string{"one"}) || d.Folder != "" || !d.HasKey {
		t.Errorf("after the edit: got %+v, %v", d, err)
	}
	must(t, "clear tags", c.UpdateItem(ctx, item, owner, ItemEdit{Tags: &[]string{}}))
	if d, err = c.Details(ctx, item); err != nil || len(d.Tags) != 0 || d.Title != "new title" {
		t.Errorf("after the tags were cleared: got %+v, %v", d, err)
	}
	for _, org := range []bool{true, false} {
		must(t, "share", c.ShareItem(ctx, item, owner, org))
		want := map[bool]string{true: "org", false: "private"}[org]
		if d, err = c.Details(ctx, item); err != nil || d.Access != want {
			t.Errorf("shared: got %s, %v, want %s", d.Access, err, want)
		}
	}
	must(t, "update nothing", c.UpdateItem(ctx, item, owner, ItemEdit{}))
}

func endOfLife(t *testing.T, e *portaltest.Emulator, c *Client, item rotate.ItemID, owner, clientID string) {
	t.Helper()
	ctx := t.Context()
	must(t, "protect", c.Protect(ctx, item, owner))
	must(t, "protect again", c.Protect(ctx, item, owner))
	for what, err := range map[string]error{"delete": c.DeleteItem(ctx, item, owner, true), "can delete": c.CanDelete(ctx, item, owner)} {
		wantKind(t, err, permanent, rotate.CauseNone)
		if !errors.Is(err, ErrProtected) {
			t.Errorf("%s a protected item: %v", what, err)
		}
	}
	must(t, "unprotect", c.Unprotect(ctx, item, owner))
	must(t, "can delete", c.CanDelete(ctx, item, owner))
	must(t, "unregister", c.UnregisterApp(ctx, clientID))
	wantKind(t, c.UnregisterApp(ctx, clientID), permanent, rotate.CauseNotFound)
	_, err := c.EditApp(ctx, clientID, Settings{})
	wantKind(t, err, permanent, rotate.CauseNotFound)
	_, err = c.AppSettings(ctx, item, owner)
	wantKind(t, err, permanent, rotate.CauseNotCredential)
	must(t, "delete", c.DeleteItem(ctx, item, owner, true))
	wantKind(t, c.DeleteItem(ctx, item, owner, true), permanent, rotate.CauseNotFound)
	_, err = c.Details(ctx, item)
	wantKind(t, err, permanent, rotate.CauseNotFound)
	if got := e.Counts()[portaltest.OpDeleteItem]; got != 3 {
		t.Errorf("delete was sent %d times, want 3", got)
	}
}

// Refusals: what is wrong is found before anything is sent, or told as what it is.
func TestRefusalsOfAdministration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		other := e.AddCredential(portaltest.CredentialSeed{Title: "admin's"})
		admin := newTestClient(t, e, Options{})
		c := newTestClient(t, e, Options{Identity: Identity{Password: &PasswordIdentity{Username: portaltest.CreatorUser, Password: fixed(portaltest.StandardPassword)}}})
		viewer := newTestClient(t, e, Options{Identity: Identity{Password: &PasswordIdentity{Username: portaltest.ViewerUser, Password: fixed(portaltest.StandardPassword)}}})
		ctx, me := t.Context(), portaltest.CreatorUser
		item, err := c.CreateItem(ctx, NewItem{Owner: me, Title: "x", Mark: "m"})
		must(t, "create item", err)
		_, err = c.CreateFolder(ctx, me, "keys")
		must(t, "create folder", err)
		grants := make([]string, MaxItemGrants+1)
		for i := range grants {
			grants[i] = fmt.Sprintf("%s%032x", grantPrefix, i)
		}
		_, taken := c.CreateFolder(ctx, me, "keys")
		_, noFolder := c.CreateItem(ctx, NewItem{Owner: me, Title: "x", Folder: strings.Repeat("0", 32)})
		_, noRight := viewer.CreateItem(ctx, NewItem{Owner: portaltest.ViewerUser, Title: "x"})
		_, notOwner := admin.RegisterApp(ctx, item, Settings{})
		_, notAdmin := c.EditApp(ctx, other.ClientID, Settings{})
		_, many := c.RegisterApp(ctx, item, Settings{Privileges: grants})
		_, noUser := c.Account(ctx, "nobody")
		_, noFolders := c.Folders(ctx, "nobody")
		_, noPage := c.ContentPage(ctx, me, strings.Repeat("0", 32), 1)
		for _, row := range []struct {
			what string
			err  error
			is   error
			want rotate.Cause
		}{
			{"folder taken", taken, ErrFolderTaken, rotate.CauseNone},
			{"no such folder", noFolder, ErrNoFolder, rotate.CauseNone},
			{"no such folder to list", noPage, ErrNoFolder, rotate.CauseNone},
			{"move to no folder", c.MoveItem(ctx, item, me, strings.Repeat("0", 32)), ErrNoFolder, rotate.CauseNone},
			{"no right to create", noRight, nil, rotate.CauseForbidden},
			{"register another's", notOwner, nil, rotate.CauseForbidden},
			{"edit another's app", notAdmin, nil, rotate.CauseForbidden},
			{"unregister another's app", c.UnregisterApp(ctx, other.ClientID), nil, rotate.CauseForbidden},
			{"delete another's", c.DeleteItem(ctx, rotate.ItemID(other.ItemID), portaltest.AdminUser, true), nil, rotate.CauseNotFound},
			{"too many grants", many, ErrTooManyGrants, rotate.CauseNone},
			{"no user", noUser, nil, rotate.CauseNotFound},
			{"folders of nobody", noFolders, nil, rotate.CauseNone},
			{"share without the right", c.ShareItem(ctx, item, me, true), nil, rotate.CauseForbidden},
			{"update what is gone", c.UpdateItem(ctx, testID.Item, me, ItemEdit{Title: new("y")}), nil, rotate.CauseNotFound},
		} {
			if rotate.KindOf(row.err) != permanent || rotate.CauseOf(row.err) != row.want || row.is != nil && !errors.Is(row.err, row.is) {
				t.Errorf("%s: got %v (%s)", row.what, row.err, rotate.CauseOf(row.err))
			}
		}
	})
}

// What cannot be right is not sent.
func TestNothingIsSentThatCannotBeRight(t *testing.T) {
	transport := &counting{}
	c := keyClient(t, transport, Limits{})
	ctx := t.Context()
	fails := map[string]error{}
	_, fails["no title"] = c.CreateItem(ctx, NewItem{Owner: "u", Title: " "})
	_, fails["no owner"] = c.CreateItem(ctx, NewItem{Title: "x"})
	_, fails["comma in a tag"] = c.CreateItem(ctx, NewItem{Owner: "u", Title: "x", Tags: []string{"a,b"}})
	_, fails["comma in the mark"] = c.CreateItem(ctx, NewItem{Owner: "u", Title: "x", Mark: "a,b"})
	fails["title emptied"] = c.UpdateItem(ctx, testID.Item, "u", ItemEdit{Title: new("")})
	_, fails["too many grants"] = c.RegisterApp(ctx, testID.Item, Settings{Privileges: slices.Repeat([]string{ItemGrant(testID.Item)}, 101)})
	_, fails["empty privilege"] = c.RegisterApp(ctx, testID.Item, Settings{Privileges: []string{""}})
	_, fails["blank around a privilege"] = c.EditApp(ctx, "x", Settings{Privileges: []string{" premium:user:basemaps"}})
	_, fails["no client id"] = c.EditApp(ctx, "", Settings{})
	fails["no client id to unregister"] = c.UnregisterApp(ctx, "")
	_, fails["no owner of the app"] = c.AppSettings(ctx, testID.Item, "")
	_, fails["no owner of folders"] = c.Folders(ctx, "")
	_, fails["no folder title"] = c.CreateFolder(ctx, "u", "")
	_, fails["no mark"] = c.FindItems(ctx, "u", "")
	for what, err := range fails {
		if rotate.KindOf(err) != permanent {
			t.Errorf("%s: got %v", what, err)
		}
	}
	if n := transport.calls.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// A privilege that the portal refuses is named, whoever is to blame for it.
func TestRefusedPrivilegesAreNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Product: portaltest.LocationPlatform})
		c := newTestClient(t, e, Options{})
		me := portaltest.AdminUser
		item, err := c.CreateItem(t.Context(), NewItem{Owner: me, Title: "x"})
		must(t, "create item", err)
		bad := []string{"premium:user:basemap", "premium:user:networkanalysis:origindestinationcostmatrices"}
		_, err = c.RegisterApp(t.Context(), item, Settings{Privileges: append([]string{"premium:user:basemaps"}, bad...)})
		wantKind(t, err, permanent, rotate.CauseForbidden)
		refused, ok := errors.AsType[*PrivilegesError](err)
		if !ok || !slices.Equal(refused.Names, bad) || !strings.Contains(err.Error(), bad[1]) {
			t.Errorf("got %v, want the names %v", err, bad)
		}
		_, err = c.AppSettings(t.Context(), item, me)
		wantKind(t, err, permanent, rotate.CauseNotCredential) // nothing was registered
		silent := keyClient(t, canned{status: 200, body: `{"error":{"code":500,"message":"Unable to register app. Invalid Privileges"}}`}, Limits{})
		_, err = silent.RegisterApp(t.Context(), item, Settings{Privileges: bad})
		if refused, ok = errors.AsType[*PrivilegesError](err); !ok || len(refused.Names) != 0 {
			t.Errorf("a portal that names none: got %v", err)
		}
	})
}

// A portal that keeps less than was asked shows what it keeps.
func TestDroppedPrivilegesShow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Switches: map[string]string{portaltest.SwitchUnknownPrivilege: "drop", portaltest.SwitchGrantOfNoItem: "drop"}})
		c := newTestClient(t, e, Options{})
		item, err := c.CreateItem(t.Context(), NewItem{Owner: portaltest.AdminUser, Title: "x"})
		must(t, "create item", err)
		made, err := c.RegisterApp(t.Context(), item, Settings{Privileges: []string{"premium:user:basemaps", "premium:user:nothing", ItemGrant(testID.Item)}})
		if err != nil || !slices.Equal(made.Privileges, []string{"premium:user:basemaps"}) {
			t.Errorf("got %v, %v", made.Privileges, err)
		}
	})
}

func TestTooOldForAnApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Product: portaltest.Enterprise113})
		c := newTestClient(t, e, Options{})
		item, err := c.CreateItem(t.Context(), NewItem{Owner: portaltest.AdminUser, Title: "x"})
		must(t, "create item", err)
		made, err := c.RegisterApp(t.Context(), item, Settings{})
		wantKind(t, err, permanent, rotate.CauseTooOld)
		if made.App.ClientID == "" {
			t.Error("the app that was made cannot be taken back: its client id is missing")
		}
		legacy := e.AddLegacyKey(portaltest.AdminUser, "old")
		_, err = c.AppSettings(t.Context(), rotate.ItemID(legacy.ItemID), legacy.Owner)
		wantKind(t, err, permanent, rotate.CauseNotCredential)
	})
}

func TestAccountsAndTheirPrivileges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Switches: map[string]string{portaltest.SwitchUserPrivileges: "own_only"}})
		c := newTestClient(t, e, Options{})
		a, err := c.Account(t.Context(), "")
		if err != nil || a.Username != portaltest.AdminUser || !a.Admin() || a.LicenseType != "creatorUT" || !a.Told || a.OrgID != e.OrgID() {
			t.Errorf("ourselves: got %+v, %v", a, err)
		}
		wanted := []string{"premium:user:basemaps", "premium:user:places", ItemGrant(testID.Item)}
		if got := a.Lacks(wanted); !slices.Equal(got, []string{"premium:user:places"}) {
			t.Errorf("lacks %v", got)
		}
		other, err := c.Account(t.Context(), portaltest.ViewerUser)
		if err != nil || other.Admin() || other.Told {
			t.Errorf("another: got %+v, %v; want untold privileges", other, err)
		}
		must(t, "switch", e.SetSwitch(portaltest.SwitchUserPrivileges, "shown"))
		if other, err = c.Account(t.Context(), portaltest.ViewerUser); err != nil || !other.Told || len(other.Lacks(wanted)) != 2 {
			t.Errorf("another, shown: got %+v, %v", other, err)
		}
	})
}

func TestGrantableItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		c := newTestClient(t, e, Options{})
		own, url := e.AddService(portaltest.AdminUser, "trees", "private")
		public := e.AddItem(portaltest.AdminUser, "Web Map", "open", "public")
		must(t, "share", e.ShareWithGroup(own, "11112222333344445555666677778888"))
		for id, want := range map[string]string{own: "", public: "public", e.AddForeignItem("Web Map", "theirs"): "another organisation", string(testID.Item): "does not exist"} {
			d, err := c.Details(t.Context(), rotate.ItemID(id))
			got := GrantTrouble(rotate.ItemID(id), d, err, e.OrgID())
			if want == "" && got != "" || !strings.Contains(got, want) {
				t.Errorf("item %s: got %q, want %q", id, got, want)
			}
			if id == own && d.URL != url {
				t.Errorf("url %q, want %q", d.URL, url)
			}
		}
		if got := GrantTrouble(testID.Item, Details{}, &rotate.Error{Kind: transient}, ""); !strings.Contains(got, "just now") {
			t.Errorf("a portal that is away: %q", got)
		}
		page, err := c.SearchPage(t.Context(), `group:"11112222333344445555666677778888"`, 1)
		if err != nil || len(page.Items) != 1 || page.Items[0].Item != rotate.ItemID(own) || page.Next != 0 {
			t.Errorf("items of the group: got %+v, %v", page, err)
		}
		if id, ok := GrantedItem(ItemGrant("abc")); id != "abc" || !ok {
			t.Errorf("granted item: %q, %t", id, ok)
		}
		if _, ok := GrantedItem("premium:user:basemaps"); ok {
			t.Error("a location privilege is taken for a grant")
		}
	})
}

// A title can be looked for as well, and a user with more than a page of items loses none.
func TestFindingAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		for i := range 230 {
			e.AddItem(portaltest.AdminUser, "Web Map", fmt.Sprintf("map %d", i), "private")
			if i%100 == 50 {
				e.AddCredential(portaltest.CredentialSeed{Title: "wanted", Folder: map[bool]string{true: "keys"}[i == 50], Tags: []string{"m"}})
				time.Sleep(time.Second)
			}
		}
		e.AddItem(portaltest.AdminUser, "Web Map", "wanted", "private") // no application
		c := newTestClient(t, e, Options{})
		for what, find := range map[string]func() ([]Details, error){
			"by title": func() ([]Details, error) { return c.FindTitled(t.Context(), portaltest.AdminUser, "wanted") },
			"by mark":  func() ([]Details, error) { return c.FindItems(t.Context(), portaltest.AdminUser, "m") },
		} {
			found, err := find()
			if err != nil || len(found) != 2 || !found[0].Created.Before(found[1].Created) || found[0].Folder == "" || !found[0].HasApp {
				t.Errorf("%s: got %+v, %v", what, found, err)
			}
		}
	})
}
