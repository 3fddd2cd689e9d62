package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"rotatord/docs"
	"rotatord/internal/rotate"
	"rotatord/internal/web"
	"rotatord/internal/web/webtest"
)

func site(t testing.TB, change func(*web.Options)) http.Handler {
	t.Helper()
	o := webtest.Options(webtest.Fleet, time.Now().UTC())
	o.Protocol, o.Runbook = docs.Protocol, docs.Runbook
	if change != nil {
		change(&o)
	}
	s, err := web.New(o)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", s.Root())
	for pattern, h := range s.Handlers() {
		mux.Handle(pattern, h)
	}
	return mux
}

func fetch(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func paths() []string {
	return []string{"/", "/?q=a&sort=due&desc=1", "/?state=broken", "/?refresh=60", "/timeline", "/timeline?span=all&page=9", "/calendar", "/calendar?from=2031-01-01", "/runbook",
		"/credential?name=city-portal", "/credential?name=city-portal&page=2", "/credential?name=hydrants", "/credential?name=flood-model", "/credential?name=survey-forms",
		"/credential?name=enterprise-geocoder", "/credential?name=public-map", "/credential?name=tree-inventory", "/credential?name=dashboard-ops"}
}

func TestEveryPageIsWholeAndGuarded(t *testing.T) {
	h := site(t, nil)
	for _, path := range paths() {
		w := fetch(h, http.MethodGet, path)
		page := w.Body.String()
		if w.Code != http.StatusOK || !strings.HasSuffix(strings.TrimSpace(page), "</html>") {
			t.Errorf("%s: %d, %.300s", path, w.Code, page)
		}
		for _, bad := range []string{"ZgotmplZ", "<no value>", "%!", "0001-01-01", "<script", " style=", "onclick", `="http://`, "<nil>"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s has %q", path, bad)
			}
		}
		if n := strings.Count(page, "<h1"); n != 1 {
			t.Errorf("%s has %d h1", path, n)
		}
		ids := map[string]int{}
		for _, m := range regexp.MustCompile(` id="([^"]+)"`).FindAllStringSubmatch(page, -1) {
			if ids[m[1]]++; ids[m[1]] > 1 {
				t.Errorf("%s has the id %s twice", path, m[1])
			}
		}
		wantHeaders(t, path, w.Header(), map[string]string{"Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8"})
		if got := w.Header().Get("Refresh"); (got == "60") != strings.Contains(path, "refresh=60") {
			t.Errorf("%s is loaded anew after %q", path, got)
		}
	}
}

func wantHeaders(t *testing.T, path string, got http.Header, more map[string]string) {
	t.Helper()
	want := map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
		"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"}
	maps.Copy(want, more)
	for k, v := range want {
		if got.Get(k) != v {
			t.Errorf("%s: %s is %q, want %q", path, k, got.Get(k), v)
		}
	}
}

func TestOnlyReading(t *testing.T) {
	h := site(t, nil)
	for _, path := range append(paths(), "/status.json", "/style.css", "/icon.svg") {
		if w := fetch(h, http.MethodHead, path); w.Code != http.StatusOK {
			t.Errorf("HEAD %s: %d", path, w.Code)
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if w := fetch(h, method, path); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
		}
	}
}

// TestAssetsAreKept: the style sheet's address changes with its content, so it is kept
// for good; what is asked for by its bare name is asked for again.
func TestAssetsAreKept(t *testing.T) {
	h := site(t, nil)
	m := regexp.MustCompile(`href="(style\.css\?v=[0-9a-f]{16})"`).FindStringSubmatch(fetch(h, http.MethodGet, "/").Body.String())
	if m == nil {
		t.Fatal("the page has no style sheet")
	}
	w := fetch(h, http.MethodGet, "/"+m[1])
	wantHeaders(t, m[1], w.Header(), map[string]string{"Cache-Control": "public, max-age=31536000, immutable", "Content-Type": "text/css; charset=utf-8"})
	for _, path := range []string{"/style.css", "/style.css?v=old", "/icon.svg", "/status.json"} {
		w := fetch(h, http.MethodGet, path)
		wantHeaders(t, path, w.Header(), map[string]string{"Cache-Control": "no-cache"})
		tag := w.Header().Get("ETag")
		if tag == "" || w.Body.Len() == 0 {
			t.Errorf("%s: ETag %q, %d bytes", path, tag, w.Body.Len())
		}
		if again := fetch(h, http.MethodGet, path, "If-None-Match", tag); again.Code != http.StatusNotModified || again.Body.Len() != 0 {
			t.Errorf("%s again: %d, %d bytes", path, again.Code, again.Body.Len())
		}
	}
}

