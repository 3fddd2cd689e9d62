package portaltest

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func control(t *testing.T, client *http.Client, base, method, name, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base+controlPrefix+name, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

func TestControl(t *testing.T) {
	e := New(Options{Control: true})
	srv := httptest.NewServer(e)
	defer srv.Close()
	must := func(method, name, body, want string) string {
		t.Helper()
		status, got := control(t, srv.Client(), srv.URL, method, name, body)
		if status != http.StatusOK || !strings.Contains(got, want) {
			t.Errorf("%s %s: %d %.200s, want %q in it", method, name, status, got, want)
		}
		return got
	}
	must("POST", "users", `{"username":"carol","password":"pw","role":"org_admin","privileges":["portal:user:createItem"]}`, `"carol"`)
	made := must("POST", "credentials", `{"owner":"carol","title":"t","expires":["2100-01-01T00:00:00Z"],"minted":true}`, `"client_secret"`)
	var cred struct {
		Keys [2]string `json:"keys"`
	}
	if err := json.Unmarshal([]byte(made), &cred); err != nil {
		t.Fatal(err)
	}
	layer := must("POST", "items", `{"owner":"carol","type":"Feature Service","title":"trees","access":"private","group":"g1"}`, "/FeatureServer")
	must("POST", "items", `{"title":"map","url":"https://gis.example.com/x"}`, `"owner":"`+AdminUser+`"`)
	if status, got := control(t, srv.Client(), srv.URL, "POST", "items", `{"owner":"nobody"}`); status != http.StatusBadRequest {
		t.Errorf("an item of nobody: %d %s", status, got)
	}
	var item struct{ ID string }
	if err := json.Unmarshal([]byte(layer), &item); err != nil || signedIn(t, e, AdminUser).ok("search", "q", "group:g1")["total"] != 1.0 {
		t.Errorf("the group's items: %v", err)
	}
	state := must("GET", "state", "", tail(cred.Keys[0]))
	keys := must("GET", "keys", "", tail(cred.Keys[0]))
	events := must("GET", "events", "", `"minted"`)
	for name, text := range map[string]string{"state": state, "keys": keys, "events": events} {
		if strings.Contains(text, cred.Keys[0]) || strings.Contains(text, StandardPassword) {
			t.Errorf("%s shows a key or a password", name)
		}
	}
	must("POST", "switches", `{"search_lag":"3s","manner":"strict"}`, `"value":"3s"`)
	must("GET", "switches", "", `"value":"strict"`)
	must("POST", "faults", `{"op":"self","kind":"rate_limited","retry_after":"7s","count":2}`, `"id":1`)
	must("GET", "faults", "", `"retry_after":7000000000`)
	must("DELETE", "faults", "", "")
	must("GET", "faults", "", "[]")
	before := e.Now()
	must("POST", "clock", `{"move":"48h"}`, "now")
	if moved := e.Now().Sub(before); moved < 48*time.Hour || moved > 49*time.Hour {
		t.Errorf("clock moved by %v", moved)
	}
	must("GET", "clock", "", e.Now().Format("2006-01-02"))
	must("POST", "late", "", `"flushed":0`)
	must("GET", "violations", "", "[]")
	look(t, srv.Client().Transport, srv.URL+e.Root()+"/portals/self", values("f", "json"))
	must("GET", "counters", "", `"self":1`)
	must("POST", "counters", "", `"requests":0`)

	for _, bad := range [][3]string{
		{"POST", "switches", `{"search_lag":"soon"}`}, {"POST", "switches", `no`}, {"POST", "faults", `{"kind":"sulk"}`},
		{"POST", "faults", `{"kind":"delay","delay":"long"}`}, {"POST", "clock", `{}`}, {"POST", "users", `{}`},
		{"POST", "credentials", `{"owner":"nobody"}`},
	} {
		if status, got := control(t, srv.Client(), srv.URL, bad[0], bad[1], bad[2]); status != http.StatusBadRequest || !strings.Contains(got, `"error"`) {
			t.Errorf("%v: %d %s", bad, status, got)
		}
	}
	if status, _ := control(t, srv.Client(), srv.URL, "GET", "nothing", ""); status != http.StatusNotFound {
		t.Errorf("unknown endpoint: %d", status)
	}
}

func TestControlIsOffByDefault(t *testing.T) {
	srv := httptest.NewServer(New(Options{}))
	defer srv.Close()
	if status, got := control(t, srv.Client(), srv.URL, "GET", "state", ""); status != http.StatusNotFound || strings.Contains(got, "org_id") {
		t.Errorf("state without Options.Control: %d %s", status, got)
	}
}
