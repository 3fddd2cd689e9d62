package portaltest

import (
	"net/http"
	"testing"
	"time"
)

// moreSwitchTests are the rows of the switches around identities, listings, limits and the wire.
func moreSwitchTests() map[string]func(*world) {
	return map[string]func(*world){
		"api_tokens=org":              func(w *world) { w.wantTokens(2, 1) },
		"api_tokens=own":              func(w *world) { w.wantTokens(1, 1) },
		"api_tokens=with_inactive":    func(w *world) { w.wantTokens(3, 2) },
		"api_tokens=password_session": func(w *world) { w.wantTokens(2, 1); w.wantOAuthRefused() },
		"api_tokens=off": func(w *world) {
			w.want("code", w.admin.refused("portals/self/apiTokens")[:3], "403")
		},
		"api_tokens_paging=bare": func(w *world) {
			w.creator.mint(w.cred, 1)
			got := w.creator.ok("portals/self/apiTokens")
			w.want("members", len(got), 1)
		},
		"api_tokens_paging=next_start": func(w *world) {
			w.creator.mint(w.cred, 1)
			w.creator.mint(w.cred, 2)
			got := w.creator.ok("portals/self/apiTokens", "num", "1")
			w.want("page", []any{got["total"], got["start"], got["num"], got["nextStart"]}, "[2 1 1 2]")
		},
		"api_tokens_paging=start_ignored": func(w *world) {
			w.creator.mint(w.cred, 1)
			w.creator.mint(w.cred, 2)
			one := w.creator.ok("portals/self/apiTokens", "num", "1", "start", "1")
			two := w.creator.ok("portals/self/apiTokens", "num", "1", "start", "2")
			w.want("second page", two, one)
		},
		"api_key_management=privilege_or_item":  func(w *world) { w.wantKeyManages("[true true true false]") },
		"api_key_management=privilege_only":     func(w *world) { w.wantKeyManages("[true false true false]") },
		"api_key_management=privilege_and_item": func(w *world) { w.wantKeyManages("[false false true false]") },
		"api_key_management=denied":             func(w *world) { w.wantKeyManages("[false false false false]") },
		"app_token_management=denied":           func(w *world) { w.want("manages", w.appTokenManages(), false) },
		"app_token_management=allowed":          func(w *world) { w.want("manages", w.appTokenManages(), true) },
		"key_propagation=0s":                    func(w *world) { w.wantUsableAfter(0) },
		"key_propagation=5s":                    func(w *world) { w.wantUsableAfter(5 * time.Second) },
		"key_propagation=1m":                    func(w *world) { w.wantUsableAfter(time.Minute) },
		"revoke_propagation=0s":                 func(w *world) { w.wantDeadAfter(0) },
		"revoke_propagation=5s":                 func(w *world) { w.wantDeadAfter(5 * time.Second) },
		"revoke_propagation=1m":                 func(w *world) { w.wantDeadAfter(time.Minute) },
		"rate_limit=off":                        func(w *world) { w.wantLimit(0, "") },
		"rate_limit=http_429":                   func(w *world) { w.wantLimit(http.StatusTooManyRequests, "1") },
		"rate_limit=http_429_bare":              func(w *world) { w.wantLimit(http.StatusTooManyRequests, "") },
		"rate_limit=body_429":                   func(w *world) { w.wantLimit(http.StatusOK, "") },
		"ambiguous_failure=off":                 func(w *world) { w.want("lost", w.lostOfSix(), "[]") },
		"ambiguous_failure=every_third":         func(w *world) { w.want("lost", w.lostOfSix(), "[3 6]") },
		"ambiguous_failure=always":              func(w *world) { w.want("lost", w.lostOfSix(), "[1 2 3 4 5 6]") },
		"manner=portal": func(w *world) {
			w.admin.ok("portals/self", "surplus", "passes")
			w.want("violations", len(w.e.Violations()), 0)
		},
		"manner=strict": func(w *world) {
			w.want("answer", w.admin.refused("portals/self", "surplus", "passes"), "400 strict: self: unknown parameter surplus")
			w.want("violations", len(w.e.Violations()), 1)
		},
		"owner_in_path=lenient": func(w *world) {
			w.admin.ok("content/users/" + AdminUser + "/items/" + w.cred.ItemID + "/registeredAppInfo")
		},
		"owner_in_path=enforced": func(w *world) {
			w.want("code", w.admin.refused("content/users/" + AdminUser + "/items/" + w.cred.ItemID + "/registeredAppInfo")[:3], "400")
		},
		"revoke_empty_slot=success": func(w *world) { w.creator.revoke(w.cred, 2) },
		"revoke_empty_slot=refuse": func(w *world) {
			w.want("answer", w.admin.anonymous().refused("oauth2/revokeToken", "client_id", w.cred.ClientID, "client_secret",
				w.cred.ClientSecret, "apiToken", "2"), "400 "+textBadSlot)
		},
		"old_enterprise_mint=refuse": func(w *world) {
			old := newWorld(w.t, Enterprise113)
			old.want("answer", old.mintRefused(), "400 "+textNoKeysHere)
		},
		"old_enterprise_mint=app_token": func(w *world) {
			old := newWorld(w.t, Enterprise113, SwitchOldEnterpriseMint, "app_token")
			got := old.admin.anonymous().ok("oauth2/token", mintPairs(old.cred, 1)...)["access_token"].(string)
			old.want("looks like a key", looksLikeKey(got), false)
		},
		"exchange_refresh_token=keeps_old": func(w *world) { w.want("works", w.oldRefreshWorks(), true) },
		"exchange_refresh_token=ends_old":  func(w *world) { w.want("works", w.oldRefreshWorks(), false) },
		"key_form=dot": func(w *world) {
			key := w.creator.mint(w.cred, 1)
			w.want("before the tail", key[len(key)-13:len(key)-12], ".")
		},
		"key_form=plain": func(w *world) {
			key := w.creator.mint(w.cred, 1)
			w.want("dots", countByte(key, '.'), 0)
			w.want("tail", tail(key), "AT1_"+w.cred.ClientID[8:])
		},
		"api_token_keyword=date_or_mint": func(w *world) {
			w.want("before", w.item()["typeKeywords"], "[Registered App]")
			w.creator.setDate(w.cred, 2, w.e.Now().Add(day))
			w.want("after", w.item()["typeKeywords"], "[APIToken Registered App]")
		},
		"api_token_keyword=registration": func(w *world) {
			w.want("at once", w.item()["typeKeywords"], "[APIToken Registered App]")
		},
		"date_header=on":   func(w *world) { w.wantDateHeader(w.e.Now().Format(http.TimeFormat)) },
		"date_header=off":  func(w *world) { w.wantDateHeader("") },
		"date_header=10m":  func(w *world) { w.wantDateHeader(w.e.Now().Add(10 * time.Minute).Format(http.TimeFormat)) },
		"date_header=-10m": func(w *world) { w.wantDateHeader(w.e.Now().Add(-10 * time.Minute).Format(http.TimeFormat)) },
		"service_status=http": func(w *world) {
			w.want("statuses", w.serviceStatuses(), [3]int{200, 403, 401})
		},
		"service_status=body": func(w *world) {
			w.want("statuses", w.serviceStatuses(), [3]int{200, 200, 200})
		},
		"prove_expiration=key":  func(w *world) { w.want("the key's", w.provedAfterDateUpdate(), true) },
		"prove_expiration=item": func(w *world) { w.want("the key's", w.provedAfterDateUpdate(), false) },
	}
}