func TestStatusJSON(t *testing.T) {
	state := "a < b & c"
	h := site(t, func(o *web.Options) { o.Status = func(time.Time) any { return map[string]string{"detail": state} } })
	w := fetch(h, http.MethodGet, "/status.json")
	if got, want := w.Body.String(), "{\n  \"detail\": \"a < b & c\"\n}\n"; got != want || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("got %s, want %s", got, want)
	}
	tag := w.Header().Get("ETag")
	state = "d"
	if w := fetch(h, http.MethodGet, "/status.json", "If-None-Match", tag); w.Code != http.StatusOK {
		t.Errorf("a new state is answered with %d", w.Code)
	}
	h = site(t, func(o *web.Options) { o.Status = func(time.Time) any { return func() {} } })
	if w := fetch(h, http.MethodGet, "/status.json"); w.Code != http.StatusInternalServerError || json.Valid(w.Body.Bytes()) {
		t.Errorf("what cannot be encoded is answered with %d", w.Code)
	}
}

// hostile is text that is more than text to a browser, a URL or a template.
const hostile = `x"><script>alert(1)</script><img src=x onerror=alert(2)>'` + "`" + `{{.Name}}&amp;/../%2e%2e?a=b#c` + "\u202e"

func TestHostileTextStaysText(t *testing.T) {
	list := func(now time.Time) []web.Credential {
		all := webtest.Fleet(now)
		for i := range all {
			c := &all[i]
			c.Name += hostile
			c.Owner, c.Environment, c.Detail, c.Cure = hostile, hostile, hostile, hostile
			c.Portal, c.Product, c.Item = hostile, hostile, hostile
			c.Consumers, c.Sinks, c.Gates, c.Hooks = []string{hostile}, []string{hostile}, []string{hostile}, []string{hostile}
			c.Links = []web.Link{{Text: hostile, URL: "javascript:alert(3)"}, {Text: "b", URL: hostile}}
			if c.Attention != "" {
				c.Attention = hostile
			}
			r := &c.Record
			r.LastError, r.DriftDetail, r.Live.Fingerprint = hostile, hostile, hostile
			r.Request = &rotate.Request{Kind: hostile, By: hostile, Text: hostile, At: now}
			if r.Quarantine != nil {
				r.Quarantine.Reason = hostile
			}
			if c.Hold != nil {
				c.Hold.Reason, c.Hold.By = hostile, hostile
			}
			if r.Rotation != nil {
				r.Rotation.ID, r.Rotation.By = hostile, hostile
			}
		}
		return all
	}
	h := site(t, func(o *web.Options) {
		o.Snapshot = list
		o.RunbookURL = "javascript:alert(4)"
		o.Daemon = func() web.Daemon { return web.Daemon{Version: hostile, Instance: hostile, Problems: []string{hostile}} }
		o.History = func(context.Context, rotate.Name, int) ([]web.Event, error) {
			return []web.Event{{Seq: 1, Event: rotate.Event{Kind: hostile, Actor: hostile, Detail: hostile, Error: hostile, Sink: hostile, Fingerprint: hostile, RotationID: hostile}}}, nil
		}
		o.Settings = func(rotate.Name) *web.Settings {
			return &web.Settings{Says: hostile, Diff: hostile, Adopted: hostile, Differ: true}
		}
		o.Acks = func(context.Context, rotate.Name) ([]web.Ack, error) {
			return []web.Ack{{Consumer: hostile, State: hostile, By: hostile, Fingerprint: hostile}}, errors.New(hostile)
		}
		o.Usage = func(context.Context, rotate.Name) (web.Usage, error) {
			return web.Usage{Facts: []string{hostile}, Wants: []string{hostile}, Note: hostile, Link: web.Link{Text: hostile, URL: "javascript:alert(5)"}, Rows: []web.UsageRow{{Service: hostile}}}, nil
		}
	})
	all := []string{"/", "/timeline?span=all", "/calendar"}
	for _, param := range []string{"q", "state", "problem", "portal", "owner", "env", "due", "sort", "page", "size", "from", "name"} {
		all = append(all, "/?"+url.Values{param: {hostile}}.Encode(), "/calendar?"+url.Values{param: {hostile}}.Encode(), "/credential?"+url.Values{param: {hostile}}.Encode())
	}
	for _, c := range webtest.Fleet(time.Now()) {
		all = append(all, "/credential?"+url.Values{"name": {string(c.Name) + hostile}}.Encode())
	}
	for _, path := range all {
		w := fetch(h, http.MethodGet, path)
		page := w.Body.String()
		if w.Code != http.StatusOK && w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, w.Code, page)
		}
		for _, bad := range []string{"<script", "<img", `href="javascript:`, "onerror=alert(2)>"} {
			if strings.Contains(page, bad) {
				i := strings.Index(page, bad)
				t.Errorf("%s has %s: %s", path, bad, page[max(0, i-80):i+40])
			}
		}
	}
}

// TestMissingPageSpoilsNoOther: several readers, some of whom ask for what is not there.
func TestMissingPageSpoilsNoOther(t *testing.T) {
	h := site(t, nil)
	var readers sync.WaitGroup
	for i := range 40 {
		readers.Go(func() {
			path, want := "/credential?name=web-map", http.StatusOK
			if i%2 == 0 {
				path, want = "/credential?name=nobody", http.StatusNotFound
			}
			w := fetch(h, http.MethodGet, path)
			if w.Code != want || !strings.Contains(w.Header().Get("Content-Type"), "text/html") {
				t.Errorf("%s: %d", path, w.Code)
			}
			wantHeaders(t, path, w.Header(), nil)
		})
	}
	readers.Wait()
}

