package alert

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

// TestInhibitionTable tries every pair of conditions where one could be the other's
// cause: on the same thing, and on another.
func TestInhibitionTable(t *testing.T) {
	table := map[inhibition]bool{}
	for _, i := range inhibitions() {
		if table[i] {
			t.Errorf("%s hides %s twice", i.cause, i.effect)
		}
		table[i] = true
	}
	subject := func(c Condition, near bool) *holding {
		k, ok := kindOf(c)
		if !ok {
			t.Fatalf("%s has no kind", c)
		}
		h := &holding{finding: finding{condition: c, severity: SeverityWarning}}
		suffix := ""
		if !near {
			suffix = "-2"
		}
		switch k.subject {
		case SubjectCredential:
			h.subject, h.portal, h.sinks = "maps"+suffix, "esri"+suffix, []string{"kv" + suffix, VaultSubject + suffix}
		case SubjectPortal:
			h.subject, h.portal = "esri"+suffix, "esri"+suffix
		case SubjectSink:
			h.subject, h.sinks = "kv"+suffix, []string{"kv" + suffix, VaultSubject + suffix}
			if c == ConditionVaultToken {
				h.subject, h.sinks = VaultSubject+suffix, []string{VaultSubject + suffix}
			}
		case SubjectDaemon:
			h.subject = daemonSubject
		}
		return h
	}
	for _, cause := range Conditions() {
		for _, effect := range Conditions() {
			if cause == effect {
				continue
			}
			for _, near := range []bool{true, false} {
				c, e := subject(cause, true), subject(effect, near)
				c.severity, e.severity = SeverityInfo, SeverityCritical
				got := hide(map[string]*holding{c.key(): c, e.key(): e})[e.key()] != ""
				if want := near && table[inhibition{cause, effect}]; got != want {
					t.Errorf("%s hides %s (near: %v): %v, want %v", cause, effect, near, got, want)
				}
				if got != (c.severity == SeverityCritical) {
					t.Errorf("%s hides %s and is %s", cause, effect, c.severity)
				}
			}
		}
	}
}

// TestInhibitionsHaveNoCircle: of every set of alerts at least one is told.
func TestInhibitionsHaveNoCircle(t *testing.T) {
	below := map[Condition][]Condition{}
	for _, i := range inhibitions() {
		below[i.cause] = append(below[i.cause], i.effect)
	}
	var walk func(c Condition, path []Condition)
	walk = func(c Condition, path []Condition) {
		if slices.Contains(path, c) {
			t.Fatalf("a circle: %v", append(path, c))
		}
		for _, e := range below[c] {
			walk(e, append(slices.Clone(path), c))
		}
	}
	for _, c := range Conditions() {
		walk(c, nil)
	}
}

func TestBrokenAndForeseen(t *testing.T) {
	down := &holding{finding: finding{condition: ConditionUnreachable}, subject: "esri", portal: "esri"}
	expired := &holding{finding: finding{condition: ConditionExpiring, broken: true}, subject: "maps", portal: "esri"}
	if got := hide(map[string]*holding{down.key(): down, expired.key(): expired}); len(got) != 0 {
		t.Errorf("a portal hides a key that has expired: %v", got)
	}
	soon := &holding{finding: finding{condition: ConditionIdentity, foresees: true}, subject: "esri", portal: "esri"}
	fails := &holding{finding: finding{condition: ConditionFailing}, subject: "maps", portal: "esri"}
	if got := hide(map[string]*holding{soon.key(): soon, fails.key(): fails}); len(got) != 0 {
		t.Errorf("a sign-in that ends next week hides what fails today: %v", got)
	}
}

