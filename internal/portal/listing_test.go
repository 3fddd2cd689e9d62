package portal

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// fleet seeds n credentials with one key each, spread over a year, every tenth with two.
// Nobody signed in owns them.
func fleet(e *portaltest.Emulator, n int) map[rotate.ItemID]portaltest.Credential {
	all := map[rotate.ItemID]portaltest.Credential{}
	for i := range n {
		seed := portaltest.CredentialSeed{Owner: portaltest.CreatorUser, Title: fmt.Sprintf("credential %d", i), Expires: [2]time.Time{inDays(1 + i%360)}, Minted: true}
		if i%10 == 0 {
			seed.Expires[1] = inDays(1 + (i+30)%360)
		}
		c := e.AddCredential(seed)
		all[rotate.ItemID(c.ItemID)] = c
	}
	return all
}

func collect(t testing.TB, seq func(func(Listing, error) bool)) []Listing {
	t.Helper()
	var list []Listing
	for l, err := range seq {
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		list = append(list, l)
	}
	return list
}

func checkFleet(t *testing.T, list []Listing, want map[rotate.ItemID]portaltest.Credential) {
	t.Helper()
	seen := map[rotate.ItemID]bool{}
	for _, l := range list {
		c, ok := want[l.Item]
		if !ok || seen[l.Item] {
			t.Errorf("%s: unknown or listed twice", l.Item)
			continue
		}
		seen[l.Item] = true
		for slot, key := range c.Keys {
			if got := l.Keys[slot+1]; got.Present != (key != "") || got.Present == got.Expires.IsZero() {
				t.Errorf("%s slot %d: got %+v, want present %t with its date", l.Item, slot+1, got, key != "")
			}
		}
		if l.Owner == "" || l.Title == "" || l.Legacy {
			t.Errorf("got %+v", l)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("listed %d credentials, want %d", len(seen), len(want))
	}
}

func TestWhatASurveyCosts(t *testing.T) {
	for _, row := range []struct {
		name     string
		switches map[string]string
		n, most  int
	}{
		{"bare", nil, 10_000, 250},
		{"with nextStart", map[string]string{portaltest.SwitchAPITokensPaging: "next_start"}, 2_000, 50},
		{"start is ignored", map[string]string{portaltest.SwitchAPITokensPaging: "start_ignored"}, 2_000, 80},
		{"without apiTokens", map[string]string{portaltest.SwitchAPITokens: "off"}, 500, 512},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := strictEmulator(t, portaltest.Options{Switches: row.switches})
				want := fleet(e, row.n)
				c := newTestClient(t, e, Options{})
				checkFleet(t, collect(t, c.Listings(t.Context())), want)
				total, _ := e.Requests()
				t.Logf("%d credentials, every tenth with two keys: %d requests", row.n, total)
				if total > row.most {
					t.Errorf("%d requests, want at most %d: %v", total, row.most, e.Counts())
				}
			})
		})
	}
}

func TestFallbackFindsWhatSearchDoesNotShow(t *testing.T) {
	for _, user := range []string{portaltest.AdminUser, portaltest.CreatorUser} {
		t.Run(user, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := strictEmulator(t, portaltest.Options{Switches: map[string]string{portaltest.SwitchAPITokens: "off"}})
				want := map[rotate.ItemID]portaltest.Credential{}
				add := func(s portaltest.CredentialSeed) {
					if c := e.AddCredential(s); s.Owner == user || user == portaltest.AdminUser {
						want[rotate.ItemID(c.ItemID)] = c
					}
				}
				add(portaltest.CredentialSeed{Owner: portaltest.CreatorUser, Title: "indexed", Expires: [2]time.Time{inDays(9)}, Minted: true})
				add(portaltest.CredentialSeed{Owner: portaltest.AdminUser, Title: "the admin's", Expires: [2]time.Time{inDays(9)}, Minted: true})
				if err := e.SetSwitch(portaltest.SwitchSearchLag, "10m"); err != nil {
					t.Fatalf("set switch: %v", err)
				}
				add(portaltest.CredentialSeed{Owner: user, Title: "too new for the index", Folder: "keys", Expires: [2]time.Time{inDays(9), inDays(8)}, Minted: true})
				e.AddItem(user, "Web Map", "no credential", "private")
				c := newTestClient(t, e, Options{Identity: Identity{Password: &PasswordIdentity{Username: user, Password: fixed(portaltest.StandardPassword)}}})
				list := collect(t, c.Listings(t.Context()))
				checkFleet(t, list, want)
				asked := e.Counts()[portaltest.OpAPITokens]
				collect(t, c.Listings(t.Context()))
				if got := e.Counts()[portaltest.OpAPITokens]; asked != 1 || got != asked {
					t.Errorf("asked apiTokens %d and then %d times, want one refusal remembered", asked, got)
				}
				time.Sleep(25 * time.Hour) // fake time
				collect(t, c.Listings(t.Context()))
				if got := e.Counts()[portaltest.OpAPITokens]; got != 2 {
					t.Errorf("asked apiTokens %d times, want it tried again after a day", got)
				}
			})
		})
	}
}

