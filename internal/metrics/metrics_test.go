package metrics

import (
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

var updateGolden = flag.Bool("update", false, "rewrite the golden files")

func day(n int) time.Time { return time.Date(2026, 3, n, 23, 59, 59, 0, time.UTC) }

// views has a credential in overlap, one in every kind of trouble, one of which
// nobody knows what is served, and one that was never looked at.
func views() []CredentialView {
	overlap := rotate.Record{Name: "maps", Phase: rotate.PhaseOverlap, AdoptedAt: day(1), RetireAt: day(9), PromotedAt: day(2), SurveyedAt: day(3),
		Blocked:  rotate.ReasonOverlap,
		Live:     rotate.KeyFacts{Slot: rotate.Slot2, Expires: day(30), LatestExpiry: day(31)},
		Previous: rotate.KeyFacts{Slot: rotate.Slot1, Expires: day(12)},
	}
	overlap.Slots[1] = rotate.SlotState{Use: rotate.UsePrevious, Active: true, Expires: day(13), Key: rotate.KeyFacts{Expires: day(12)}}
	overlap.Slots[2] = rotate.SlotState{Use: rotate.UseLive, Active: true, Expires: day(30)}

	trouble := rotate.Record{Name: "tiles", Phase: rotate.PhaseIdle, Drift: rotate.DriftSinkForeign, DriftSince: day(3), Attempts: 3, DeadAt: day(3),
		Hold: &rotate.Hold{Reason: "audit", Since: day(2)}, Quarantine: &rotate.Quarantine{Reason: "x", Since: day(4)},
		Due: rotate.ReasonDead, Blocked: rotate.ReasonOccupied,
		Live: rotate.KeyFacts{Slot: rotate.Slot1},
	}
	trouble.Slots[2] = rotate.SlotState{Use: rotate.UseEmpty, Expires: day(20)} // invalidated; its date stays

	unserved := rotate.Record{Name: "roads", Phase: rotate.PhaseIdle}
	unserved.Slots[1] = rotate.SlotState{Active: true, Expires: day(15)}
	unserved.Slots[2] = rotate.SlotState{Active: true, Expires: day(25), Use: rotate.UseOwn, Since: day(5)} // an orphan
	return []CredentialView{
		{Name: "maps", Portal: "esri", Product: "location_platform", Owner: "Team \"Maps\"", Environment: "prod", Item: "aa11", Mode: rotate.ModeRotate, Record: overlap, DueAt: day(28)},
		{Name: "tiles", Portal: "gov", Product: "enterprise", Item: "bb22", Mode: rotate.ModeRotate, Record: trouble},
		{Name: "roads", Portal: "esri", Product: "online", Item: "cc33", Mode: rotate.ModeWatch, Record: unserved},
		{Name: "new", Portal: "esri", Product: "online", Item: "dd44", Mode: rotate.ModeWatch, Record: rotate.Record{Name: "new"}},
	}
}

// each yields a fixed fleet.
func each(all []CredentialView) func(func(*CredentialView)) {
	return func(yield func(*CredentialView)) {
		for i := range all {
			yield(&all[i])
		}
	}
}

func portalViews() []PortalView {
	return []PortalView{
		{Portal: "esri", Offset: -1500 * time.Millisecond, OffsetKnown: true, Breaker: BreakerClosed, UnderWay: 2, Waits: 3, Waited: 2500 * time.Millisecond,
			Waiting: map[rotate.Urgency]int{rotate.UrgencySurvey: 1}, Identity: day(20)},
		{Portal: "gov", Breaker: BreakerOpen, PausedUntil: time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
}

func vaultView() VaultView { return VaultView{Token: day(4), SecretID: day(60), SecretIDDue: day(30)} }

// scripted is a registry after a rotation, with every metric there.
func scripted() *Metrics {
	m := New(Options{Version: "1.2.3", Revision: "abc", Started: day(1), Operations: []string{"mint", "item"}, Snapshot: each(views()), Portals: portalViews, Vault: vaultView})
	m.SetPortals([]rotate.PortalID{"esri", "gov", "new"}, day(1))
	m.SetSinks([]string{"file", "vault"})
	for _, e := range []rotate.Event{
		{Kind: rotate.EventStarted, Reason: rotate.ReasonExpiring},
		{Kind: rotate.EventEffect, Effect: rotate.EffectMint, Result: rotate.Result(rotate.KindTransient), Took: 3 * time.Second, RotationID: "R1"},
		{Kind: rotate.EventEffect, Effect: rotate.EffectMint, Result: rotate.ResultOK, Took: 40 * time.Millisecond, RotationID: "R1"},
		{Kind: rotate.EventEffect, Effect: rotate.EffectProbe, Result: rotate.ResultOK, Took: 20 * time.Millisecond},
		{Kind: rotate.EventPromoted, Reason: rotate.ReasonExpiring, RotationID: "R1"},
		{Kind: rotate.EventFinished, Reason: rotate.ReasonExpiring, RotationID: "R1"},
		{Kind: rotate.EventAborted, Reason: rotate.ReasonDead},
	} {
		m.Observe(e)
	}
	m.Observe(rotate.Event{Kind: rotate.EventPromoted, Reason: rotate.ReasonMaxAge, RotationID: "01KJNK9V00AAAAAAAAAAAAAAAA", At: day(2)})
	m.PortalRequest("esri", "mint", rotate.ResultOK, 30*time.Millisecond)
	m.PortalRequest("esri", "mint", rotate.Result(rotate.KindRateLimited), time.Millisecond)
	m.SurveyDone(Survey{Portal: "esri", At: day(2), Due: day(3), Credentials: 4, Took: 2 * time.Second})
	m.SurveyDone(Survey{Portal: "esri", At: day(3), Due: day(4), Credentials: 1, Took: time.Second, Err: &rotate.Error{Kind: rotate.KindAuth}})
	m.SinkUsed(SinkUse{Sink: "vault", Operation: SinkWrite, Result: rotate.ResultOK, At: day(2), Took: 5 * time.Millisecond})
	m.SinkUsed(SinkUse{Sink: "vault", Operation: SinkReadBack, Result: rotate.Result(rotate.KindConflict), At: day(3), Took: 5 * time.Millisecond})
	m.Notification(DeliveryOK)
	m.Heartbeat(DeliveryFailed)
	m.ConfigLoaded(true, day(1))
	m.ConfigLoaded(false, day(2))
	m.JournalUsed(JournalWrite, nil)
	m.JournalUsed(JournalWrite, &rotate.Error{Kind: rotate.KindConflict})
	m.JournalUsed(JournalWrite, errors.New("database or disk is full (13)"))
	m.JournalUsed(JournalRead, nil)
	m.PassDone(day(3), true, day(3).Add(time.Minute))
	m.PassDone(day(3).Add(time.Minute), false, day(3).Add(2*time.Minute))
	m.ShowUsage(usageViews)
	m.ShowSettings(settingsViews)
	m.UsageRead("esri", rotate.ResultOK)
	return m
}

func scrape(t *testing.T, m *Metrics, accept string) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("scrape: %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestGolden(t *testing.T) {
	var ours []string
	for line := range strings.Lines(scrape(t, scripted(), "text/plain")) {
		if strings.Contains(line, "rotatord_") {
			ours = append(ours, strings.ReplaceAll(line, runtime.Version(), "GOVERSION"))
		}
	}
	got := strings.Join(ours, "")
	const file = "testdata/metrics.golden"
	if *updateGolden {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("/metrics (-want +got; regenerate with -update):\n%s", diff)
	}
}

func TestUnknownTimesAreAbsent(t *testing.T) {
	m := New(Options{Snapshot: each([]CredentialView{{Name: "maps"}}), Vault: func() VaultView { return VaultView{} }})
	text := scrape(t, m, "text/plain")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "rotatord_") && strings.Contains(line, "timestamp_seconds") {
			t.Errorf("shown though nothing is known: %s", line)
		}
	}
	if !strings.Contains(text, `rotatord_credential_phase{credential="maps",phase="idle"} 1`) {
		t.Error("a credential that was never advanced has no phase")
	}
}

func TestRemovedCredentialVanishes(t *testing.T) {
	shown := views()
	m := New(Options{Snapshot: func(yield func(*CredentialView)) { each(shown)(yield) }})
	if !strings.Contains(scrape(t, m, ""), `credential="tiles"`) {
		t.Fatal("tiles is not shown while it is configured")
	}
	shown = slices.DeleteFunc(shown, func(v CredentialView) bool { return v.Name == "tiles" })
	if text := scrape(t, m, ""); strings.Contains(text, `credential="tiles"`) || !strings.Contains(text, `credential="maps"`) {
		t.Error("after its removal tiles is still shown, or maps is not")
	}
}

func TestWhatLeftTheConfigVanishes(t *testing.T) {
	m := scripted()
	m.PortalRequest("gov", "item", rotate.ResultOK, time.Second)
	m.SetPortals([]rotate.PortalID{"gov"}, day(3))
	m.SetSinks([]string{"file"})
	m.SurveyDone(Survey{Portal: "esri", At: day(4)}) // it was under way
	text := scrape(t, m, "")
	for _, gone := range []string{`portal="new"`, `sink="vault"`, `rotatord_survey_last_success_timestamp_seconds{portal="esri"`} {
		if strings.Contains(text, gone) {
			t.Errorf("%s left the config and is still shown", gone)
		}
	}
	for _, stays := range []string{`rotatord_portal_requests_total{operation="item",portal="gov",result="ok"} 1`, `sink="file"`} {
		if !strings.Contains(text, stays) {
			t.Errorf("%s is gone with another", stays)
		}
	}
}

func TestHoldEnds(t *testing.T) {
	v := &CredentialView{Record: rotate.Record{Hold: &rotate.Hold{Until: day(5)}}}
	if !AttentionHeld.holds(v, day(5).Add(-1)) || AttentionHeld.holds(v, day(5)) {
		t.Error("a hold is shown past its end, or not up to it")
	}
}

func TestOpenMetricsHasExemplars(t *testing.T) {
	text := scrape(t, scripted(), "application/openmetrics-text; version=1.0.0")
	if !strings.HasSuffix(text, "# EOF\n") || !strings.Contains(text, `# {rotation_id="R1"} 0.04`) {
		t.Error("the OpenMetrics form has no end mark or no exemplar with the rotation id")
	}
}

func TestNativeHistogramIsServed(t *testing.T) {
	families, err := gathered(t, scripted()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "rotatord_effect_duration_seconds" {
			continue
		}
		for _, metric := range f.GetMetric() {
			if h := metric.GetHistogram(); len(h.GetBucket()) == 0 || h.Schema == nil {
				t.Errorf("%v: lacks classic buckets or the native form", metric.GetLabel())
			}
		}
		return
	}
	t.Error("no rotatord_effect_duration_seconds")
}

func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(gathered(t, scripted()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	testkit.Need(t, err == nil, "promtool", "apt-get install prometheus")
	cmd := exec.Command(tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(scrape(t, scripted(), "text/plain"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v:\n%s", err, out)
	}
}

// documented reads the rows of docs/metrics.md: name → type and labels.
func documented(t *testing.T) map[string]string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(testkit.Root(t), "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `(rotatord_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*) \\| ([a-z-]+) \\| [^|]{20,} \\|$")
	out := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(string(body), -1) {
		labels := regexp.MustCompile("[a-z_]+").FindAllString(m[3], -1)
		slices.Sort(labels)
		out[m[1]] = m[2] + " " + strings.Join(labels, ",")
	}
	return out
}

func TestDocumented(t *testing.T) {
	families, err := gathered(t, scripted()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	code := map[string]string{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "rotatord_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		slices.Sort(labels)
		code[f.GetName()] = strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, ",")
	}
	if diff := cmp.Diff(code, documented(t)); diff != "" {
		t.Errorf("docs/metrics.md differs (-code +docs):\n%s", diff)
	}
}

// TestRulesUseWhatIsThere: a rule or panel on a name that nobody exports is silent
// for ever.
func TestRulesUseWhatIsThere(t *testing.T) {
	docs := documented(t)
	var files []string
	for _, pattern := range []string{"deploy/prometheus/*.yml", "deploy/grafana/*.json"} {
		found, err := filepath.Glob(filepath.Join(testkit.Root(t), pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: no file, %v", pattern, err)
		}
		files = append(files, found...)
	}
	name := regexp.MustCompile(`(^|[^:a-zA-Z0-9_/.-])(rotatord_[a-z_]+)`)
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range name.FindAllStringSubmatch(string(body), -1) {
			base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m[2], "")
			if docs[m[2]] == "" && docs[base] == "" {
				t.Errorf("%s uses %s, which is not exported", filepath.Base(file), m[2])
			}
		}
	}
}
