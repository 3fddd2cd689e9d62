package portaltest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// world is what a switch's test works on: an emulator with the switch set, an admin, a creator and one credential.
type world struct {
	t              *testing.T
	e              *Emulator
	admin, creator *caller
	cred           Credential
	oauthClient    string // of the last oauthSession
}

func newWorld(t *testing.T, product Product, settings ...string) *world {
	t.Helper()
	set := map[string]string{}
	for i := 0; i < len(settings); i += 2 {
		set[settings[i]] = settings[i+1]
	}
	e := New(Options{Product: product, Switches: set})
	w := &world{t: t, e: e, cred: e.AddCredential(CredentialSeed{Title: "web map", Owner: CreatorUser})}
	w.admin, w.creator = signedIn(t, e, AdminUser), signedIn(t, e, CreatorUser)
	return w
}

func (w *world) want(what string, got, want any) {
	w.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func (w *world) valid(key string) bool {
	ok, _ := w.e.KeyValid(key)
	return ok
}

func (w *world) item() map[string]any { return w.creator.ok("content/items/" + w.cred.ItemID) }

func (w *world) found(q string) int {
	return int(w.creator.ok("search", "q", q)["total"].(float64))
}

func (w *world) expiration(key string) int64 {
	w.t.Helper()
	return int64(w.admin.as(key).ok("portals/self")["appInfo"].(map[string]any)["expirationDate"].(float64))
}

func (w *world) mintRefused(pairs ...string) string {
	w.t.Helper()
	return w.admin.anonymous().refused("oauth2/token", append(mintPairs(w.cred, 1), pairs...)...)
}

const day = 24 * time.Hour

func endOfDay(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 23, 59, 59, 0, time.UTC)
}

// switchTests has one row for each value of each switch: "switch=value" shows what the value does.
func switchTests() map[string]func(*world) {
	return map[string]func(*world){
		"date_update_on_live_slot=keeps_key": func(w *world) {
			key := w.creator.mint(w.cred, 1)
			before := w.expiration(key)
			w.creator.setDate(w.cred, 1, w.e.Now().Add(90*day))
			w.want("valid", w.valid(key), true)
			w.want("expiry", w.expiration(key), before)
		},
		"date_update_on_live_slot=kills_key": func(w *world) {
			key := w.creator.mint(w.cred, 1)
			w.creator.setDate(w.cred, 1, w.e.Now().Add(90*day))
			w.want("valid", w.valid(key), false)
			w.want("flag", w.creator.appInfo(w.cred)["apiToken1Active"], false)
		},
		"date_update_on_live_slot=moves_expiry": func(w *world) {
			key := w.creator.mint(w.cred, 1)
			at := w.e.Now().Add(90 * day)
			w.creator.setDate(w.cred, 1, at)
			w.want("expiry", w.expiration(key), endOfDay(at).UnixMilli())
		},
		"date_rounding=end_of_day":    func(w *world) { w.wantDate(endOfDay(w.setHalfDay()).UnixMilli()) },
		"date_rounding=end_of_day_ms": func(w *world) { w.wantDate(endOfDay(w.setHalfDay()).UnixMilli() + 999) },
		"date_rounding=none":          func(w *world) { w.wantDate(w.setHalfDay().UnixMilli()) },
		"bad_date=refuse_mint": func(w *world) {
			for _, at := range []time.Duration{-48 * time.Hour, 400 * day} {
				w.creator.setDate(w.cred, 1, w.e.Now().Add(at))
				w.want("mint", w.mintRefused(), "400 "+textBadDate)
			}
		},
		"bad_date=refuse_update": func(w *world) {
			for _, at := range []time.Duration{-48 * time.Hour, 400 * day} {
				w.want("update", w.creator.refused("content/users/"+w.cred.Owner+"/items/"+w.cred.ItemID+"/update",
					dateParam(1), fmt.Sprint(w.e.Now().Add(at).UnixMilli())), "400 "+textBadDate)
			}
		},
		"regenerate_false_on_occupied=refuse": func(w *world) {
			key := w.creator.mint(w.cred, 1)
			w.want("mint", w.mintRefused("regenerateApiToken", "false"), "400 "+textOccupied)
			w.want("old key", w.valid(key), true)
		},
		"regenerate_false_on_occupied=regenerate": func(w *world) {
			key := w.creator.mint(w.cred, 1)
			w.admin.anonymous().ok("oauth2/token", append(mintPairs(w.cred, 1), "regenerateApiToken", "false")...)
			w.want("old key", w.valid(key), false)
		},
		"app_update_unchanged=clears_both": func(w *world) { w.want("valid", w.updateUnchanged(), false) },
		"app_update_unchanged=keeps_keys":  func(w *world) { w.want("valid", w.updateUnchanged(), true) },
		"active_flag_after_expiry=stays_true": func(w *world) {
			w.want("flag", w.flagAfterExpiry(), true)
		},
		"active_flag_after_expiry=turns_false": func(w *world) {
			w.want("flag", w.flagAfterExpiry(), false)
		},
		"item_date_after_revoke=unchanged": func(w *world) { w.want("date set", w.dateAfterRevoke() > 0, true) },
		"item_date_after_revoke=cleared":   func(w *world) { w.want("date", w.dateAfterRevoke(), -1.0) },
		"search_lag=0s":                    func(w *world) { w.wantSearchAfter(0) },
		"search_lag=30s":                   func(w *world) { w.wantSearchAfter(30 * time.Second) },
		"search_lag=10m":                   func(w *world) { w.wantSearchAfter(10 * time.Minute) },
		"search_token_dates=unset":         func(w *world) { w.want("date", w.dateInSearch(), -1.0) },
		"search_token_dates=real":          func(w *world) { w.want("date set", w.dateInSearch() > 0, true) },
		"mint_without_registration=invalid_client_id": func(w *world) {
			w.want("mint", w.mintRefused("client_id", "nobody"), "400 Invalid client_id")
		},
		"mint_without_registration=no_such_item": func(w *world) {
			w.want("mint", w.mintRefused("client_id", "nobody"), "400 Item does not exist or is inaccessible.")
		},
		"app_info_for_others=forbidden":    func(w *world) { w.want("code", w.infoByViewer()[:3], "403") },
		"app_info_for_others=no_such_item": func(w *world) { w.want("code", w.infoByViewer()[:3], "400") },
		"unknown_privilege=refuse": func(w *world) {
			id := w.addApplication()
			got, _, err := w.creator.send(w.t.Context(), "oauth2/registerApp", registerPairs(id, `["portal:user:createItem","no:such"]`)...)
			if err != nil {
				w.t.Fatal(err)
			}
			w.want("error", got["error"], map[string]any{"code": 500, "message": "Unable to register app. Invalid Privileges", "details": []any{"no:such"}})
		},
		"unknown_privilege=drop": func(w *world) {
			w.want("privileges", w.register(`["portal:user:createItem","no:such"]`), "[portal:user:createItem]")
		},
		"unknown_privilege=accept": func(w *world) {
			w.want("privileges", w.register(`["portal:user:createItem","no:such"]`), "[portal:user:createItem no:such]")
		},
	}
}

