package portal

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// grantsOf is a proof against the emulator, which serves portal and services alike.
func grantsOf(t testing.TB, e *portaltest.Emulator, product Product, billed bool, hosts ...string) *Grants {
	t.Helper()
	g, err := NewGrants(GrantsOptions{Portal: newTestClient(t, e, Options{}), Product: product, AllowBilled: billed,
		Services: ParityOptions{Transport: e.Transport(), AllowHosts: hosts}})
	must(t, "make grants", err)
	t.Cleanup(g.Close)
	return g
}

func keyWith(e *portaltest.Emulator, referrers []string, privileges ...string) rotate.Secret {
	cred := e.AddCredential(portaltest.CredentialSeed{Title: "key", Privileges: privileges, Referrers: referrers, Expires: [2]time.Time{inDays(20)}, Minted: true})
	return rotate.NewSecret(cred.Keys[0])
}

func states(list []Grant) (got []string) {
	for _, g := range list {
		got = append(got, fmt.Sprintf("%s %s", strings.TrimPrefix(g.Privilege, "premium:user:"), g.State))
	}
	return got
}

// A key that has everything works, one that has nothing is refused, as far as calls tell
// and cost nothing; and nothing is billed that was not allowed.
func TestGrantsOfALocationPlatformKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Product: portaltest.LocationPlatform})
		all := append(probed(), "portal:user:createItem")
		rich, poor := keyWith(e, nil, all...), keyWith(e, nil, "portal:user:createItem")
		free := grantsOf(t, e, LocationPlatform, false)
		for _, row := range []struct {
			what  string
			got   []Grant
			works GrantState
		}{{"a rich key", free.Ask(t.Context(), rich, "", all), GrantWorks}, {"a poor key", free.Ask(t.Context(), poor, "", all), GrantRefused}} {
			for _, g := range row.got {
				want := row.works
				switch g.Privilege {
				case "premium:user:staticbasemaptiles", "premium:user:geoenrichment", "portal:user:createItem",
					"premium:user:elevation", "premium:user:networkanalysis", "premium:user:networkanalysis:routing":
					want = GrantUncheckable // billed, no call, or a page that is open to anybody
				}
				if g.State != want || g.Sentence == "" {
					t.Errorf("%s: %+v, want %s", row.what, g, want)
				}
			}
		}
		if e.Billed() != 0 {
			t.Errorf("%d calls would have cost", e.Billed())
		}
		billed := grantsOf(t, e, LocationPlatform, true)
		for key, want := range map[rotate.Secret]GrantState{rich: GrantWorks, poor: GrantRefused} {
			for _, g := range billed.Ask(t.Context(), key, "", []string{"premium:user:staticbasemaptiles", "premium:user:geoenrichment"}) {
				if g.State != want {
					t.Errorf("allowed to cost: %+v, want %s", g, want)
				}
			}
		}
		if e.Billed() != 1 {
			t.Errorf("%d calls would have cost, want the one tile", e.Billed())
		}
	})
}

// Both forms of an error say the same, and a page that is closed proves its privilege.
func TestGrantsUnderEveryGuess(t *testing.T) {
	privileges := []string{"premium:user:basemaps", "premium:user:geocode", "premium:user:places", "premium:user:elevation", "premium:user:networkanalysis:routing"}
	for settings := range portaltest.Settings(portaltest.SwitchManner, portaltest.SwitchRateLimit) {
		t.Run(fmt.Sprint(settings), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := strictEmulator(t, portaltest.Options{Product: portaltest.LocationPlatform, Switches: settings})
				g := grantsOf(t, e, LocationPlatform, true)
				open := func(name, yes string) bool { return settings[name] == yes }
				for who, key := range map[string]rotate.Secret{"rich": keyWith(e, nil, append(privileges, "premium:user:geocode:temporary")...), "poor": keyWith(e, nil, "portal:user:createItem")} {
					time.Sleep(time.Minute) // a key that is new is there
					for _, got := range g.Ask(t.Context(), key, "", privileges) {
						want := map[string]GrantState{"rich": GrantWorks, "poor": GrantRefused}[who]
						root := got.Privilege == privileges[3] || got.Privilege == privileges[4]
						arguments := got.Privilege == privileges[1] || got.Privilege == privileges[2]
						if root && !open(portaltest.SwitchServiceRoots, "closed") || arguments && open(portaltest.SwitchServiceArguments, "arguments_first") {
							want = GrantUncheckable
						}
						if got.State != want {
							t.Errorf("%s: %+v, want %s", who, got, want)
						}
					}
				}
			})
		})
	}
}

func TestGrantsOfItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		layer, _ := e.AddService(portaltest.AdminUser, "trees", "private")
		webMap := e.AddItem(portaltest.AdminUser, "Web Map", "map", "private")
		public := e.AddItem(portaltest.AdminUser, "Web Map", "open", "public")
		gone := strings.Repeat("0", 32)
		var all []string
		for _, id := range []string{layer, webMap, public, gone} {
			all = append(all, ItemGrant(rotate.ItemID(id)))
		}
		g := grantsOf(t, e, Online, false)
		granted := g.Ask(t.Context(), keyWith(e, []string{"https://app.example.com"}, all...), "https://app.example.com", all)
		bare := g.Ask(t.Context(), keyWith(e, nil, "premium:user:basemaps"), "", all)
		bound := g.Ask(t.Context(), keyWith(e, []string{"https://app.example.com"}, all...), "https://elsewhere.example", all[:1])
		for i, want := range []GrantState{GrantWorks, GrantWorks, GrantUncheckable, GrantRefused} {
			if granted[i].State != want {
				t.Errorf("granted: %+v, want %s", granted[i], want)
			}
			if want == GrantWorks && bare[i].State != GrantRefused {
				t.Errorf("not granted: %+v", bare[i])
			}
		}
		if !strings.Contains(granted[0].Sentence, "services.arcgis.com serves it") {
			t.Errorf("the layer: %q", granted[0].Sentence)
		}
		if bound[0].State != GrantRefused || bound[0].Code != 498 {
			t.Errorf("from another referrer: %+v", bound[0])
		}
		if worse := CompareGrants(granted, bare); len(worse) != 2 || !worse[0].Worse || !worse[1].Worse {
			t.Errorf("differences: %+v", worse)
		}
	})
}

// An item's address is whatever its owner wrote: the key goes to no host that was not named.
func TestAKeyIsNotSentWhereAnItemPoints(t *testing.T) {
	for _, row := range []struct {
		url     string
		product Product
		asked   bool
	}{
		{"https://evil.example/arcgis/rest/services/x/FeatureServer", Online, false},
		{"https://services.arcgis.com.evil.example/x/FeatureServer", Online, false},
		{"https://user@services.arcgis.com/x/FeatureServer", Online, false},
		{"http://services.arcgis.com/x/FeatureServer", Online, false},
		{"https://services.arcgis.com:8443/x/FeatureServer", Online, false},
		{"https://services.arcgis.com/x/FeatureServer", Enterprise, false},
		{"https://services7.arcgis.com/org/arcgis/rest/services/x/FeatureServer?token=y", Online, true},
		{"https://gis.example.com/server/rest/services/x/FeatureServer", Enterprise, true},
		{testURL + "/server/rest/services/x/FeatureServer", Enterprise, true},
		{":", Online, false},
	} {
		var asked []string
		rt := roundTripFunc(func(r *http.Request) (*http.Response, error) {
			asked = append(asked, r.URL.String())
			if strings.Contains(r.URL.Path, "/content/items/") {
				return canned{status: 200, body: fmt.Sprintf(`{"type":"Feature Service","owner":"u","access":"private","url":%q}`, row.url)}.RoundTrip(r)
			}
			return canned{status: 200, body: `{"currentVersion":11}`}.RoundTrip(r)
		})
		g, err := NewGrants(GrantsOptions{Portal: keyClient(t, rt, Limits{}), Product: row.product,
			Services: ParityOptions{Transport: rt, AllowHosts: []string{"gis.example.com"}}})
		must(t, "make grants", err)
		got := g.Ask(t.Context(), rotate.NewSecret(testKey(1)), "", []string{ItemGrant(testID.Item)})
		if got[0].State != GrantWorks || (len(asked) == 2) != row.asked {
			t.Errorf("%s: asked %v, %+v", row.url, asked, got[0])
		}
		if row.asked && (strings.Contains(asked[1], "token") || !strings.HasSuffix(asked[1], "?f=json")) {
			t.Errorf("%s: asked %s", row.url, asked[1])
		}
	}
}

// What is not the key's fault is never taken for a refusal, nor for a proof.
func TestGrantsThatAreUnclear(t *testing.T) {
	for name, row := range map[string]struct {
		canned canned
		want   GrantState
	}{
		"away":              {canned{err: http.ErrHandlerTimeout}, GrantUnclear},
		"cut":               {canned{status: 200, body: "{", cut: true}, GrantUnclear},
		"503":               {canned{status: 503, body: "{}"}, GrantUnclear},
		"500 in the body":   {canned{status: 200, body: `{"error":{"code":500,"message":"x"}}`}, GrantUnclear},
		"429":               {canned{status: 429}, GrantUnclear},
		"404":               {canned{status: 404, body: "no such page"}, GrantUnclear},
		"400":               {canned{status: 400, body: `{"error":{"code":400}}`}, GrantUnclear},
		"redirect":          {canned{status: 302}, GrantUnclear},
		"open to anybody":   {canned{status: 200, body: `{"version":8}`}, GrantUncheckable},
		"403":               {canned{status: 403, body: `{"error":{"code":403}}`}, GrantRefused},
		"403 in the body":   {canned{status: 200, body: `{"error":{"code":403,"message":"x"}}`}, GrantRefused},
		"401":               {canned{status: 401}, GrantRefused},
		"498 in the body":   {canned{status: 200, body: `{"error":{"code":498,"message":"Invalid token."}}`}, GrantRefused},
		"499 as the status": {canned{status: 499}, GrantRefused},
	} {
		g, err := NewGrants(GrantsOptions{Portal: keyClient(t, canned{}, Limits{}), Product: Online, Services: ParityOptions{Transport: row.canned}})
		must(t, "make grants", err)
		got := g.Ask(t.Context(), rotate.NewSecret(testKey(1)), "", []string{"premium:user:basemaps"})
		if got[0].State != row.want {
			t.Errorf("%s: %+v, want %s", name, got[0], row.want)
		}
	}
}

