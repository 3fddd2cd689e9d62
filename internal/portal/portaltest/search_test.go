package portaltest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestQueries(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000).UTC()
	items := []*item{
		{ID: "1", Owner: "ann", Type: "Application", Title: "Web map key", Keywords: []string{"APIToken", "Registered App"}, Tags: []string{"prod"}, Created: at, Modified: at},
		{ID: "2", Owner: "ann", Type: "Application", Title: "sign-in", Keywords: []string{"Registered App"}, Created: at, Modified: at.Add(time.Hour)},
		{ID: "3", Owner: "bob", Type: "Web Map", Title: "Key west", Tags: []string{"florida keys"}, Created: at.Add(day), Modified: at.Add(day)},
		{ID: "4", Owner: "bob", Type: "API Key", Title: "legacy", Keywords: []string{"API Key", "Registered App"}, fields: map[string]string{"snippet": "old one"}, Created: at, Modified: at},
	}
	for query, want := range map[string]string{
		"":                      "1234",
		"  ":                    "1234",
		`owner:ann`:             "12",
		`owner: ann`:            "12",
		`owner:"ANN"`:           "12",
		`type:"Web Map"`:        "3",
		`type:Web`:              "",
		`typekeywords:APIToken`: "1",
		`owner:"ann" AND type:"Application" AND typekeywords:"APIToken"`: "1",
		`orgid:ORG AND typekeywords:"Registered App"`:                    "124",
		`orgid:other`:                           "",
		`accountid:ORG`:                         "1234",
		`owner:ann OR owner:bob`:                "1234",
		`owner:ann -typekeywords:"APIToken"`:    "2",
		`owner:ann NOT typekeywords:"APIToken"`: "2",
		`-type:("Application" OR "API Key")`:    "3",
		`owner: ann -type:("Map Area" OR "Web Map") (type:("Application" AND typekeywords:"Registered App" AND typekeywords:"APIToken"))`: "1",
		`owner:u AND (typekeywords:APIToken)`: "",
		`title:key`:                           "13",
		`title:"map key"`:                     "1",
		`title:"key map"`:                     "",
		`title:k*`:                            "13",
		`title:ke?`:                           "13",
		`key`:                                 "13",
		`"florida keys"`:                      "3",
		`tags:prod`:                           "1",
		`+owner:bob +type:"API Key"`:          "4",
		`snippet:old`:                         "4",
		`id:2 OR id:3`:                        "23",
		`created:[0 TO 1700000000000]`:        "124",
		`modified:[1700003600000 TO 1800000000000]`: "23",
		`owner:ann AND owner:bob OR id:4`:           "4",
		`nosuchfield:x`:                             "",
		`ORacle`:                                    "",
		`ownerfolder:x`:                             "",
	} {
		m, err := parseQuery(query, "ORG")
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		var got strings.Builder
		for _, it := range items {
			if m(it) {
				got.WriteString(it.ID)
			}
		}
		if got.String() != want {
			t.Errorf("%s: found %q, want %q", query, got.String(), want)
		}
	}
}

func TestBadQueries(t *testing.T) {
	for _, query := range []string{`(`, `)`, `"open`, `owner:`, `a AND`, `a OR`, `-`, `[1 TO 2`, `created:[a TO b]`, `:`, `NOT`, strings.Repeat("(", 10_000)} {
		if _, err := parseQuery(query, "ORG"); err == nil {
			t.Errorf("%.20s: no error", query)
		}
	}
	c := signedIn(t, New(Options{}), AdminUser)
	if got := c.refused("search", "q", `"open`); got != "400 "+textBadSearch {
		t.Errorf("search: %s", got)
	}
	if got := c.refused("search"); got[:3] != "400" {
		t.Errorf("search without q: %s", got)
	}
}

// many seeds n credentials with a key in slot 1.
func many(e *Emulator, n int) {
	end := e.Now().Add(100 * day)
	for i := range n {
		e.AddCredential(CredentialSeed{Title: fmt.Sprintf("key %05d", i), Expires: [2]time.Time{end.Add(time.Duration(i%90) * day)}, Minted: true})
	}
}