func countByte(s string, b byte) (n int) {
	for i := range len(s) {
		if s[i] == b {
			n++
		}
	}
	return n
}

// wantTokens makes one live key of the creator, one of the admin and one that is revoked, and counts what each sees.
func (w *world) wantTokens(admin, creator int) {
	w.t.Helper()
	w.creator.mint(w.cred, 1)
	w.creator.mint(w.cred, 2)
	w.creator.revoke(w.cred, 2)
	w.e.AddCredential(CredentialSeed{Title: "admin's", Expires: [2]time.Time{w.e.Now().Add(5 * day)}, Minted: true})
	w.want("admin sees", len(w.admin.ok("portals/self/apiTokens")["items"].([]any)), admin)
	w.want("creator sees", len(w.creator.ok("portals/self/apiTokens")["items"].([]any)), creator)
}

func (w *world) wantOAuthRefused() {
	w.t.Helper()
	access, _ := w.oauthSession()
	w.want("OAuth session", w.admin.as(access).refused("portals/self/apiTokens")[:3], "403")
}

// wantKeyManages tries to read the app with keys that have the two admin privileges, the item, both, or neither.
func (w *world) wantKeyManages(want string) {
	w.t.Helper()
	both := []string{privilegeViewAll, privilegeEditAll}
	item := itemGrantPrefix + w.cred.ItemID
	var got []bool
	for _, privileges := range [][]string{both, {item}, append(both, item), {"premium:user:basemaps"}} {
		admin := w.e.AddCredential(CredentialSeed{Title: "admin key", Privileges: privileges, Expires: [2]time.Time{w.e.Now().Add(5 * day)}, Minted: true})
		answer, _, err := w.admin.as(admin.Keys[0]).send(w.t.Context(), "content/users/"+w.cred.Owner+"/items/"+w.cred.ItemID+"/registeredAppInfo")
		if err != nil {
			w.t.Fatal(err)
		}
		got = append(got, answer["error"] == nil)
	}
	w.want("manages", got, want)
}