func TestProblemsComeFirst(t *testing.T) {
	page := fetch(site(t, nil), http.MethodGet, "/").Body.String()
	at := -1
	for _, name := range []string{"hydrants", "crew-tablets", "dashboard-ops", "flood-model", "survey-forms"} {
		i := strings.Index(page, `<a href="credential?name=`+name+`">`)
		if i <= at {
			t.Errorf("%s is not where its problem belongs", name)
		}
		at = i
	}
	if at > strings.Index(page, `<h2 id="fleet">`) {
		t.Error("a problem stands below the fleet")
	}
	card := page[strings.Index(page, `name=crew-tablets"`):]
	card = card[:strings.Index(card, "</article>")]
	for _, want := range []string{"Breaks in 40 hours (", "crew tablets, dispatch", "Vault is sealed", "in 6 minutes (", "rotatord plan crew-tablets", `href="runbook#rotatordkeyexpiresunrotated"`} {
		if !strings.Contains(card, want) {
			t.Errorf("the card lacks %q:\n%s", want, card)
		}
	}
	for _, want := range []string{"<h1>1 credential broken</h1>", "<title>✖ 1 broken, Fleet · rotatord</title>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	well := site(t, func(o *web.Options) {
		o.Snapshot = func(now time.Time) []web.Credential { return webtest.Fleet(now)[:1] }
	})
	if page := fetch(well, http.MethodGet, "/").Body.String(); !strings.Contains(page, "<h1>All is well</h1>") || !strings.Contains(page, "<title>Fleet · rotatord</title>") {
		t.Error("a fleet without a problem does not say so")
	}
	empty := site(t, func(o *web.Options) { o.Snapshot = func(time.Time) []web.Credential { return nil } })
	for _, path := range []string{"/", "/timeline", "/timeline?span=all", "/calendar"} {
		if w := fetch(empty, http.MethodGet, path); w.Code != http.StatusOK {
			t.Errorf("%s of an empty fleet: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestManyProblemsAreCounted: where everything is down the page stays short.
func TestManyProblemsAreCounted(t *testing.T) {
	h := site(t, func(o *web.Options) {
		o.Snapshot = func(now time.Time) []web.Credential { return webtest.Many(5000, now) }
	})
	page := fetch(h, http.MethodGet, "/").Body.String()
	if n := strings.Count(page, "<article"); n != 12 {
		t.Errorf("%d cards", n)
	}
	for _, want := range []string{"<strong>50</strong> × the served key expires very soon", `href="./?problem=critical#fleet"`, `href="./?problem=any#fleet"`, "1 to 100 of 5,000."} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if page := fetch(h, http.MethodGet, "/?problem=critical").Body.String(); !strings.Contains(page, "1 to 50 of 50 found") {
		t.Error("the link to a problem's credentials does not find them")
	}
}

func TestDaemonThatStandsStill(t *testing.T) {
	h := site(t, func(o *web.Options) {
		o.Daemon = func() web.Daemon { return web.Daemon{Problems: []string{"The daemon does not go on."}} }
	})
	for _, path := range []string{"/", "/timeline", "/calendar", "/credential?name=web-map"} {
		if page := fetch(h, http.MethodGet, path).Body.String(); !strings.Contains(page, "The daemon does not go on.") {
			t.Errorf("%s does not say that it may be stale", path)
		}
	}
}

func TestRunbookOfTheReader(t *testing.T) {
	h := site(t, func(o *web.Options) { o.RunbookURL = "https://wiki.example/keys" })
	if page := fetch(h, http.MethodGet, "/").Body.String(); !strings.Contains(page, `href="https://wiki.example/keys#rotatordkeydead"`) {
		t.Error("the reader's own runbook is not linked")
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	h := site(t, nil)
	seen := map[string]bool{}
	queue := []string{"/"}
	for len(queue) > 0 && len(seen) < 150 {
		path := queue[0]
		queue = queue[1:]
		w := fetch(h, http.MethodGet, path)
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
		page := w.Body.String()
		base := &url.URL{Scheme: "http", Host: "page"}
		here, err := base.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			to, err := here.Parse(strings.ReplaceAll(m[1], "&amp;", "&"))
			if err != nil {
				t.Errorf("%s links to %s: %v", path, m[1], err)
				continue
			}
			if strings.HasPrefix(m[1], "#") && m[1] != "#main" && !strings.Contains(page, `id="`+m[1][1:]+`"`) {
				t.Errorf("%s links to %s, which it does not have", path, m[1])
			}
			if to.Host != "page" || seen[to.RequestURI()] || to.Path == "/metrics" || to.Path == "/healthz" || to.Path == "/readyz" {
				continue
			}
			seen[to.RequestURI()] = true
			if !strings.Contains(to.RawQuery, "from=") { // the calendar goes on for years
				queue = append(queue, to.RequestURI())
			}
		}
	}
	if len(seen) < 40 {
		t.Errorf("only %d links were followed", len(seen))
	}
}
