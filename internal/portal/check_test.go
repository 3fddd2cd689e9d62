package portal

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

func by(user string) Identity {
	return Identity{Password: &PasswordIdentity{Username: user, Password: fixed(portaltest.StandardPassword)}}
}

// wantFindings compares severity and the beginning of each sentence.
func wantFindings(t *testing.T, got []Finding, want ...string) {
	t.Helper()
	var lines []string
	for i, f := range got {
		line := string(f.Severity) + ": " + f.Sentence
		lines = append(lines, line)
		if i < len(want) && !strings.HasPrefix(line, want[i]) {
			t.Errorf("finding %d: got %q, want it to begin with %q", i+1, line, want[i])
		}
		if f.Severity == SeverityError && f.Cure == "" && !strings.Contains(f.Sentence, "stopped") {
			t.Errorf("%q has no cure", line)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d findings, want %d:\n%s", len(got), len(want), strings.Join(lines, "\n"))
	}
}

func TestCheckNamesWhatIsWrongWithAnItem(t *testing.T) {
	e := strictEmulator(t, portaltest.Options{})
	good := e.AddCredential(portaltest.CredentialSeed{Expires: [2]time.Time{inDays(9)}, Minted: true})
	fresh := e.AddCredential(portaltest.CredentialSeed{Title: "never had a key"})
	others := e.AddCredential(portaltest.CredentialSeed{Owner: portaltest.AdminUser, Expires: [2]time.Time{inDays(9)}, Minted: true})
	mine := e.AddCredential(portaltest.CredentialSeed{Owner: portaltest.CreatorUser, Expires: [2]time.Time{inDays(9)}, Minted: true})
	oauth := e.AddOAuthApp(portaltest.AdminUser, "oauth", "https://app.example.com")
	legacy := e.AddLegacyKey(portaltest.AdminUser, "legacy")
	webMap := e.AddItem(portaltest.AdminUser, "Web Map", "map", "private")
	bare := e.AddItem(portaltest.AdminUser, "Application", "app without registration", "private")
	public := e.AddItem(portaltest.AdminUser, "Application", "somebody's app", "public")
	for _, row := range []struct {
		name string
		user string
		item CheckItem
		want []string
	}{
		{"fine", portaltest.AdminUser, CheckItem{Item: rotate.ItemID(good.ItemID), Owner: portaltest.AdminUser}, nil},
		{"another's, as admin", portaltest.AdminUser, CheckItem{Item: rotate.ItemID(mine.ItemID)}, nil},
		{"one's own", portaltest.CreatorUser, CheckItem{Item: rotate.ItemID(mine.ItemID)}, nil},
		{"owner differs", portaltest.AdminUser, CheckItem{Item: rotate.ItemID(mine.ItemID), Owner: "somebody"}, []string{"warning: The item belongs to map_creator, not to somebody"}},
		{"another's", portaltest.CreatorUser, CheckItem{Item: rotate.ItemID(others.ItemID)}, []string{"error: The item does not exist or is not visible"}},
		{"another's public", portaltest.CreatorUser, CheckItem{Item: rotate.ItemID(public)}, []string{"error: The item belongs to ops_admin, and map_creator is no administrator"}},
		{"never had a key", portaltest.AdminUser, CheckItem{Item: rotate.ItemID(fresh.ItemID)}, []string{"warning: The item never had an API key"}},
		{"oauth app", portaltest.AdminUser, CheckItem{Item: rotate.ItemID(oauth.ItemID)}, []string{"error: The item is an OAuth app"}},
		{"legacy key", portaltest.AdminUser, CheckItem{Item: rotate.ItemID(legacy.ItemID)}, []string{"error: The item is a legacy API key"}},
		{"web map", portaltest.AdminUser, CheckItem{Item: rotate.ItemID(webMap)}, []string{"error: The item is neither"}},
		{"not registered", portaltest.AdminUser, CheckItem{Item: rotate.ItemID(bare)}, []string{"error: The item has no registered app"}},
		{"no such item", portaltest.AdminUser, CheckItem{Item: testID.Item}, []string{"error: The item does not exist"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newTestClient(t, e, Options{Identity: by(row.user)})
			wantFindings(t, c.Check(t.Context(), CheckRequest{Items: []CheckItem{row.item}, Verb: VerbRotate}), row.want...)
		})
	}
}

func TestCheckNamesEachMissingPrivilege(t *testing.T) {
	for _, product := range []portaltest.Product{portaltest.Online, portaltest.Enterprise114} {
		for verb, want := range map[Verb][]string{
			VerbWatch: nil,
			VerbRotate: {"error: User map_viewer lacks the privilege portal:user:generateApiTokens, which rotate needs",
				"error: User map_viewer lacks the privilege portal:user:assignPrivilegesToApps", "error: User map_viewer lacks the privilege portal:user:createItem"},
			VerbCreate: {"error: User map_viewer lacks the privilege portal:user:generateApiTokens, which create needs",
				"error: User map_viewer lacks the privilege portal:user:assignPrivilegesToApps", "error: User map_viewer lacks the privilege portal:user:createItem"},
		} {
			t.Run(fmt.Sprintf("%s %s", product, verb), func(t *testing.T) {
				e := strictEmulator(t, portaltest.Options{Product: product})
				c := newTestClient(t, e, Options{Identity: by(portaltest.ViewerUser)})
				wantFindings(t, c.Check(t.Context(), CheckRequest{Verb: verb}), want...)
			})
		}
	}
	for _, product := range portaltest.Products() {
		c := newTestClient(t, strictEmulator(t, portaltest.Options{Product: product}), Options{})
		wantFindings(t, c.Check(t.Context(), CheckRequest{Verb: VerbRotate}))
	}
}

func TestCheckOfAKeyAsIdentity(t *testing.T) {
	for _, row := range []struct {
		name       string
		privileges func(item string) []string
		verb       Verb
		want       []string
	}{
		{"both privileges", func(string) []string { return []string{privViewAll, privEditAll} }, VerbRotate, nil},
		{"a grant of the item", func(item string) []string { return []string{grantPrefix + item} }, VerbRotate, nil},
		{"only sees", func(string) []string { return []string{privViewAll} }, VerbRotate, []string{"error: Our API key neither has a grant of the item nor the privilege portal:admin:updateItems"}},
		{"only watches", func(string) []string { return []string{privViewAll} }, VerbWatch, []string{"warning: ops_admin may not read the item's app"}},
		{"creates", func(string) []string { return []string{privViewAll, privEditAll} }, VerbCreate, []string{"error: An API key cannot create credentials"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := strictEmulator(t, portaltest.Options{})
			cred := e.AddCredential(portaltest.CredentialSeed{Expires: [2]time.Time{inDays(9)}, Minted: true})
			admin := e.AddCredential(portaltest.CredentialSeed{Expires: [2]time.Time{inDays(9)}, Minted: true, Privileges: row.privileges(cred.ItemID)})
			c := newTestClient(t, e, Options{Identity: Identity{APIKey: &APIKeyIdentity{Key: fixed(admin.Keys[0])}}})
			wantFindings(t, c.Check(t.Context(), CheckRequest{Items: []CheckItem{{Item: rotate.ItemID(cred.ItemID)}}, Verb: row.verb}), row.want...)
		})
	}
}

func TestCheckOfThePortalItself(t *testing.T) {
	t.Run("no portal", func(t *testing.T) {
		c := keyClient(t, &canned{status: 404, body: htmlBody}, Limits{})
		wantFindings(t, c.Check(t.Context(), CheckRequest{}), "error: What answers at https://portal.test/sharing/rest is not an ArcGIS portal")
	})
	t.Run("unreachable", func(t *testing.T) {
		c := keyClient(t, &canned{err: http.ErrServerClosed}, Limits{})
		wantFindings(t, c.Check(t.Context(), CheckRequest{}), "error: The portal at portal.test cannot be reached")
	})
	t.Run("in trouble", func(t *testing.T) {
		c := keyClient(t, &canned{status: 503}, Limits{})
		wantFindings(t, c.Check(t.Context(), CheckRequest{}), "error: The portal cannot be asked just now")
	})
	t.Run("single sign-on account", func(t *testing.T) {
		c := newTestClient(t, strictEmulator(t, portaltest.Options{}), Options{Identity: by(portaltest.SSOUser)})
		wantFindings(t, c.Check(t.Context(), CheckRequest{}), "error: The portal refuses our identity")
	})
	t.Run("enterprise too old", func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Product: portaltest.Enterprise113})
		app := e.AddOAuthApp(portaltest.AdminUser, "app", outOfBand)
		c := newTestClient(t, e, Options{})
		wantFindings(t, c.Check(t.Context(), CheckRequest{Items: []CheckItem{{Item: rotate.ItemID(app.ItemID)}}, Verb: VerbRotate}),
			"error: The portal is too old for API key credentials (version 2024.1)")
		_, err := c.App(t.Context(), credentialID(app), app.Owner)
		wantKind(t, err, permanent, rotate.CauseTooOld)
	})
	for offset, want := range map[string]string{"10m": "error: The portal's clock is 10m", "-10m": "error: The portal's clock is 10m", "off": "warning: The portal's answers carry no Date"} {
		t.Run("date "+offset, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := strictEmulator(t, portaltest.Options{Switches: map[string]string{portaltest.SwitchDateHeader: offset}})
				wantFindings(t, newTestClient(t, e, Options{}).Check(t.Context(), CheckRequest{Verb: VerbRotate}), want)
			})
		})
	}
	t.Run("short tokens", func(t *testing.T) {
		rt := roundTripFunc(func(r *http.Request) (*http.Response, error) {
			return (&canned{status: 200, header: http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}},
				body: `{"id":"org","token":"t","maxTokenExpirationMinutes":30,"user":{"username":"u","role":"org_admin","privileges":["` +
					strings.Join([]string{privGenerate, privAssign, privCreate}, `","`) + `"]}}`}).RoundTrip(r)
		})
		c, err := New(Options{URL: testURL, Transport: rt, Identity: by("u")})
		if err != nil {
			t.Fatalf("make client: %v", err)
		}
		wantFindings(t, c.Check(t.Context(), CheckRequest{Verb: VerbRotate}), "warning: The organisation caps tokens at 30 minutes, less than the 120 asked for")
	})
}