func (w *world) setHalfDay() time.Time {
	at := endOfDay(w.e.Now()).Add(10*day - 5*time.Hour + 250*time.Millisecond)
	w.creator.setDate(w.cred, 1, at)
	return at
}

func (w *world) wantDate(want int64) {
	w.t.Helper()
	w.want("date", int64(w.item()[dateParam(1)].(float64)), want)
}

func (w *world) updateUnchanged() bool {
	key := w.creator.mint(w.cred, 1)
	w.creator.ok("oauth2/apps/"+w.cred.ClientID+"/update", "privileges", `["premium:user:basemaps"]`, "httpReferrers", "[]")
	return w.valid(key)
}

func (w *world) flagAfterExpiry() any {
	key := w.creator.mint(w.cred, 1)
	w.e.MoveClock(40 * day)
	w.want("key", w.admin.as(key).refused("portals/self"), "498 Invalid token.")
	return signedIn(w.t, w.e, CreatorUser).appInfo(w.cred)["apiToken1Active"]
}

func (w *world) dateAfterRevoke() float64 {
	w.creator.mint(w.cred, 1)
	w.creator.revoke(w.cred, 1)
	return w.item()[dateParam(1)].(float64)
}

func (w *world) wantSearchAfter(lag time.Duration) {
	w.t.Helper()
	pass(time.Hour) // lets the seeded credential reach the index
	w.addApplication()
	if lag > 0 {
		w.want("found at once", w.found(`title:"fresh"`), 0)
		pass(lag - time.Second)
		w.want("found a second early", w.found(`title:"fresh"`), 0)
		pass(time.Second)
	}
	w.want("found", w.found(`title:"fresh"`), 1)
}

func (w *world) dateInSearch() float64 {
	w.creator.mint(w.cred, 1)
	got := w.creator.ok("search", "q", `typekeywords:"APIToken"`)["results"].([]any)
	return got[0].(map[string]any)[dateParam(1)].(float64)
}

func (w *world) infoByViewer() string {
	return signedIn(w.t, w.e, ViewerUser).refused("content/users/" + w.cred.Owner + "/items/" + w.cred.ItemID + "/registeredAppInfo")
}