func (w *world) appTokenManages() bool {
	token := w.admin.anonymous().ok("oauth2/token", "client_id", w.cred.ClientID, "client_secret", w.cred.ClientSecret,
		"grant_type", "client_credentials")["access_token"].(string)
	got, _, err := w.admin.as(token).send(w.t.Context(), "content/users/"+w.cred.Owner+"/items/"+w.cred.ItemID+"/registeredAppInfo")
	if err != nil {
		w.t.Fatal(err)
	}
	return got["error"] == nil
}

func (w *world) wantUsableAfter(d time.Duration) {
	w.t.Helper()
	key := w.creator.mint(w.cred, 1)
	w.want("in force at once", w.valid(key), true)
	if d > 0 {
		w.want("too early", w.admin.as(key).refused("portals/self"), "498 Invalid token.")
		pass(d)
	}
	w.admin.as(key).ok("portals/self")
}

func (w *world) wantDeadAfter(d time.Duration) {
	w.t.Helper()
	key := w.creator.mint(w.cred, 1)
	w.creator.revoke(w.cred, 1)
	w.want("out of force at once", w.valid(key), false)
	if d > 0 {
		w.admin.as(key).ok("portals/self")
		pass(d)
	}
	w.want("dead", w.admin.as(key).refused("portals/self"), "498 Invalid token.")
}

func (w *world) wantLimit(status int, retryAfter string) {
	w.t.Helper()
	pass(time.Minute)
	for range rateBurst {
		w.admin.ok("portals/self")
	}
	got, head, err := w.admin.send(w.t.Context(), "portals/self")
	if err != nil {
		w.t.Fatal(err)
	}
	if status == 0 {
		w.want("error", got["error"], nil)
		return
	}
	w.want("status", head.status, status)
	w.want("Retry-After", head.header.Get("Retry-After"), retryAfter)
	w.want("code", got["error"].(map[string]any)["code"], 429)
	pass(time.Second)
	w.admin.ok("portals/self")
}

// lostOfSix sends six effects and lists those whose reply was lost; all must have taken place.
func (w *world) lostOfSix() []int {
	var lost []int
	for i := 1; i <= 6; i++ {
		title := string(rune('a' + i))
		_, _, err := w.creator.send(w.t.Context(), "content/users/"+CreatorUser+"/items/"+w.cred.ItemID+"/update", "title", title)
		if err != nil {
			lost = append(lost, i)
		}
		w.want("title", w.item()["title"], title)
	}
	return lost
}

func (w *world) wantDateHeader(want string) {
	w.t.Helper()
	_, head, err := w.admin.send(w.t.Context(), "portals/self")
	if err != nil {
		w.t.Fatal(err)
	}
	w.want("Date", head.header.Get("Date"), want)
}

// serviceStatuses asks a service with a key that may, with one that may not, and with one that is dead.
func (w *world) serviceStatuses() (got [3]int) {
	key := w.creator.mint(w.cred, 1)
	for i, ask := range [][2]string{{"premium:user:basemaps", key}, {"premium:user:geocode", key}, {"premium:user:basemaps", "AAPTgone"}} {
		got[i] = getService(w.t, w.e, ask[0], ask[1])
	}
	return got
}

func getService(t *testing.T, e *Emulator, privilege, key string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://services.test"+servicePrefix+privilege+"?token="+key, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := e.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

func (w *world) provedAfterDateUpdate() bool {
	key := w.creator.mint(w.cred, 1)
	before := w.expiration(key)
	w.creator.setDate(w.cred, 1, w.e.Now().Add(90*day))
	return w.expiration(key) == before
}
