package rotate

import (
	"strings"
	"testing"
	"time"
)

// closed is a Calendar that never opens.
type closed struct{ why Reason }

func (c closed) Closed(now time.Time) (Reason, time.Time) { return c.why, now.Add(2 * time.Hour) }

func TestDueChecks(t *testing.T) {
	request := func(k RequestKind) func(in *In) {
		return func(in *In) { in.Record.Request = &Request{Kind: k, By: "ann", At: t0()} }
	}
	for _, tt := range []struct {
		name   string
		change func(in *In)
		want   Reason
		detail string
	}{
		{"nothing", func(*In) {}, "", ""},
		{"compromised", func(in *In) {
			in.Record.Request = &Request{Kind: RequestCompromised, By: "ann", Fingerprints: []Fingerprint{liveKey().Fingerprint()}}
		}, ReasonCompromised, "declared compromised by ann"},
		{"compromised, but another key", func(in *In) {
			in.Record.Request = &Request{Kind: RequestCompromised, By: "ann", Fingerprints: []Fingerprint{prevKey().Fingerprint()}}
		}, "", ""},
		{"asked for", request(RequestRotate), ReasonRequested, "asked for by ann"},
		{"regenerate", request(RequestRegenerate), ReasonRequested, "asked for by ann"},
		{"rollback is no rotation", request(RequestRollback), "", ""},
		{"invalidate is no rotation", request(RequestInvalidate), "", ""},
		{"adopt is no rotation", request(RequestAdopt), "", ""},
		{"dead", func(in *In) { in.Record.DeadAt = t0() }, ReasonDead, "the served key of slot 1 is dead since 2026-03-10T12:00:00Z"},
		{"bootstrap", func(in *In) { in.Record.Live = KeyFacts{} }, ReasonBootstrap, "no key was ever published"},
		{"a second before renew_before", func(in *In) { in.Record.Live.Expires = t0().Add(21*day + time.Second) }, "", ""},
		{"at renew_before", func(in *In) { in.Record.Live.Expires = t0().Add(21 * day) }, ReasonExpiring, "the key of slot 1 expires 2026-03-31T12:00:00Z"},
		{"expired", func(in *In) { in.Record.Live.Expires = t0().Add(-day) }, ReasonExpiring, ""},
		{"expiry unknown", func(in *In) { in.Record.Live.Expires = time.Time{} }, "", ""},
		{"by the portal's clock", func(in *In) { in.Portal = t0().Add(39 * day) }, ReasonExpiring, ""},
		{"not by ours", func(in *In) { in.Now = t0().Add(39 * day) }, "", ""},
		{"a share of its own life", func(in *In) {
			in.Policy.RenewBefore, in.Policy.RenewBeforeShare = 0, 0.7 // of 90 days: 63 days
		}, ReasonExpiring, ""},
		{"a share of the policy's life where its mint is unknown", func(in *In) {
			in.Policy.RenewBefore, in.Policy.RenewBeforeShare, in.Policy.Lifetime = 0, 0.7, 10*day
			in.Record.Live.MintedAt = time.Time{}
		}, "", ""},
		{"younger than max_age", func(in *In) { in.Policy.MaxAge = 30*day + time.Second }, "", ""},
		{"max_age", func(in *In) { in.Policy.MaxAge = 30 * day }, ReasonMaxAge, "the key is older than 720h0m0s"},
		{"max_age from adoption on", func(in *In) { in.Policy.MaxAge, in.Record.Live.MintedAt = 100*day, time.Time{} }, ReasonMaxAge, ""},
		{"max_age never adopted", func(in *In) {
			in.Policy.MaxAge, in.Record.Live.MintedAt, in.Record.AdoptedAt = 100*day, time.Time{}, time.Time{}
		}, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := idleIn()
			tt.change(&in)
			got, detail := in.due()
			if got != tt.want || tt.detail != "" && detail != tt.detail || (got == "") != (detail == "") {
				t.Errorf("due = %q (%s), want %q (%s)", got, detail, tt.want, tt.detail)
			}
		})
	}
}