func TestHealthFindings(t *testing.T) {
	now := at()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, tt := range []struct {
		name string
		got  []finding
		want []Condition
		sev  Severity
	}{
		{"a portal that answers", PortalHealth{}.findings(now), nil, ""},
		{"down", PortalHealth{DownSince: ago(time.Second)}.findings(now), []Condition{ConditionUnreachable}, SeverityWarning},
		{"sign-in ends next week", PortalHealth{IdentityExpires: now.Add(days(6))}.findings(now), nil, ""},
		{"sign-in ends in days", PortalHealth{IdentityExpires: now.Add(days(4))}.findings(now), []Condition{ConditionIdentity}, SeverityWarning},
		{"sign-in ends today", PortalHealth{IdentityExpires: now.Add(time.Hour)}.findings(now), []Condition{ConditionIdentity}, SeverityCritical},
		{"clock", PortalHealth{Offset: -3 * time.Minute}.findings(now), []Condition{ConditionClock}, SeverityWarning},
		{"survey is late", PortalHealth{SurveyDue: ago(2 * time.Hour)}.findings(now), []Condition{ConditionSurveyStale}, SeverityWarning},
		{"sink that works", SinkHealth{}.findings(now), nil, ""},
		{"sink fails", SinkHealth{FailingSince: ago(time.Second)}.findings(now), []Condition{ConditionSinkFailing}, SeverityWarning},
		{"token is renewed", SinkHealth{TokenExpires: now.Add(time.Minute)}.findings(now), nil, ""},
		{"token ends", SinkHealth{TokenExpires: now.Add(29 * time.Second)}.findings(now), []Condition{ConditionVaultToken}, SeverityCritical},
		{"reload refused", DaemonHealth{ReloadRefused: ago(time.Second)}.findings(now), []Condition{ConditionReload}, SeverityWarning},
		{"one crash", DaemonHealth{Crashes: []time.Time{ago(time.Minute)}}.findings(now), []Condition{ConditionCrashed}, SeverityInfo},
		{"a crash of this morning", DaemonHealth{Crashes: []time.Time{ago(2 * time.Hour)}}.findings(now), nil, ""},
		{"three in a day", DaemonHealth{Crashes: []time.Time{ago(20 * time.Hour), ago(time.Hour), ago(time.Minute)}}.findings(now), []Condition{ConditionCrashed}, SeverityWarning},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []Condition
			for _, f := range tt.got {
				if got = append(got, f.condition); f.severity != tt.sev {
					t.Errorf("%s is %s, want %s", f.condition, f.severity, tt.sev)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOnePageForOneFault: a portal that is down for hours, with everything that follows
// from it, is one page; and so is a sink. What is known of before a restart stays.
func TestOnePageForOneFault(t *testing.T) {
	with(t, waits, func(t *testing.T, r *rig) {
		scene := func(known bool, downSince time.Time) Scene {
			a, b, c := failing("maps"), failing("shop"), healthy("tiles")
			a.Record.Live.Expires, a.DueAt = time.Now().Add(9*24*time.Hour), time.Now().Add(-20*24*time.Hour)
			b.Record.Phase, b.Sinks = rotate.PhaseMinting, []string{"kv"}
			if downSince.IsZero() {
				a, b = healthy("maps"), healthy("shop")
			}
			return Scene{Credentials: []View{a, b, c}, Health: Health{Portals: []PortalHealth{{Portal: "esri", Known: known, DownSince: downSince, Why: "connection refused",
				SurveyDue: downSince}}}}
		}
		down := time.Now()
		r.during(3*time.Hour, scene(true, down))
		r.want("esri: portal does not answer, or refuses for 10 minutes")
		n := r.channel.last()
		if diff := cmp.Diff([]string{"maps (Team Maps)", "shop (Team Maps)"}, n.Message.Others); diff != "" {
			t.Errorf("it names (-want +got):\n%s", diff)
		}
		if !strings.Contains(n.Message.Breaks, "The first of them ends 2000-01-10T") {
			t.Errorf("it says %q", n.Message.Breaks)
		}
		r.restart()
		r.during(5*time.Minute, scene(false, time.Time{}))
		r.want() // nobody has looked: not resolved
		r.during(time.Hour, scene(true, down))
		r.want()
		r.during(3*time.Hour, scene(true, time.Time{}))
		r.want("esri: resolved, no longer portal unreachable")
	})
}

// TestWhatOutlivesItsCause is told after a while.
func TestWhatOutlivesItsCause(t *testing.T) {
	with(t, waits, func(_ *testing.T, r *rig) {
		sink := func(since time.Time) Scene {
			v := failing("maps")
			v.Sinks = []string{"kv"}
			return Scene{Credentials: []View{v}, Health: Health{Sinks: []SinkHealth{{Sink: "kv", Known: true, FailingSince: since, Why: "write: transient"}}}}
		}
		r.during(time.Hour, sink(time.Now()))
		r.want("kv: sink cannot be read or written for 15 minutes")
		r.during(20*time.Minute, sink(time.Time{}))
		r.want("kv: resolved, no longer sink failing")
		r.during(20*time.Minute, sink(time.Time{}))
		r.want("maps: rotation keeps failing (3 times)")
	})
}

func TestUses(t *testing.T) {
	old, now := healthy("maps"), at()
	old.Record.AdoptedAt = now.AddDate(-1, 0, 0)
	young := old
	young.Record.AdoptedAt, young.Record.Live.Generation = now.Add(-days(3)), 1
	for _, tt := range []struct {
		name string
		view View
		use  Use
		want []Condition
		sev  Severity
	}{
		{"nothing", old, Use{}, nil, ""},
		{"spike", old, Use{Spike: true}, []Condition{ConditionSpike}, SeverityWarning},
		{"spike in a new key's first week", young, Use{Spike: true, Silent: true}, nil, ""},
		{"silence", old, Use{Silent: true}, []Condition{ConditionSilent}, SeverityInfo},
		{"budget is fine", old, Use{Budgets: []Budget{{Share: 0.4}}}, nil, ""},
		{"budget warns", old, Use{Budgets: []Budget{{Share: 0.85, Level: 0.8}}}, []Condition{ConditionBudget}, SeverityWarning},
		{"budget is spent, also of a new key", young, Use{Budgets: []Budget{{Share: 1.1, Level: 1}}}, []Condition{ConditionBudget}, SeverityCritical},
		{"cut off", old, Use{CutOff: "done", CutOffOn: true}, []Condition{ConditionCutOff}, SeverityCritical},
		{"not cut off", old, Use{CutOff: "lifted"}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []Condition
			for _, f := range tt.use.findings(tt.view, now) {
				if got = append(got, f.condition); f.severity != tt.sev {
					t.Errorf("%s is %s, want %s", f.condition, f.severity, tt.sev)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOtherPagesGolden: what is no credential's rotation, as it is told.
func TestOtherPagesGolden(t *testing.T) {
	now := at()
	v := expiringIn(9, 30, func(v *View) {
		v.Sinks, v.Links = []string{"kv"}, []Link{{"Item at the portal", "https://maps.example/home/item.html?id=4f0e#settings"}}
		v.Detail, v.Record.Blocked = "acks: web-shop still runs generation 2", rotate.ReasonGate
		overlapped(&v.Record, 2*time.Hour)
		v.Record.Attempts = 5
	})
	use := Use{Credential: "maps", Page: "https://location.arcgis.com/usage/credentials/4f0e/", Day: now.Add(-36 * time.Hour), Spike: true, Until: now.Add(-8 * time.Hour),
		Services: []Figures{{Requests: 91234, Credits: 182.5, UsualRequests: 20100, UsualCredits: 40.2, HasUsual: true, Spike: true},
			{Service: "geocode", Requests: 80000, Credits: 160, UsualRequests: 9000, UsualCredits: 18, HasUsual: true, Spike: true}},
		Month: Figures{Requests: 400100, Credits: 801.25}, Budgets: []Budget{{Period: "month", Credits: 1000, Used: 801.25, Share: 0.80125, Level: 0.8}}}
	cut := use
	cut.CutOff, cut.CutOffOn = "invalidating", true
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	health := Health{Portals: []PortalHealth{{Portal: "esri", Known: true, DownSince: ago(2 * time.Hour), Why: "list items: transient: connection refused",
		IdentityExpires: now.Add(time.Hour), Offset: 3 * time.Minute, SurveyedAt: ago(5 * time.Hour), SurveyDue: ago(4 * time.Hour)}},
		Sinks: []SinkHealth{{Sink: "kv", Known: true, Vault: true, FailingSince: ago(time.Hour), Why: "write: transient"},
			{Sink: VaultSubject, Known: true, TokenExpires: now.Add(20 * time.Second)}},
		Daemon: DaemonHealth{Crashes: []time.Time{ago(9 * time.Hour), ago(time.Hour), ago(time.Minute)}, ReloadRefused: ago(time.Hour), ReloadError: "config.yaml:3:4: alerts: is no section"}}
	unadopted := expiringIn(90, 30, func(v *View) { v.Name, v.Record.AdoptedAt, v.Record.Epoch = "shop", time.Time{}, 2 })
	occupied := expiringIn(90, 30, func(v *View) {
		v.Name, v.Record.Due, v.Record.Blocked = "routing", rotate.ReasonExpiring, rotate.ReasonOccupied
	})
	overdue := expiringIn(70, 100, func(v *View) {
		v.Name, v.Settings = "places", &Settings{Known: true, Differ: 2, KillKeys: 1, Says: "title differs from the config; referrers differs from the config, and to change that kills both keys"}
	})
	stuck := expiringIn(90, 30, func(v *View) { v.Name, v.Record.Phase = "tiles", rotate.PhaseProving })
	silent := Use{Credential: "shop", Day: now.Add(-36 * time.Hour), Silent: true}
	got := map[string]Message{}
	for _, uses := range [][]Use{{use, silent}, {cut, silent}} {
		a := alerter(t)
		a.o.Owner, a.o.Links.Always = "Platform", []Link{{"Dashboard", "https://grafana.example/d/rotatord"}}
		a.holds, _ = a.holdings(Scene{Credentials: []View{v, unadopted, stuck, occupied, overdue}, Health: health, Uses: uses}, now)
		hide(a.holds)
		for key, h := range a.holds {
			got[strings.ReplaceAll(key, "/", "_")] = a.compose(&Alert{Key: key, Condition: h.condition, Subject: h.subject, Owner: h.owner, Environment: h.environment,
				Portal: h.portal, Severity: h.severity, Since: ago(3 * time.Hour), State: StateOpen}, now)
		}
	}
	body, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	body = append(body, '\n')
	file := filepath.Join("testdata", "others.golden.json")
	if *updateGolden {
		if err := os.WriteFile(file, body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(body)); diff != "" {
		t.Errorf("messages (-want +got; regenerate with -update):\n%s", diff)
	}
	seen := map[Condition]bool{}
	for key, m := range got {
		seen[m.Condition] = true
		if m.Title == "" || m.Breaks == "" || m.Command == "" || m.Runbook == "" || m.Owner == "" || m.Severity == "" {
			t.Errorf("%s lacks something: %+v", key, m)
		}
	}
	for name, m := range pages(t) {
		if seen[m.Condition] = true; m.Title == "" {
			t.Errorf("%s has no title", name)
		}
	}
	for _, c := range Conditions() {
		if !seen[c] {
			t.Errorf("no message of %s is in the golden files", c)
		}
	}
}