func TestWhoamiAsksFurtherWhereSelfNamesNobody(t *testing.T) {
	rt := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		body := `{"id":"org","name":"Org"}`
		if strings.HasSuffix(r.URL.Path, "/community/self") {
			body = `{"username":"ops","role":"org_admin","privileges":["a"],"appInfo":{"appId":"c","itemId":"i","privileges":["b"]}}`
		}
		return canned{status: 200, body: body}.RoundTrip(r)
	})
	self, err := keyClient(t, rt, Limits{}).Whoami(t.Context())
	if err != nil || self.User != "ops" || self.KeyItem != "i" || !self.Has("b") || self.Has("a") || self.Admin() {
		t.Errorf("got %+v, %v; want the key's own rights", self, err)
	}
}

func TestItemPage(t *testing.T) {
	for product, want := range map[portaltest.Product]string{
		portaltest.Online:           "https://emulated.maps.arcgis.com/home/item.html?id=abc#settings",
		portaltest.LocationPlatform: "https://emulated-lp.maps.arcgis.com/home/item.html?id=abc#settings",
		portaltest.Enterprise114:    "https://portal.test/gis/home/item.html?id=abc#settings",
	} {
		e := strictEmulator(t, portaltest.Options{Product: product, Root: "/gis/sharing/rest"})
		self, err := newTestClient(t, e, Options{URL: testURL + "/gis"}).Whoami(t.Context())
		if err != nil || self.ItemPage("abc") != want || self.User != portaltest.AdminUser || !self.Admin() || self.OrgID != e.OrgID() {
			t.Errorf("%s: got %s of %+v, %v; want %s", product, self.ItemPage("abc"), self, err, want)
		}
	}
}
