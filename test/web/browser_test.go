package web

import (
	"bytes"
	"fmt"
	"image/png"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/testkit"
	"rotatord/internal/web/webtest"
)

// pages that are looked at, by a name for their pictures.
func pages() map[string]string {
	return map[string]string{
		"fleet":         "/",
		"fleet-found":   "/?q=production&sort=expires&desc=1&size=25",
		"fleet-none":    "/?q=nobody-has-this",
		"timeline":      "/timeline",
		"timeline-all":  "/timeline?span=all",
		"calendar":      "/calendar",
		"calendar-far":  "/calendar?from=" + time.Now().UTC().AddDate(1, 3, 0).Format(time.DateOnly),
		"overlap":       "/credential?name=city-portal",
		"dead":          "/credential?name=hydrants",
		"drift":         "/credential?name=flood-model",
		"held":          "/credential?name=enterprise-geocoder",
		"unadopted":     "/credential?name=survey-forms",
		"history-fails": "/credential?name=tree-inventory",
		"not-found":     "/credential?name=nobody",
		"runbook":       "/runbook",
	}
}

// TestAccessibleInBothSchemes: axe-core finds nothing, the browser has nothing to
// complain of (a breach of the content policy would be one), nothing is asked of any
// other host, nothing is wider than the window, and no script is on the page.
func TestAccessibleInBothSchemes(t *testing.T) {
	axe, err := os.ReadFile(filepath.Join(testkit.Root(t), "test", "npm", "node_modules", "axe-core", "axe.min.js"))
	testkit.Need(t, err == nil, "axe-core in test/npm/node_modules", "make npm")
	b := chromium(t)
	srv := httptest.NewServer(handler(t, webtest.Fleet))
	defer srv.Close()
	p := b.tab(t)
	for name, path := range pages() {
		for _, scheme := range []string{"light", "dark"} {
			p.scheme(scheme)
			p.size(1280, 900)
			p.open(srv.URL + path)
			var broken []string
			p.eval(`document.documentElement.scrollWidth > innerWidth ? ["the page is " + document.documentElement.scrollWidth + " wide"] : []`, &broken)
			for _, text := range append(broken, complaintsBut404(p, srv.URL, name)...) {
				t.Errorf("%s, %s: %s", name, scheme, text)
			}
			p.shot(name + "-" + scheme)
			var scripts int
			p.eval(`document.scripts.length`, &scripts)
			if scripts != 0 {
				t.Errorf("%s: %d scripts", name, scripts)
			}
			p.eval(string(axe), nil)
			var found []string
			rules, least := `["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]`, 10
			if scheme == "dark" { // differs in its colours only
				rules, least = `{type: "rule", values: ["color-contrast", "link-in-text-block"]}`, 1
			}
			p.eval(fmt.Sprintf(`axe.run(document, {runOnly: %s, resultTypes: ["violations"]}).then(r => {
				if (r.passes.length < %d) return ["axe looked at nothing"];
				return r.violations.map(v => v.id + ": " + v.help + ": " + v.nodes.slice(0, 4).map(n => n.target + " " + n.html.slice(0, 160) + " " +
					n.any.map(a => a.message).join(" ")).join("\n    "))})`, rules, least), &found)
			for _, v := range found {
				t.Errorf("%s, %s: %s", name, scheme, v)
			}
		}
	}
}

// complaintsBut404: a page that is not there is told to the console.
func complaintsBut404(p *tab, origin, name string) []string {
	var out []string
	for _, c := range p.complaints(origin) {
		if name == "not-found" && strings.Contains(c, "404") {
			continue
		}
		out = append(out, c)
	}
	return out
}