func TestSearchPages(t *testing.T) {
	e := New(Options{})
	many(e, 250)
	c := signedIn(t, e, AdminUser)
	seen := map[string]bool{}
	start, pages := 1.0, 0
	for start > 0 {
		got := c.ok("search", "q", "typekeywords:APIToken", "num", "500", "start", fmt.Sprint(start), "sortField", "title", "sortOrder", "desc")
		for _, r := range got["results"].([]any) {
			seen[r.(map[string]any)["title"].(string)] = true
		}
		if pages == 0 && got["results"].([]any)[0].(map[string]any)["title"] != "key 00249" {
			t.Error("the first result is not the last title")
		}
		start = got["nextStart"].(float64)
		pages++
	}
	if len(seen) != 250 || pages != 3 {
		t.Errorf("%d results in %d pages, want 250 in 3", len(seen), pages)
	}
	if got := c.ok("search", "q", "typekeywords:APIToken")["results"].([]any); len(got) != defaultPage {
		t.Errorf("%d results by default, want %d", len(got), defaultPage)
	}
}

// Search cannot see past 10,000 results, and apiTokens can.
func TestTenThousand(t *testing.T) {
	e := New(Options{})
	many(e, 10_050)
	c := signedIn(t, e, AdminUser)
	found := func(path string, list string, last int) int {
		n, requests := 0, 0
		for start := 1; start > 0 && requests < 300; requests++ {
			got := c.ok(path, "q", "typekeywords:APIToken", "num", "100", "start", fmt.Sprint(start))
			n += len(got[list].([]any))
			if next, there := got["nextStart"]; there {
				start = int(next.(float64))
			} else if start += 100; len(got[list].([]any)) < 100 {
				start = -1
			}
		}
		if requests > last {
			t.Errorf("%s took %d requests", path, requests)
		}
		return n
	}
	if n := found("search", "results", 100); n != 10_000 {
		t.Errorf("search gave %d, want 10000", n)
	}
	if n := found("portals/self/apiTokens", "items", 101); n != 10_050 {
		t.Errorf("apiTokens gave %d, want 10050", n)
	}
	if got := c.refused("search", "q", "typekeywords:APIToken", "start", "10001"); got != "400 "+textBadSearch {
		t.Errorf("start 10001: %s", got)
	}
}

func TestAPITokensWindow(t *testing.T) {
	e := New(Options{})
	near := e.AddCredential(CredentialSeed{Title: "near", Expires: [2]time.Time{e.Now().Add(2 * day)}, Minted: true})
	e.AddCredential(CredentialSeed{Title: "far", Expires: [2]time.Time{e.Now().Add(200 * day)}, Minted: true})
	c := signedIn(t, e, AdminUser)
	got := c.ok("portals/self/apiTokens", "endExpirationDate", fmt.Sprint(e.Now().Add(10*day).UnixMilli()))["items"].([]any)
	if len(got) != 1 {
		t.Fatalf("%d entries, want 1", len(got))
	}
	entry := got[0].(map[string]any)
	if entry["itemId"] != near.ItemID || entry["apiToken"] != 1.0 || entry["clientId"] != near.ClientID || entry["owner"] != AdminUser {
		t.Errorf("entry %v", entry)
	}
	if got := c.ok("portals/self/apiTokens", "startExpirationDate", fmt.Sprint(e.Now().Add(10*day).UnixMilli()))["items"].([]any); len(got) != 1 {
		t.Errorf("%d entries after the start, want 1", len(got))
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, q := range []string{`owner: a -b:("c" OR d) [1 TO 2]`, `a AND NOT (b)`, `x:*`} {
		f.Add(q)
	}
	it := &item{Title: "t", Keywords: []string{"k"}, fields: map[string]string{}}
	f.Fuzz(func(_ *testing.T, q string) {
		if m, err := parseQuery(q, "ORG"); err == nil {
			m(it)
		}
	})
}
