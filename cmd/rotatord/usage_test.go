package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/daemon"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	used "rotatord/internal/usage"
)

// withConfig changes the config's text.
func (w *world) withConfig(t *testing.T, old, now string) {
	t.Helper()
	b, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		t.Fatalf("the config has no %q", old)
	}
	if err := os.WriteFile(w.config, []byte(strings.Replace(string(b), old, now, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reports is what `rotatord usage --json` prints.
func (w *world) reports(t *testing.T, args ...string) []usageReport {
	t.Helper()
	r := runCLI(t, append([]string{"--config", w.config, "--json", "usage"}, args...)...)
	var out []usageReport
	if err := json.Unmarshal([]byte(r.out), &out); r.code != exitOK || err != nil {
		t.Fatalf("usage: exit %d, %v\n%s%s", r.code, err, r.out, r.err)
	}
	return out
}

func (w *world) metrics(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "listen: '")
	address, _, _ := strings.Cut(rest, "'")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestBudgetCutsOff: the built daemon reads what a key used, takes it away by the book
// when its budget is spent, once, and gives it back when a person says so.
func TestBudgetCutsOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withConfig(t, "schedules: {", "schedules: {usage: '@every 1s', ")
	w.withConfig(t, "{name: app, ", "{name: app, budget: {per_month: 50, cut_off: true}, policy: {renew_before: 1h, overlap: 10m, critical_before: 30m, lifetime: 12h, min_interval: 1s, min_gain: 2s}, ")
	w.withConfig(t, "product: online", "product: online\n    usage: never") // a reading of now would be fresh enough for the next start
	p := w.start(t)
	w.await(t, "the first key is published", func(ctx context.Context) bool {
		s := p.status(ctx)
		return s.Live.Generation == 1 && s.Phase == rotate.PhaseIdle
	})
	if _, err := p.client.Command(t.Context(), rotate.Command{Kind: rotate.CommandRotate, Text: "so that both slots are used"}, "app"); err != nil {
		t.Fatal(err)
	}
	w.await(t, "two keys work", func(ctx context.Context) bool { return p.status(ctx).Phase == rotate.PhaseOverlap })
	p.terminate(t)

	w.withConfig(t, "\n    usage: never", "")
	w.emulator.AddUsage(portaltest.UsageRow{At: w.emulator.Now().Add(-time.Minute), ClientID: w.clientID, Type: "geocode", Num: 3000, Credits: 120})
	before := w.served(t)
	p = w.start(t)
	w.await(t, "the budget cuts off", func(ctx context.Context) bool {
		return strings.Contains(w.metrics(t), `rotatord_usage_cut_off{credential="app",stage="done"} 1`)
	})
	w.wantNoKey(t, before)
	w.wantTheBudgetsWord(t, p)
	f := w.reports(t, "app")[0]
	if f.CutOff == nil || f.CutOff.Stage != used.StageDone || f.All.MonthCredits < 120 || f.Spent[0].Level != 1 || len(f.Days) == 0 {
		t.Errorf("usage shows %+v, %+v, %d days", f.Finding, f.CutOff, len(f.Days))
	}
	if _, err := p.client.Command(t.Context(), rotate.Command{Kind: rotate.CommandResume}, "app"); err != nil {
		t.Fatal(err)
	}
	w.await(t, "a new key is served", func(context.Context) bool {
		valid, _ := w.emulator.KeyValid(w.served(t))
		return valid && w.served(t) != before
	})
	p.terminate(t)
	p = w.start(t) // looks at the budget afresh, which is still spent
	w.await(t, "it knows that a person resumed", func(context.Context) bool {
		return strings.Contains(w.metrics(t), `rotatord_usage_cut_off{credential="app",stage="lifted"} 1`)
	})
	if valid, why := w.emulator.KeyValid(w.served(t)); !valid {
		t.Errorf("the key is %s: the budget cut off twice in a month", why)
	}
	p.terminate(t)
	w.checkNoSecrets(t)
}

// wantNoKey of the credential to work, the served one least of all.
func (w *world) wantNoKey(t *testing.T, served string) {
	t.Helper()
	if valid, _ := w.emulator.KeyValid(served); valid {
		t.Error("the served key still works")
	}
	for _, k := range w.emulator.Keys() {
		if valid, _ := w.emulator.KeyValid(k.Secret); valid {
			t.Errorf("the key in slot %d still works", k.Slot)
		}
	}
	if got := w.served(t); got != served {
		t.Error("the sink was given another key")
	}
}

// wantTheBudgetsWord in the history and in the hold.
func (w *world) wantTheBudgetsWord(t *testing.T, p *started) {
	t.Helper()
	entries, err := p.client.History(t.Context(), daemon.HistoryQuery{Name: "app"})
	if err != nil {
		t.Fatal(err)
	}
	held, asked := 0, 0
	for _, e := range entries {
		if e.Actor != used.Actor {
			continue
		}
		switch e.Kind {
		case rotate.EventHeld:
			held++
		case rotate.EventRequested:
			asked++
		}
		if !strings.Contains(e.Detail, "of 50 credits are spent in the month") {
			t.Errorf("the history says %q", e.Detail)
		}
	}
	if held != 1 || asked != 2 {
		t.Errorf("the budget gave %d holds and %d orders to invalidate, want one and two", held, asked)
	}
	hold := p.status(t.Context()).Hold
	_, next := monthOf(time.Now())
	if hold == nil || hold.By != used.Actor || !hold.Until.Equal(next) {
		t.Errorf("held by %+v, want by the budget until %s", hold, next)
	}
}

func monthOf(t time.Time) (first, next time.Time) {
	first = time.Date(t.UTC().Year(), t.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	return first, first.AddDate(0, 1, 0)
}

// TestUsageImport: a file feeds the same figures, through the daemon and without one.
func TestUsageImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withConfig(t, "product: online", "product: online\n    usage: never")
	yesterday := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)
	file := filepath.Join(w.dir, "usage.csv")
	write := func(format string, args ...any) {
		t.Helper()
		if err := os.WriteFile(file, fmt.Appendf(nil, format, args...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	imports := func(args ...string) cliResult {
		t.Helper()
		return runCLI(t, append([]string{"--config", w.config, "usage", "import", file}, args...)...)
	}
	write("\ufeffDay;Item ID;Service;Transactions;Credits\n%s;%s;Geocode;1200;48,5\n", yesterday, strings.ToUpper(w.item))
	if r := imports(); r.code != exitOK || !strings.Contains(r.out, "app: 1200 requests, 48.5 credits from "+yesterday) {
		t.Fatalf("without a daemon: exit %d\n%s%s", r.code, r.out, r.err)
	}
	p := w.start(t)
	write("date,credential,service,requests,credits\n%s,app,tiles,10,1\n", yesterday)
	for range 2 { // the second time changes nothing
		if r := imports(); r.code != exitOK {
			t.Fatalf("exit %d\n%s%s", r.code, r.out, r.err)
		}
	}
	w.await(t, "the daemon shows what was imported", func(context.Context) bool {
		return strings.Contains(w.metrics(t), `rotatord_usage_info{credential="app",source="file",missing="off"`)
	})
	f := w.reports(t, "app")[0]
	if len(f.Days) != 1 || f.Days[0].Requests != 1210 || f.Days[0].Credits != 49.5 || f.Missing != used.MissingOff || f.Source != used.SourceFile {
		t.Errorf("usage shows %+v", f)
	}
	if r := runCLI(t, "--config", w.config, "usage", "app"); r.code != exitOK || !strings.Contains(r.out, "1210") || !strings.Contains(r.out, "switched off in the config") {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	write("date,credential,requests\n%s,app,5\nsoon,ap,many\n", yesterday)
	r := imports()
	for _, want := range []string{file + `:3:1: "soon" is no date`, `:3:6: no credential of the config is "ap"`, `:3:9: "many"`} {
		if r.code != exitFailed || !strings.Contains(r.err, want) {
			t.Errorf("exit %d, %q does not say %q", r.code, r.err, want)
		}
	}
	if f := w.reports(t, "app")[0]; f.Days[0].Requests != 1210 {
		t.Errorf("a refused file changed something: %+v", f.Days)
	}
	if r := runCLI(t, "--config", w.config, "usage", "ap"); r.code != exitUsage || !strings.Contains(r.err, "did you mean app?") {
		t.Errorf("exit %d, %s", r.code, r.err)
	}
	p.terminate(t)
}

// TestUsageSaysWhyThereIsNone: each product is read or has its reason, and Esri's own page.
func TestUsageSaysWhyThereIsNone(t *testing.T) {
	const text = `portals:
  online: {url: https://acme.maps.arcgis.com, product: online, identity: {username: a, password: 'file:/x'}}
  quiet: {url: https://other.maps.arcgis.com/, product: online, usage: never, identity: {username: a, password: 'file:/x'}}
  platform: {url: https://www.arcgis.com, product: location-platform, identity: {username: a, password: 'file:/x'}}
  enterprise: {url: https://gis.acme.example/portal, product: enterprise, identity: {username: a, password: 'file:/x'}}
defaults: {mode: watch, budget: {per_month: 100, warn_at: [90%]}}
credentials:
  - {name: read, portal: online, item: 0123456789abcdef0123456789abcdef, budget: {per_day: 5}}
  - {name: "off", portal: online, usage: never, item: 0123456789abcdef0123456789abcde0}
  - {name: quiet, portal: quiet, item: 0123456789abcdef0123456789abcde1}
  - {name: platform, portal: platform, item: 0123456789abcdef0123456789abcde2}
  - {name: enterprise, portal: enterprise, item: 0123456789abcdef0123456789abcde3}
`
	cfg, err := config.Parse("c.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	targets := usageTargets(cfg, nil)
	for name, want := range map[rotate.Name]struct {
		missing used.Missing
		page    string
	}{
		"read":       {"", "https://acme.maps.arcgis.com/home/item.html?id=0123456789abcdef0123456789abcdef#usage"},
		"off":        {used.MissingOff, "https://acme.maps.arcgis.com/home/item.html?id=0123456789abcdef0123456789abcde0#usage"},
		"quiet":      {used.MissingOff, "https://other.maps.arcgis.com/home/item.html?id=0123456789abcdef0123456789abcde1#usage"},
		"platform":   {used.MissingLocationPlatform, "https://location.arcgis.com/usage/credentials/0123456789abcdef0123456789abcde2/"},
		"enterprise": {used.MissingEnterprise, "https://gis.acme.example/portal/home/item.html?id=0123456789abcdef0123456789abcde3#usage"},
	} {
		got := usageTarget(targets, name)
		if got == nil || got.Missing != want.missing || got.Page != want.page || got.Budget.PerMonth != 100 || got.Budget.WarnAt[0] != 0.9 || got.Budget.CutOff {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if b := targets[0].Budget; b.PerDay != 5 {
		t.Errorf("read has the budget %+v", b)
	}
}

// TestUsageIsTriedOnline: a right that is missing is named before anybody relies on a budget.
func TestUsageIsTriedOnline(t *testing.T) {
	t.Parallel()
	em, server := newEmulator()
	t.Cleanup(server.Close)
	item := em.AddCredential(portaltest.CredentialSeed{Title: "App", Owner: portaltest.CreatorUser}).ItemID
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte(portaltest.StandardPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]int{portaltest.CreatorUser: 1, portaltest.AdminUser: 0} {
		file := filepath.Join(dir, user+".yaml")
		text := fmt.Sprintf(`portals: {online: {url: %q, product: online, identity: {username: %s, password: 'file:%s/password'}}}
defaults: {portal: online, mode: watch}
credentials: [{name: app, item: %s}]
`, server.URL, user, dir, item)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := runCLI(t, "--config", file, "check-config", "--online", "--json")
		if got := strings.Count(r.out, "What its credentials use cannot be read"); r.code != exitOK || got != want {
			t.Errorf("%s: exit %d, said %d times, want %d\n%s%s", user, r.code, got, want, r.out, r.err)
		}
		if want > 0 && !strings.Contains(r.out, "portal:admin:createReports") {
			t.Errorf("%s: the right is not named:\n%s", user, r.out)
		}
	}
}

// What comes over the socket is not trusted to be what ParseFile made.
func TestUsageImportIsChecked(t *testing.T) {
	targets := []used.Target{{Name: "app"}}
	now := time.Now()
	for name, uses := range map[string]map[rotate.Name][]used.Use{
		"below zero":   {"app": {{At: now, Requests: -1}}},
		"not a number": {"app": {{At: now, Credits: math.NaN()}}},
		"infinite":     {"app": {{At: now, Credits: math.Inf(1)}}},
		"long ago":     {"app": {{At: now.AddDate(-3, 0, 0)}}},
		"to come":      {"app": {{At: now.AddDate(0, 0, 9)}}},
		"of nobody":    {"ap": {{At: now}}},
	} {
		// A store that does nothing: nothing may come so far.
		if err := importUsage(t.Context(), nil, targets, uses); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestBudgetHasOneSeries(t *testing.T) {
	v := usageView(&used.Finding{Spent: []used.Spent{{Period: used.PeriodDay, Budget: 10, Share: 0.2}, {Period: used.PeriodDay, Budget: 10, Share: 0.9, Level: 0.8}, {Period: used.PeriodMonth, Budget: 100, Share: 0.1}}})
	if len(v.Budgets) != 2 || v.Budgets[0].Used != 0.9 || v.Budgets[0].Level != 0.8 || v.Budgets[1].Period != "month" {
		t.Errorf("shown %+v", v.Budgets)
	}
}