// TestNarrowAndPrinted: a telephone's width scrolls no page sideways, and paper has no
// navigation and black letters.
func TestNarrowAndPrinted(t *testing.T) {
	b := chromium(t)
	srv := httptest.NewServer(handler(t, webtest.Fleet))
	defer srv.Close()
	p := b.tab(t)
	for name, path := range pages() {
		p.size(390, 800)
		p.open(srv.URL + path)
		var wide []string
		p.eval(`document.documentElement.scrollWidth <= 390 ? [] : [...document.querySelectorAll("main *")].filter(e =>
			e.getBoundingClientRect().right > 390 && !e.closest(".scroll")).slice(0, 3).map(e => e.outerHTML.slice(0, 120)).concat(
			"something, since it is " + document.documentElement.scrollWidth + " wide")`, &wide)
		for _, e := range wide {
			t.Errorf("%s reaches beyond a window of 390: %s", name, e)
		}
		p.shot(name + "-narrow")
	}
	p.size(1000, 900)
	for _, name := range []string{"fleet", "timeline", "calendar", "overlap"} {
		p.open(srv.URL + pages()[name])
		p.do("Emulation.setEmulatedMedia", map[string]any{"media": "print", "features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}}, nil)
		var got struct{ Nav, Color, Background string }
		p.eval(`({Nav: getComputedStyle(document.querySelector("nav")).display, Color: getComputedStyle(document.body).color,
			Background: getComputedStyle(document.body).backgroundColor})`, &got)
		if got.Nav != "none" || got.Color != "rgb(0, 0, 0)" || got.Background != "rgb(255, 255, 255)" {
			t.Errorf("%s on paper: %+v", name, got)
		}
		p.shot(name + "-print")
		p.do("Emulation.setEmulatedMedia", map[string]any{"media": ""}, nil)
	}
}

// focused describes what has the focus.
const focused = `(() => { const e = document.activeElement; return e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + " " +
	(e.name || e.getAttribute("aria-labelledby") || e.textContent.trim().split("\n")[0].slice(0, 40)) })()`

// TestKeyboard: the first Tab is the way past the navigation, the order is that of the
// page, what has the focus is seen, and a search works by keys alone, without script.
func TestKeyboard(t *testing.T) {
	b := chromium(t)
	srv := httptest.NewServer(handler(t, webtest.Fleet))
	defer srv.Close()
	p := b.tab(t)
	p.size(1280, 900)
	p.open(srv.URL + "/")
	tab := func() string {
		p.key("Tab", 9, 0)
		var at string
		p.eval(focused, &at)
		return strings.TrimSpace(at)
	}
	for i, want := range []string{"a Skip to content", "a rotatord", "a Fleet", "a Timeline", "a Calendar", "a Runbook", "a hydrants"} {
		if got := tab(); got != want {
			t.Fatalf("Tab %d goes to %q, want %q", i+1, got, want)
		}
		var outline string
		p.eval(`getComputedStyle(document.activeElement).outlineStyle`, &outline)
		if outline == "none" {
			t.Errorf("the focus on %q is not seen", want)
		}
	}
	seen := 0
	for got := ""; got != "input#q q"; seen++ {
		if got = tab(); seen > 80 {
			t.Fatal("80 Tabs do not reach the search")
		}
	}
	p.do("Input.insertText", map[string]any{"text": "cadastre"}, nil)
	p.take()
	p.key("Enter", 13, 0)
	p.awaitLoad("")
	var names []string
	p.eval(`[...document.querySelectorAll("table.fleet tbody th")].map(e => e.textContent)`, &names)
	if fmt.Sprint(names) != "[land-register parcel-search]" {
		t.Errorf("the search found %v", names)
	}
	// Skipping leads behind the navigation.
	p.open(srv.URL + "/")
	tab()
	p.key("Enter", 13, 0)
	var at string
	p.eval(focused, &at)
	if !strings.HasPrefix(at, "main#main") {
		t.Errorf("skipping leads to %q", at)
	}
	if got := tab(); got != "a hydrants" {
		t.Errorf("the Tab after skipping goes to %q", got)
	}
}

// TestWithoutScript: everything is there and works with scripts switched off.
func TestWithoutScript(t *testing.T) {
	b := chromium(t)
	srv := httptest.NewServer(handler(t, webtest.Fleet))
	defer srv.Close()
	p := b.tab(t)
	p.size(1280, 900)
	p.do("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	p.open(srv.URL + "/?state=broken#fleet")
	var doc struct {
		Root struct{ NodeID int } `json:"root"`
	}
	p.do("DOM.getDocument", nil, &doc)
	var html struct {
		HTML string `json:"outerHTML"`
	}
	p.do("DOM.getOuterHTML", map[string]any{"nodeId": doc.Root.NodeID}, &html)
	if !strings.Contains(html.HTML, `href="credential?name=hydrants"`) || strings.Contains(html.HTML, `href="credential?name=public-map"><`) {
		t.Error("the filtered table is not on the page")
	}
	img, err := png.Decode(bytes.NewReader(p.picture()))
	if err != nil || img.Bounds().Dx() != 1280 || img.Bounds().Dy() < 900 {
		t.Errorf("picture: %v, %v", img, err)
	}
}