// TestDueOrder makes everything due at once and takes one reason after the other away.
func TestDueOrder(t *testing.T) {
	in := idleIn()
	in.Record.Request = &Request{Kind: RequestCompromised, By: "ann", Fingerprints: []Fingerprint{liveKey().Fingerprint()}}
	in.Record.DeadAt = t0()
	in.Record.Live.Expires = t0()
	in.Policy.MaxAge = day
	for _, step := range []struct {
		want   Reason
		remove func()
	}{
		{ReasonCompromised, func() { in.Record.Request = &Request{Kind: RequestRotate, By: "ann"} }},
		{ReasonRequested, func() { in.Record.Request = nil }},
		{ReasonDead, func() { in.Record.DeadAt = time.Time{} }},
		{ReasonExpiring, func() { in.Record.Live.Expires = time.Time{} }},
		{ReasonMaxAge, func() { in.Policy.MaxAge = 0 }},
		{"", func() {}},
	} {
		if got, _ := in.due(); got != step.want {
			t.Errorf("due = %q, want %q", got, step.want)
		}
		step.remove()
	}
	in.Record.Live, in.Record.DeadAt = KeyFacts{}, t0()
	if got, _ := in.due(); got != ReasonDead {
		t.Errorf("dead and never published: due = %q, want %q", got, ReasonDead)
	}
}

func TestDueAt(t *testing.T) {
	live := idleIn().Record
	for _, tt := range []struct {
		name   string
		record Record
		maxAge time.Duration
		want   time.Time
	}{
		{"by expiry", live, 0, t0().Add(39 * day)},
		{"by age first", live, 40 * day, t0().Add(10 * day)},
		{"by expiry first", live, 200 * day, t0().Add(39 * day)},
		{"never", Record{}, 0, time.Time{}},
		{"age of nothing", Record{}, day, time.Time{}},
		{"age since adoption", Record{AdoptedAt: t0()}, day, t0().Add(day)},
	} {
		p := testPolicy()
		p.MaxAge = tt.maxAge
		got, ok := DueAt(tt.record, p)
		if !got.Equal(tt.want) || ok != !tt.want.IsZero() {
			t.Errorf("%s: due at %s, %t; want %s", tt.name, got, ok, tt.want)
		}
	}
}

