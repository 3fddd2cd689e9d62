package portal

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"rotatord/internal/rotate"
)

// A portal, or whoever stands before it, gives back what it was sent, or what it has just
// made, anywhere in status, headers and body ("§" and "%"): no error and no fact that is
// written down has it. Each verb asks at most as often as it may.
func FuzzEcho(f *testing.F) {
	for _, row := range append(answers(), echoes()...) {
		f.Add(row.canned.status, "Retry-After", "§", []byte(row.canned.body))
	}
	f.Add(302, "Location", "https://other.example/?token=§", []byte("§"))
	f.Add(308, "Location", "/sharing/rest/%", []byte(""))
	f.Add(307, "Location", "https://§.example", []byte(""))
	f.Add(200, "Date", "%", []byte(`{"appInfo":{"appId":"§","itemId":"%","privileges":["§"]}}`))
	f.Add(200, "Content-Type", "§", []byte(`{"error":{"code":"§","messageCode":"%","message":"§","details":["%","§"]}}`))
	f.Add(400, "X", "", []byte(`{"error":"§","error_description":"%"}`))
	f.Add(503, "Retry-After", "9999999999999999999", []byte(`{"access_token":"§","expires_in":"§"`))
	f.Add(200, "X", "", []byte(`{"client_id":"%","client_secret":"§","itemId":"§","apiToken1Active":"§"}`))
	f.Fuzz(func(t *testing.T, status int, name, value string, body []byte) {
		if status < 200 || status > 599 {
			return
		}
		minted, key := testKey(rotate.Slot1), testKey(rotate.Slot2)
		fill := strings.NewReplacer("§", key, "%", minted)
		transport := &counting{canned: canned{status: status, body: fill.Replace(string(body)), header: http.Header{http.CanonicalHeaderKey(name): {fill.Replace(value)}}}}
		c := keyClient(t, transport, Limits{RetryWait: 1})
		ctx := t.Context()
		start := time.Now()
		clean := func(what, text string) {
			t.Helper()
			for _, secret := range []string{minted[:len(minted)-12], key[:len(key)-12], testApp.ClientSecret.Reveal()} {
				for i := range len(secret) - 16 {
					if strings.Contains(text, secret[i:i+16]) {
						t.Fatalf("%s: %s", what, text)
					}
				}
			}
			if len(text) > 2000 {
				t.Errorf("%s: a text of %d bytes", what, len(text))
			}
		}
		check := func(what string, err error) {
			t.Helper()
			if err != nil {
				clean(what, err.Error())
			}
		}
		_, err := c.Mint(ctx, testID, testApp, rotate.Slot1)
		check("mint", err)
		check("revoke", c.Revoke(ctx, testID, testApp, rotate.Slot1))
		proof, err := c.Prove(ctx, rotate.NewSecret(key), "https://maps.example/")
		check("prove", err)
		clean("proof", string(proof.Item)+" "+proof.ClientID)
		_, err = c.Item(ctx, testID)
		check("item", err)
		app, err := c.App(ctx, testID, "u")
		check("app", err)
		clean("app", app.ClientID)
		check("date", c.SetExpiry(ctx, testID, "u", rotate.Slot1, time.Now().Add(time.Hour)))
		_, err = c.Usage(ctx, testApp.ClientID, time.Now().Add(-time.Hour), time.Now())
		check("usage", err)
		check("control", c.Control(ctx))
		admin(t, c, check, clean)
		_, err = c.Whoami(ctx)
		check("whoami", err)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %s", took)
		}
		if n := transport.calls.Load(); n > 200 {
			t.Errorf("%d requests", n)
		}
	})
}

// admin makes every administrative call; what they give that is written down is clean.
func admin(t *testing.T, c *Client, check func(string, error), clean func(what, text string)) {
	ctx, me := t.Context(), "u"
	item, err := c.CreateItem(ctx, NewItem{Owner: me, Title: "x", Mark: "m"})
	check("create item", err)
	clean("new item", string(item))
	for what, call := range map[string]func() (AppRecord, error){
		"register app": func() (AppRecord, error) { return c.RegisterApp(ctx, testID.Item, Settings{}) },
		"edit app":     func() (AppRecord, error) { return c.EditApp(ctx, testApp.ClientID, Settings{}) },
		"settings":     func() (AppRecord, error) { return c.AppSettings(ctx, testID.Item, me) },
	} {
		record, err := call()
		check(what, err)
		clean(what, string(record.Item)+" "+record.App.ClientID)
	}
	folder, err := c.CreateFolder(ctx, me, "keys")
	check("create folder", err)
	clean("folder", folder.ID)
	found, err := c.FindItems(ctx, me, "m")
	check("find", err)
	for _, d := range found {
		clean("found", string(d.Item))
	}
	d, err := c.Details(ctx, testID.Item)
	check("details", err)
	clean("trouble", GrantTrouble(testID.Item, d, err, "org"))
	_, err = c.Account(ctx, "")
	check("account", err)
	check("update", c.UpdateItem(ctx, testID.Item, me, ItemEdit{Title: new("x")}))
	check("delete", c.DeleteItem(ctx, testID.Item, me, true))
	check("unregister", c.UnregisterApp(ctx, testApp.ClientID))
}

// FuzzWire: each tolerant type takes any JSON value, twice the same, and keeps its form.
func FuzzWire(f *testing.F) {
	for _, s := range []string{`5`, `"5"`, `-1`, `1e400`, `null`, `true`, `"TRUE"`, `["a",1]`, `[{"itemId":"x"},5]`, `{}`, `"\ud800"`, `"lgalmA3rH4JC97kO"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return
		}
		wrapped := []byte(`{"n":` + string(raw) + `,"t":` + string(raw) + `,"x":` + string(raw) + `,"l":` + string(raw) + `,"m":` + string(raw) + `,"o":` + string(raw) + `,"i":` + string(raw) + `}`)
		var w struct {
			N number
			T truth
			X text
			L list
			M many[wireKey]
			O loose[wireApp]
			I ident
		}
		if err := json.Unmarshal(wrapped, &w); err != nil {
			t.Fatalf("refused: %v", err)
		}
		if at := w.N.time(); !at.IsZero() && (at.Year() > 9999 || at.Before(time.Unix(0, 0))) {
			t.Errorf("a date in %d", at.Year())
		}
		if len(w.I) > longestIdent || strings.ContainsAny(string(w.I), "._-/ <>&\"") {
			t.Errorf("an id %q", w.I)
		}
		if w.T.v && !w.T.set {
			t.Error("true and not said")
		}
		if len(w.L.v) > len(raw) || len(w.M) > len(raw) || len(w.X) > 6*len(raw) {
			t.Error("more came out than was in it")
		}
	})
}
