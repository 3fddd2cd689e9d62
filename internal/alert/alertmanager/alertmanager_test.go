package alertmanager

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"rotatord/internal/alert"
	"rotatord/internal/alert/notifytest"
	"rotatord/internal/alert/wire"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

const (
	password = "c0rrect-h0rse-battery"
	token    = "t0ken-0f-the-alertmanager"
)

func source(s string) wire.Source {
	return func(context.Context) (rotate.Secret, error) { return rotate.NewSecret(s), nil }
}

// quick tells at once, so that a test need not wait.
const quick = `
route: {receiver: hook, group_by: [alertname, credential, portal], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: hook, webhook_configs: [{url: "%HOOK%", send_resolved: true}]}]
`

func opened() alert.Notice {
	n := notifytest.Notice()
	n.Key = "dead/store-locator"
	return n
}

func TestLife(t *testing.T) {
	r := startReal(t, quick)
	a, _ := r.notifier(func(*Options) {})
	if err := a.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := opened()
	n.Message.Condition, n.Message.Severity = alert.ConditionExpiring, alert.SeverityWarning
	ref, err := a.Tell(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	got := r.await("the alert", func(all []shown) bool { return len(all) == 1 })[0]
	for k, want := range map[string]string{"alertname": "RotatordKeyExpiresUnrotated", "severity": "warning", "credential": "store-locator", "portal": "acme",
		"owner": "maps", "environment": "production", "condition": "expiring", "subject": "dead/store-locator"} {
		if got.Labels[k] != want {
			t.Errorf("label %s is %q, want %q", k, got.Labels[k], want)
		}
	}
	if len(got.Labels) != 8 || got.Annotations["summary"] != n.Message.Title || got.Annotations["command"] != n.Message.Command ||
		got.Annotations["runbook_url"] != n.Message.Runbook || !strings.HasPrefix(got.Annotations["description"], n.Message.Breaks) ||
		got.GeneratorURL != n.Message.Links[0].URL || !got.StartsAt.Equal(n.Message.Since) {
		t.Errorf("shown is %+v", got)
	}
	if keep := time.Until(got.EndsAt); keep < 14*time.Minute || keep > 15*time.Minute {
		t.Errorf("it stands for %s", keep)
	}
	if out := r.amtool("alert", "query", "credential=store-locator"); !strings.Contains(out, "RotatordKeyExpiresUnrotated") {
		t.Errorf("amtool: %s", out)
	}
	r.hook.Await(t, "that it fires", func(g notifytest.Group) bool { return g.Status == "firing" })

	// told again, it is the same; acknowledged, it says by whom
	n.Ref, n.State, n.By, n.Loud = ref, alert.StateAcknowledged, "ada", false
	if again, err := a.Tell(t.Context(), n); err != nil || again != ref {
		t.Fatalf("again: ref %s, %v", again, err)
	}
	r.await("who acknowledged", func(all []shown) bool { return len(all) == 1 && all[0].Annotations["acknowledged_by"] == "ada" })

	// worse: the old one ends and the new one begins
	n.State, n.By, n.Loud, n.Message.Severity = alert.StateOpen, "", true, alert.SeverityCritical
	worse, err := a.Tell(t.Context(), n)
	if err != nil || worse == ref {
		t.Fatalf("worse: ref %s, %v", worse, err)
	}
	all := r.await("the critical one alone", func(all []shown) bool { return len(all) == 1 && all[0].Labels["severity"] == "critical" })
	if all[0].Annotations["acknowledged_by"] != "" {
		t.Error("what got worse is still acknowledged")
	}
	r.hook.Await(t, "that it is critical", func(g notifytest.Group) bool {
		return slices.ContainsFunc(g.Alerts, func(a struct {
			Status      string            `json:"status"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		}) bool {
			return a.Status == "firing" && a.Labels["severity"] == "critical"
		})
	})

	// resolved: its labels at the end are others, and it ends all the same
	n.Ref, n.State, n.Message.Severity, n.Message.Resolved, n.Message.Owner = worse, alert.StateResolved, alert.SeverityInfo, true, ""
	if _, err := a.Tell(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	r.await("its end", func(all []shown) bool { return len(all) == 0 })
	r.hook.Await(t, "that it is resolved", func(g notifytest.Group) bool {
		return g.Status == "resolved" && g.CommonLabels["credential"] == "store-locator"
	})
}

// TestForgotten: what is not told again ends by itself, and what is told as often as
// RefreshEvery says does not.
func TestForgotten(t *testing.T) {
	r := startReal(t, quick)
	a, _ := r.notifier(func(*Options) {})
	a.o.Keep = 2 * time.Second // New wants a minute at least
	if every := a.RefreshEvery(); every >= a.o.Keep/2 {
		t.Fatalf("told again every %s to stand for %s", every, a.o.Keep)
	}
	n := opened()
	if _, err := a.Tell(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	r.await("the alert", func(all []shown) bool { return len(all) == 1 })
	r.await("its end", func(all []shown) bool { return len(all) == 0 })
	r.hook.Await(t, "that it is resolved", func(g notifytest.Group) bool { return g.Status == "resolved" })
}

// TestShippedRoutes: our alerts meet the routes, groups and inhibitions of the example
// that operators begin with.
func TestShippedRoutes(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testkit.Root(t), "deploy", "prometheus", "alertmanager.example.yml"))
	if err != nil {
		t.Fatal(err)
	}
	// Slack cannot be reached here: each receiver is a webhook instead, by its name.
	head, _, ok := strings.Cut(string(text), "\nreceivers:")
	if !ok {
		t.Fatal("the example has no receivers")
	}
	head = strings.ReplaceAll(head, "group_wait: 30s", "group_wait: 0s")
	var config strings.Builder
	config.WriteString(head + "\nreceivers:\n")
	for _, m := range slices.Compact(slices.Sorted(slices.Values(regexp.MustCompile(`receiver: (\S+)`).FindAllString(head, -1)))) {
		config.WriteString("  - name: " + strings.TrimPrefix(m, "receiver: ") + "\n    webhook_configs: [{url: \"%HOOK%\"}]\n")
	}
	r := startReal(t, config.String())
	a, _ := r.notifier(func(*Options) {})
	tell := func(c alert.Condition, s alert.Severity, change func(*alert.Message)) {
		t.Helper()
		n := notifytest.Notice()
		n.Key, n.Message.Condition, n.Message.Severity = string(c)+"/x", c, s
		change(&n.Message)
		if _, err := a.Tell(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	tell(alert.ConditionUnreachable, alert.SeverityWarning, func(m *alert.Message) { m.Credential, m.Owner, m.Environment = "", "", "" })
	tell(alert.ConditionDead, alert.SeverityCritical, func(*alert.Message) {})
	tell(alert.ConditionFailing, alert.SeverityWarning, func(*alert.Message) {})
	tell(alert.ConditionExpiring, alert.SeverityWarning, func(*alert.Message) {})
	tell(alert.ConditionSpike, alert.SeverityWarning, func(*alert.Message) {})
	all := r.await("all five, two of them inhibited", func(all []shown) bool {
		n := 0
		for _, s := range all {
			n += len(s.Status.InhibitedBy)
		}
		return len(all) == 5 && n >= 2
	})
	receivers := map[string]string{}
	for _, s := range all {
		for _, to := range s.Receivers {
			receivers[s.Labels["alertname"]] += to.Name + " "
		}
		inhibited := len(s.Status.InhibitedBy) > 0
		// A portal that is down explains failing rotations; a dead key stands for one that expires.
		want := s.Labels["condition"] == string(alert.ConditionFailing) || s.Labels["condition"] == string(alert.ConditionExpiring)
		if inhibited != want {
			t.Errorf("%s is inhibited: %v, want %v", s.Labels["alertname"], inhibited, want)
		}
	}
	for name, want := range map[string]string{"RotatordKeyDead": "on-call owners ", "RotatordPortalUnreachable": "rotatord-operators ", "RotatordUsageSpike": "owners "} {
		if receivers[name] != want {
			t.Errorf("%s goes to %q, want %q", name, receivers[name], want)
		}
	}
	g := r.hook.Await(t, "of the dead key", func(g notifytest.Group) bool { return g.GroupLabels["alertname"] == "RotatordKeyDead" })
	if g.GroupLabels["credential"] != "store-locator" || g.GroupLabels["portal"] != "acme" {
		t.Errorf("grouped by %v", g.GroupLabels)
	}
}

// TestSignIn: TLS on both sides and basic auth of a real one.
func TestSignIn(t *testing.T) {
	own := notifytest.NewCertificate(t)
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	web := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(web, []byte("tls_server_config: {cert_file: "+own.CertFile+", key_file: "+own.KeyFile+
		", client_auth_type: RequireAndVerifyClientCert, client_ca_file: "+own.CertFile+"}\nbasic_auth_users: {rotatord: "+string(hash)+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := startReal(t, quick, "--web.config.file="+web)
	address := strings.Replace(r.url, "http", "https", 1)
	for name, tc := range map[string]struct {
		user, password, ca, want string
	}{
		"right":          {"rotatord", password, own.CertFile, ""},
		"wrong password": {"rotatord", "wr0ng", own.CertFile, "HTTP 401"},
		"no sign-in":     {"", "", own.CertFile, "HTTP 401"},
		"no authority":   {"rotatord", password, "", "tls.ca_file"},
		// TLS 1.3 refuses it after the handshake, when the request is on its way.
		"no certificate of ours": {"rotatord", password, own.CertFile, "transient (unreachable)"},
	} {
		a, _ := r.notifier(func(o *Options) {
			o.URLs, o.TLS, o.Username = []string{address}, wire.TLS{CAFile: tc.ca, CertFile: own.CertFile, KeyFile: own.KeyFile}, tc.user
			if name == "no certificate of ours" {
				o.TLS.CertFile, o.TLS.KeyFile = "", ""
			}
			if tc.user != "" {
				o.Password = source(tc.password)
			}
		})
		_, err := a.Tell(t.Context(), opened())
		checked := a.Check(t.Context())
		if tc.want == "" && (err != nil || checked != nil) {
			t.Errorf("%s: %v, check %v", name, err, checked)
		}
		if tc.want != "" && (err == nil || checked == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(checked.Error(), tc.want)) {
			t.Errorf("%s: %v, check %v, want %q", name, err, checked, tc.want)
		}
	}
}

// TestSeveral: all are told, one is enough, and one that is away is said once.
func TestSeveral(t *testing.T) {
	one, two := startReal(t, quick), startReal(t, quick)
	away := httptest.NewServer(http.NotFoundHandler())
	gone := away.URL
	away.Close()
	a, logged := one.notifier(func(o *Options) { o.URLs = []string{one.url, gone, two.url + "/"} })
	for range 3 {
		if _, err := a.Tell(t.Context(), opened()); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []*running{one, two} {
		r.await("the alert", func(all []shown) bool { return len(all) == 1 })
	}
	if n := strings.Count(logged.String(), "does not take alerts"); n != 1 || !strings.Contains(logged.String(), "connection refused") {
		t.Errorf("said %d times: %s", n, logged)
	}
	if err := a.Check(t.Context()); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(gone, "http://")) || strings.Contains(err.Error(), strings.TrimPrefix(one.url, "http://")) {
		t.Errorf("check of three, one of them away: %v", err)
	}
	none, _ := one.notifier(func(o *Options) { o.URLs = []string{gone, gone} })
	if _, err := none.Tell(t.Context(), opened()); rotate.KindOf(err) != rotate.KindTransient || !strings.Contains(err.Error(), "none of 2 took it") {
		t.Errorf("all are away: %v", err)
	}
}

// TestSampleEndsByItself, and what is no alert is not told.
func TestSample(t *testing.T) {
	r := startReal(t, quick)
	a, _ := r.notifier(func(*Options) {})
	for _, n := range notifytest.Notices() {
		if n.Kind == alert.NoticeAlert {
			continue
		}
		if ref, err := a.Tell(t.Context(), n); err != nil || ref != "" {
			t.Errorf("%s: ref %q, %v", n.Kind, ref, err)
		}
	}
	all := r.await("the sample", func(all []shown) bool { return len(all) > 0 })
	if len(all) != 1 || all[0].Labels["alertname"] != "RotatordSample" || time.Until(all[0].EndsAt) > sampleFor {
		t.Errorf("fires %+v", all)
	}
}

func rig(t *testing.T, limit time.Duration) notifytest.Rig {
	t.Helper()
	srv := notifytest.NewServer(t, func(w http.ResponseWriter, r *http.Request, body []byte) string {
		if r.Header.Get("Authorization") != "Bearer "+token {
			t.Errorf("signed in with %q", r.Header.Get("Authorization"))
		}
		if r.Method == http.MethodGet && r.URL.Path == "/am/api/v2/status" {
			_, _ = w.Write([]byte(`{"versionInfo":{"version":"0.25.0"}}`))
			return ""
		}
		var all []postable
		if err := json.Unmarshal(body, &all); err != nil || r.Method != http.MethodPost || r.URL.Path != "/am/api/v2/alerts" {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		for _, a := range all {
			if a.Labels["alertname"] == "" || a.EndsAt.Before(a.StartsAt) {
				t.Errorf("no alert: %+v", a)
			}
		}
		return string(body)
	})
	var logged bytes.Buffer
	a, err := New(Options{URLs: []string{srv.URL + "/am/"}, Token: source(token), TLS: wire.TLS{CAFile: srv.CAFile}, Timeout: limit, Keep: time.Minute,
		Log: slog.New(slog.NewTextHandler(&logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return notifytest.Rig{Notifier: a, Told: srv.Told, Answer: srv.Answer, Log: logged.String,
		Secrets: []string{token, base64.StdEncoding.EncodeToString([]byte(token))},
		Tells:   func(k alert.NoticeKind, _ alert.State) bool { return k == alert.NoticeAlert || k == alert.NoticeSample }}
}

func TestContract(t *testing.T) { notifytest.RunLimited(t, rig) }

// TestNames: what the rules call a fault is its name here; names are words of a label.
func TestNames(t *testing.T) {
	seen := map[string]alert.Condition{}
	for _, c := range append(alert.Conditions(), alert.ConditionSample) {
		name := Name(c)
		if other, taken := seen[name]; taken {
			t.Errorf("%s and %s are both %s", c, other, name)
		}
		seen[name] = c
		if !regexp.MustCompile(`^Rotatord([A-Z][a-z]+)+$`).MatchString(name) {
			t.Errorf("%s is called %s", c, name)
		}
	}
	for c, want := range map[alert.Condition]string{alert.ConditionDead: "RotatordKeyDead", alert.ConditionStraggling: "RotatordStraggling", "two_words": "RotatordTwoWords"} {
		if got := Name(c); got != want {
			t.Errorf("%s is called %s, want %s", c, got, want)
		}
	}
}

func TestOptions(t *testing.T) {
	good := Options{URLs: []string{"https://am.example:9093"}, Timeout: time.Second, Keep: time.Minute}
	for name, change := range map[string]func(*Options){
		"no address":        func(o *Options) { o.URLs = nil },
		"clear text":        func(o *Options) { o.URLs = []string{"http://am.example"} },
		"no web address":    func(o *Options) { o.URLs = []string{"am.example:9093"} },
		"short-lived":       func(o *Options) { o.Keep = time.Second },
		"no time limit":     func(o *Options) { o.Timeout = 0 },
		"two sign-ins":      func(o *Options) { o.Token, o.Username, o.Password = source("a"), "u", source("p") },
		"no password":       func(o *Options) { o.Username = "u" },
		"no user":           func(o *Options) { o.Password = source("p") },
		"half a cert":       func(o *Options) { o.TLS.CertFile = "/nowhere/cert.pem" },
		"no such authority": func(o *Options) { o.TLS.CAFile = "/nowhere/ca.pem" },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if a, err := New(good); err != nil || a.RefreshEvery() != 15*time.Second {
		t.Errorf("%v", err)
	}
}