func TestStartBlock(t *testing.T) {
	until := t0().Add(3 * time.Hour)
	held := func(in *In) { in.Record.Hold = &Hold{Reason: "audit", By: "ann", Since: t0(), Until: until} }
	closedBy := func(why Reason) func(in *In) { return func(in *In) { in.Policy.Calendar = closed{why} } }
	critical := func(in *In) { in.Record.Live.Expires = t0().Add(3 * day) }
	fresh := func(in *In) { in.Record.PromotedAt = t0().Add(-time.Hour) }
	noGain := func(in *In) { in.Policy.MaxAge, in.Policy.Lifetime = day, 62*day } // asked: 61 days and a half
	both := func(a, b func(*In)) func(*In) { return func(in *In) { a(in); b(in) } }
	for _, tt := range []struct {
		name   string
		due    Reason
		change func(in *In)
		want   Reason
		until  time.Time
	}{
		{"nothing stands against it", ReasonExpiring, func(*In) {}, "", time.Time{}},
		{"watch", ReasonExpiring, func(in *In) { in.Mode = ModeWatch }, ReasonWatch, time.Time{}},
		{"watch, compromised", ReasonCompromised, func(in *In) { in.Mode = ModeWatch }, ReasonWatch, time.Time{}},
		{"no mode", ReasonExpiring, func(in *In) { in.Mode = "" }, ReasonWatch, time.Time{}},
		{"held", ReasonExpiring, held, ReasonHeld, until},
		{"held and dead", ReasonDead, held, ReasonHeld, until},
		{"held and critical", ReasonExpiring, both(held, critical), ReasonHeld, until},
		{"held, compromised", ReasonCompromised, held, "", time.Time{}},
		{"a hold that has ended", ReasonExpiring, func(in *In) { in.Record.Hold = &Hold{Reason: "x", By: "ann", Until: t0()} }, "", time.Time{}},
		{"quarantined", ReasonExpiring, func(in *In) { in.Record.Quarantine = &Quarantine{Reason: "five failures"} }, ReasonQuarantined, time.Time{}},
		{"quarantined and compromised", ReasonCompromised, func(in *In) { in.Record.Quarantine = &Quarantine{Reason: "x"} }, ReasonQuarantined, time.Time{}},
		{"backing off", ReasonDead, func(in *In) { in.Record.RetryAt = until }, ReasonBackoff, until},
		{"back-off over", ReasonExpiring, func(in *In) { in.Record.RetryAt = t0() }, "", time.Time{}},
		{"three deaths", ReasonDead, func(in *In) { in.Deaths = 3 }, "", time.Time{}},
		{"four deaths", ReasonDead, func(in *In) { in.Deaths = 4 }, ReasonDeathStop, t0().Add(time.Minute)},
		{"four deaths stop no other reason", ReasonExpiring, func(in *In) { in.Deaths = 4 }, "", time.Time{}},
		{"no limit of deaths", ReasonDead, func(in *In) { in.Deaths, in.Policy.DeathsPerHour = 400, 0 }, "", time.Time{}},
		{"outside the window", ReasonExpiring, closedBy(ReasonWindow), ReasonWindow, t0().Add(2 * time.Hour)},
		{"frozen", ReasonRequested, closedBy(ReasonFrozen), ReasonFrozen, t0().Add(2 * time.Hour)},
		{"an open calendar", ReasonExpiring, closedBy(""), "", time.Time{}},
		{"critical beats the window", ReasonExpiring, both(closedBy(ReasonWindow), critical), "", time.Time{}},
		{"critical beats the freeze", ReasonMaxAge, both(closedBy(ReasonFrozen), critical), "", time.Time{}},
		{"compromised beats the freeze", ReasonCompromised, closedBy(ReasonFrozen), "", time.Time{}},
		{"dead beats the freeze", ReasonDead, closedBy(ReasonFrozen), "", time.Time{}},
		{"bootstrap beats the freeze", ReasonBootstrap, closedBy(ReasonFrozen), "", time.Time{}},
		{"roll-back beats the freeze", ReasonRollback, closedBy(ReasonFrozen), "", time.Time{}},
		{"restore beats the freeze", ReasonRestore, closedBy(ReasonFrozen), "", time.Time{}},
		{"min_interval", ReasonExpiring, fresh, ReasonMinInterval, t0().Add(23 * time.Hour)},
		{"min_interval over", ReasonExpiring, func(in *In) { in.Record.PromotedAt = t0().Add(-day) }, "", time.Time{}},
		{"min_interval does not stop a request", ReasonRequested, fresh, "", time.Time{}},
		{"min_interval does not stop a death", ReasonDead, fresh, "", time.Time{}},
		{"min_interval when critical", ReasonExpiring, both(fresh, critical), "", time.Time{}},
		{"min_interval before the first promotion", ReasonExpiring, func(in *In) { in.Record.PromotedAt = time.Time{} }, "", time.Time{}},
		{"no gain", ReasonMaxAge, noGain, ReasonNoGain, t0().Add(57 * day)},
		{"no gain does not stop a request", ReasonRequested, noGain, "", time.Time{}},
		{"gain unknown", ReasonMaxAge, both(noGain, func(in *In) { in.Record.Live.Expires = time.Time{} }), "", time.Time{}},
		{"a hold comes before quarantine", ReasonExpiring, both(held, func(in *In) { in.Record.Quarantine = &Quarantine{Reason: "x"} }), ReasonHeld, until},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := idleIn()
			tt.change(&in)
			got, at, detail := in.startBlock(tt.due)
			if got != tt.want || !at.Equal(tt.until) || (got == "") != (detail == "") {
				t.Errorf("blocked = %q until %s (%s), want %q until %s", got, at, detail, tt.want, tt.until)
			}
		})
	}
}

func TestUrgentReasons(t *testing.T) {
	want := map[Reason]bool{ReasonCompromised: true, ReasonDead: true, ReasonBootstrap: true, ReasonRestore: true, ReasonRollback: true}
	for _, r := range DueReasons() {
		if urgent(r) != want[r] {
			t.Errorf("urgent(%s) = %t", r, urgent(r))
		}
	}
	for _, r := range BlockReasons() {
		if urgent(r) {
			t.Errorf("urgent(%s), a reason to block", r)
		}
	}
}

func TestWordsAreSets(t *testing.T) {
	seen := map[string]string{}
	add := func(set, word string) {
		if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("%s has the word %q", set, word)
		}
		if seen[set+word] != "" {
			t.Errorf("%s has %s twice", set, word)
		}
		seen[set+word] = set
	}
	for _, r := range append(DueReasons(), BlockReasons()...) {
		add("reasons", string(r))
	}
	for _, d := range Drifts() {
		add("drifts", string(d))
	}
	for _, k := range EventKinds() {
		add("events", string(k))
	}
	for _, e := range Effects() {
		add("effects", string(e))
	}
	for _, k := range Kinds() {
		add("kinds", string(k))
	}
	for i, p := range Phases() {
		add("phases", string(p))
		if phaseIndex(p) != i {
			t.Errorf("phase %s is number %d, want %d", p, phaseIndex(p), i)
		}
		if want := p != PhaseIdle && p != PhaseOverlap && p != PhaseRetiring; p.InCutOver() != want {
			t.Errorf("%s in cut-over: %t", p, p.InCutOver())
		}
	}
}