func (w *world) addApplication() string {
	return w.creator.ok("content/users/"+CreatorUser+"/addItem", "type", "Application", "title", "fresh")["id"].(string)
}

func registerPairs(itemID, privileges string) []string {
	return []string{"itemId", itemID, "appType", "multiple", "redirect_uris", `["` + outOfBandURI + `"]`, "httpReferrers", "[]", "privileges", privileges}
}

func (w *world) register(privileges string) any {
	return w.creator.ok("oauth2/registerApp", registerPairs(w.addApplication(), privileges)...)["privileges"]
}

func TestSwitches(t *testing.T) {
	rows := switchTests()
	maps.Copy(rows, moreSwitchTests())
	maps.Copy(rows, adminSwitchTests())
	maps.Copy(rows, usageSwitchTests())
	var missing []string
	for _, s := range switchTable() {
		for _, value := range s.Values {
			row := s.Name + "=" + value
			run := rows[row]
			if run == nil {
				missing = append(missing, row)
				continue
			}
			delete(rows, row)
			t.Run(row, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { run(newWorld(t, Online, s.Name, value)) })
			})
		}
	}
	if len(missing) > 0 {
		t.Errorf("values without a test: %s", strings.Join(missing, ", "))
	}
	for name := range rows {
		t.Errorf("test %s names no value of a switch", name)
	}
}

func TestSetSwitch(t *testing.T) {
	e := New(Options{})
	for _, bad := range [][2]string{{"no_such", "on"}, {SwitchDateRounding, "sometimes"}, {SwitchSearchLag, "soon"}, {SwitchRateLimit, "5s"}} {
		if err := e.SetSwitch(bad[0], bad[1]); err == nil {
			t.Errorf("SetSwitch(%q, %q) succeeded", bad[0], bad[1])
		}
	}
	if err := e.SetSwitch(SwitchSearchLag, "90s"); err != nil {
		t.Errorf("any duration: %v", err)
	}
	i := slices.IndexFunc(e.Switches(), func(s Switch) bool { return s.Name == SwitchSearchLag })
	if got := e.Switches()[i]; got.Value != "90s" || got.Default != "0s" {
		t.Errorf("search_lag shows %q, default %q", got.Value, got.Default)
	}
}

// Every setting alone and every pair of settings lets a plain rotation either work or fail with a portal error; nothing
// panics, and no answer is unreadable.
func TestSwitchPairs(t *testing.T) {
	single, pairs := 0, 0
	for settings := range Settings() {
		single++
		synctest.Test(t, func(t *testing.T) { rotateSomehow(t, settings); createSomehow(t, settings) })
	}
	for settings := range SettingPairs() {
		pairs++
		synctest.Test(t, func(t *testing.T) { rotateSomehow(t, settings); createSomehow(t, settings) })
	}
	if single < 40 || pairs < 800 {
		t.Errorf("only %d settings and %d pairs", single, pairs)
	}
	for settings := range SettingPairs(SwitchManner) {
		if settings[SwitchManner] != "" || len(settings) != 2 {
			t.Fatalf("settings %v, want two without %s", settings, SwitchManner)
		}
	}
}

func rotateSomehow(t *testing.T, switches map[string]string) {
	e := New(Options{Switches: switches})
	cred := e.AddCredential(CredentialSeed{Title: "pair"})
	c := signedIn(t, e, AdminUser)
	base := "content/users/" + AdminUser + "/items/" + cred.ItemID
	for slot := 1; slot <= 2; slot++ {
		for _, ask := range [][]string{
			{"content/items/" + cred.ItemID}, {base + "/registeredAppInfo"},
			{base + "/update", dateParam(slot), fmt.Sprint(e.Now().Add(30 * day).UnixMilli())},
			append([]string{"oauth2/token"}, mintPairs(cred, slot)...),
			{"portals/self/apiTokens", "num", "100"}, {"search", "q", "typekeywords:APIToken"},
			{"oauth2/revokeToken", "client_id", cred.ClientID, "client_secret", cred.ClientSecret, "apiToken", "1"},
		} {
			from := c
			if strings.HasPrefix(ask[0], "oauth2/") {
				from = c.anonymous()
			}
			got, _, err := from.send(t.Context(), ask[0], ask[1:]...)
			if err != nil && switches[SwitchAmbiguousFailure] == "" {
				t.Fatalf("%v: %s: %v", switches, ask[0], err)
			}
			if got["html"] != nil {
				t.Fatalf("%v: %s: HTML", switches, ask[0])
			}
		}
	}
	if n := len(e.Violations()); n > 0 {
		t.Fatalf("%v: %d violations", switches, n)
	}
}