func TestTroubleIsNoReasonToGiveApiTokensUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{})
		want := fleet(e, 3)
		c := newTestClient(t, e, Options{Limits: Limits{Retries: -1}})
		inject(t, e, portaltest.OpAPITokens, portaltest.Fault{Kind: portaltest.ServerError})
		var failed error
		for _, err := range c.Listings(t.Context()) {
			failed = err
		}
		wantKind(t, failed, transient, "")
		checkFleet(t, collect(t, c.Listings(t.Context())), want)
		if e.Counts()[portaltest.OpSearch] != 0 {
			t.Error("fell back to search")
		}
	})
}

func TestDiscover(t *testing.T) {
	for _, mode := range []string{"org", "off"} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := strictEmulator(t, portaltest.Options{Switches: map[string]string{portaltest.SwitchAPITokens: mode}})
				withKey := e.AddCredential(portaltest.CredentialSeed{Title: "with a key", Expires: [2]time.Time{inDays(9)}, Minted: true})
				dated := e.AddCredential(portaltest.CredentialSeed{Title: "dated only", Expires: [2]time.Time{inDays(9)}})
				legacy := e.AddLegacyKey(portaltest.AdminUser, "legacy")
				e.AddOAuthApp(portaltest.AdminUser, "oauth", "https://app.example.com")
				c := newTestClient(t, e, Options{})
				var got []string
				for _, l := range collect(t, c.Discover(t.Context())) {
					got = append(got, fmt.Sprintf("%s legacy=%t client=%t", l.Item, l.Legacy, l.ClientID != ""))
				}
				slices.Sort(got)
				want := []string{
					fmt.Sprintf("%s legacy=false client=%t", withKey.ItemID, mode == "org"),
					dated.ItemID + " legacy=false client=false",
					legacy.ItemID + " legacy=true client=false",
				}
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		})
	}
}

func TestSearchGoesBeyondItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Switches: map[string]string{portaltest.SwitchAPITokens: "off", portaltest.SwitchSearchTokenDates: "real"}})
		const n = 10_350
		for i := range n {
			e.AddCredential(portaltest.CredentialSeed{Owner: portaltest.CreatorUser, Expires: [2]time.Time{inDays(1 + i%300)}, Minted: true})
			time.Sleep(time.Second) // fake time: creations differ
		}
		c := newTestClient(t, e, Options{})
		if got := len(collect(t, c.Listings(t.Context()))); got != n {
			t.Errorf("listed %d, want %d", got, n)
		}
	})
}

func TestAListingStopsWithItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := strictEmulator(t, portaltest.Options{Switches: map[string]string{portaltest.SwitchAPITokens: "off"}})
		fleet(e, 250)
		c := newTestClient(t, e, Options{})
		for range c.Discover(t.Context()) {
			break
		}
		if got, _ := e.Requests(); got > 110 { // one page and its items
			t.Errorf("%d requests for one listing", got)
		}
	})
}

func BenchmarkSurvey10k(b *testing.B) {
	for _, mode := range []string{"org", "off"} {
		b.Run("apiTokens="+mode, func(b *testing.B) {
			e := portaltest.New(portaltest.Options{Seed: 1, Switches: map[string]string{portaltest.SwitchAPITokens: mode}})
			fleet(e, 10_000)
			c := newTestClient(b, e, Options{})
			e.ResetCounts()
			for b.Loop() {
				if got := len(collect(b, c.Listings(b.Context()))); got != 10_000 {
					b.Fatalf("listed %d", got)
				}
			}
			total, _ := e.Requests()
			b.ReportMetric(float64(total)/float64(b.N), "requests/op")
		})
	}
}