func TestGrantsOnEnterpriseAskNoLocationService(t *testing.T) {
	transport := &counting{}
	g, err := NewGrants(GrantsOptions{Portal: keyClient(t, transport, Limits{}), Product: Enterprise, AllowBilled: true, Services: ParityOptions{Transport: transport}})
	must(t, "make grants", err)
	for _, got := range g.Ask(t.Context(), rotate.NewSecret(testKey(1)), "", probed()) {
		if got.State != GrantUncheckable {
			t.Errorf("%+v", got)
		}
	}
	if n := transport.calls.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
	if _, err := NewGrants(GrantsOptions{}); err == nil {
		t.Error("a proof without a portal was made")
	}
}

// Each kind of geocoding is proved by itself.
func TestGrantsOfEachKindOfGeocoding(t *testing.T) {
	e := strictEmulator(t, portaltest.Options{Product: portaltest.LocationPlatform})
	g := grantsOf(t, e, LocationPlatform, false)
	got := g.Ask(t.Context(), keyWith(e, nil, "premium:user:geocode:stored"), "", []string{"premium:user:geocode:stored", "premium:user:geocode:temporary"})
	if !slices.Equal(states(got), []string{"geocode:stored works", "geocode:temporary refused"}) {
		t.Errorf("got %v", states(got))
	}
	for k, n := range g.Counts() {
		if k.Op != opGrant || n != 3 { // twice with the key, once as nobody
			t.Errorf("counted %+v: %d", k, n)
		}
	}
}

func TestCompareGrants(t *testing.T) {
	of := func(states ...GrantState) (list []Grant) {
		for i, s := range states {
			list = append(list, Grant{Privilege: fmt.Sprint(i), State: s, Sentence: "so."})
		}
		return list
	}
	old := of(GrantWorks, GrantRefused, GrantWorks, GrantUnclear, GrantWorks, GrantUncheckable)
	minted := append(of(GrantWorks, GrantWorks, GrantRefused, GrantRefused, GrantUnclear, GrantRefused), Grant{Privilege: "new", State: GrantRefused})
	got := CompareGrants(old, minted)
	if len(got) != 2 || got[0].Privilege != "2" || !got[0].Worse || got[1].Privilege != "1" || got[1].Worse || !strings.HasSuffix(got[0].Sentence, "so.") {
		t.Errorf("got %+v", got)
	}
}

// A new key has to be let in where its app was granted something, unless the old one is
// not let in either.
func TestGrantsOfANewKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Product: portaltest.LocationPlatform})
		const basemaps, geocode = "premium:user:basemaps", "premium:user:geocode"
		both, one, none := keyWith(e, nil, basemaps, geocode), keyWith(e, nil, basemaps), keyWith(e, nil, "portal:user:createItem")
		g := grantsOf(t, e, LocationPlatform, false)
		for name, c := range map[string]struct {
			old, minted rotate.Secret
			lacks       []string
		}{
			"all works":              {both, both, nil},
			"one is missing":         {both, one, []string{geocode}},
			"a first key lacks one":  {rotate.Secret{}, one, []string{geocode}},
			"neither has it":         {one, one, nil},
			"the new one is better":  {one, both, nil},
			"the new one has none":   {one, none, []string{basemaps}},
			"a first key lacks both": {rotate.Secret{}, none, []string{basemaps, geocode}},
		} {
			err := g.Prove(t.Context(), c.old, c.minted, []string{basemaps, geocode, "portal:user:createItem"}, "")
			if (err != nil) != (c.lacks != nil) {
				t.Errorf("%s: %v", name, err)
			}
			for _, p := range []string{basemaps, geocode} {
				if err != nil && strings.Contains(err.Error(), p) != slices.Contains(c.lacks, p) {
					t.Errorf("%s: %v, want %v", name, err, c.lacks)
				}
			}
			if err != nil && rotate.KindOf(err) != rotate.KindTransient {
				t.Errorf("%s is %s", name, rotate.KindOf(err))
			}
		}
	})
}
