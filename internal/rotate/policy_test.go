package rotate

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// fieldsOf a joined error: the FieldErrors' fields, in order.
func fieldsOf(t *testing.T, err error) []string {
	t.Helper()
	var fields []string
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%v is not a joined error", err)
	}
	for _, e := range joined.Unwrap() {
		fe, ok := errors.AsType[*FieldError](e)
		if !ok {
			t.Fatalf("%v is no *FieldError", e)
		}
		if fe.Error() == "" || fe.Message == "" {
			t.Errorf("field %s has no message", fe.Field)
		}
		fields = append(fields, fe.Field)
	}
	return fields
}

func TestPolicyValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(p *Policy)
		want   []string
	}{
		{"the base is right", func(*Policy) {}, nil},
		{"no overlap", func(p *Policy) { p.Overlap = 0 }, []string{"overlap"}},
		{"negative overlap", func(p *Policy) { p.Overlap = -day }, []string{"overlap"}},
		{"no critical_before", func(p *Policy) { p.CriticalBefore = 0 }, []string{"critical_before"}},
		{"no probe_every", func(p *Policy) { p.ProbeEvery = 0 }, []string{"probe_every"}},
		{"no deep_every", func(p *Policy) { p.DeepEvery = 0 }, []string{"deep_every"}},
		{"no effect_horizon", func(p *Policy) { p.EffectHorizon = 0 }, []string{"effect_horizon"}},
		{"no retry_base", func(p *Policy) { p.RetryBase = 0 }, []string{"retry_base"}},
		{"no retry_max", func(p *Policy) { p.RetryMax = 0 }, []string{"retry_max"}},
		{"no dead_after", func(p *Policy) { p.DeadAfter = 0 }, []string{"dead_after"}},
		{"no lifetime", func(p *Policy) { p.Lifetime = 0 }, []string{"lifetime", "renew_before", "spread"}},
		{"364 days", func(p *Policy) { p.Lifetime = 364 * day }, nil},
		{"over 364 days", func(p *Policy) { p.Lifetime = 364*day + time.Second }, []string{"lifetime"}},
		{"neither form of renew_before", func(p *Policy) { p.RenewBefore = 0 }, []string{"renew_before", "renew_before", "critical_before"}},
		{"both forms of renew_before", func(p *Policy) { p.RenewBeforeShare = 0.3 }, []string{"renew_before"}},
		{"a share", func(p *Policy) { p.RenewBefore, p.RenewBeforeShare = 0, 0.3 }, nil},
		{"a share of all", func(p *Policy) { p.RenewBefore, p.RenewBeforeShare = 0, 1 }, []string{"renew_before", "renew_before"}},
		{"a negative share", func(p *Policy) { p.RenewBeforeShare = -0.1 }, []string{"renew_before"}},
		{"a share that is too small with the spread", func(p *Policy) { p.RenewBefore, p.RenewBeforeShare, p.Spread = 0, 0.11, 20*day }, []string{"renew_before"}},
		{"renew_before of overlap plus 48 h", func(p *Policy) { p.RenewBefore = 9 * day }, nil},
		{"renew_before below overlap plus 48 h", func(p *Policy) { p.RenewBefore = 9*day - 1 }, []string{"renew_before"}},
		{"due again at once", func(p *Policy) { p.RenewBefore = 88 * day }, []string{"renew_before"}},
		{"due again at once by spread", func(p *Policy) { p.Spread = 68 * day }, []string{"renew_before"}},
		{"critical_before of renew_before", func(p *Policy) { p.CriticalBefore = 21 * day }, []string{"critical_before"}},
		{"orphans go before the overlap ends", func(p *Policy) { p.OrphanDelay = 7*day - 1 }, []string{"orphan_delay"}},
		{"orphans stay", func(p *Policy) { p.OrphanDelay = 0 }, nil},
		{"negative spread", func(p *Policy) { p.Spread = -1 }, []string{"spread"}},
		{"spread of a lifetime", func(p *Policy) { p.Spread = 90 * day }, []string{"renew_before", "spread"}},
		{"seconds need no 48 h", func(p *Policy) {
			*p = Policy{RenewBefore: 20 * time.Second, Overlap: 5 * time.Second, CriticalBefore: 3 * time.Second, Lifetime: time.Minute,
				Precision: PrecisionSecond, MinGain: 10 * time.Second, ProbeEvery: time.Second, DeepEvery: time.Second, EffectHorizon: time.Second,
				RetryBase: time.Second, RetryMax: time.Second, DeadAfter: time.Second}
		}, nil},
		{"all at once", func(p *Policy) { *p = Policy{Spread: -1, OrphanDelay: -1} }, []string{"overlap", "critical_before", "lifetime", "probe_every",
			"deep_every", "effect_horizon", "retry_base", "retry_max", "dead_after", "renew_before", "renew_before", "critical_before", "spread"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := testPolicy()
			tt.change(&p)
			err := p.Validate()
			if tt.name == "all at once" {
				// How often renew_before is named does not matter here.
				got := map[string]bool{}
				for _, f := range fieldsOf(t, err) {
					got[f] = true
				}
				for _, f := range tt.want {
					if !got[f] {
						t.Errorf("no error for %s in %v", f, err)
					}
				}
				return
			}
			if diff := cmp.Diff(tt.want, fieldsOf(t, err)); diff != "" {
				t.Errorf("fields of %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestPolicyMessagesSayDays(t *testing.T) {
	p := testPolicy()
	p.CriticalBefore = 30 * day
	want := "critical_before (30d) must be shorter than renew_before (21d)"
	if err := p.Validate(); err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
	for d, want := range map[time.Duration]string{day: "1d", 36 * time.Hour: "36h0m0s", 0: "0s", 364 * day: "364d"} {
		if got := inDays(d); got != want {
			t.Errorf("inDays(%s) = %s, want %s", d, got, want)
		}
	}
}

func TestLead(t *testing.T) {
	for _, tt := range []struct {
		name     string
		p        Policy
		lifetime time.Duration
		want     time.Duration
	}{
		{"a duration", Policy{RenewBefore: 5 * day}, 90 * day, 5 * day},
		{"a third of 90 days", Policy{RenewBeforeShare: 1.0 / 3}, 90 * day, 30 * day},
		{"a quarter of a shorter life", Policy{RenewBeforeShare: 0.25}, 8 * day, 2 * day},
	} {
		if got := tt.p.Lead(tt.lifetime); (got - tt.want).Abs() > time.Microsecond {
			t.Errorf("%s: lead = %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestExpiryForRoundsToTheLastEndOfDay(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tt := range []struct {
		name, now string
		lifetime  time.Duration
		precision Precision
		want      string
	}{
		{"noon goes back to the day before", "2026-03-10T12:00:00Z", 90 * day, PrecisionDay, "2026-06-07T23:59:59Z"},
		{"the very end of a day stays", "2026-03-10T23:59:59Z", 90 * day, PrecisionDay, "2026-06-08T23:59:59Z"},
		{"a second before it does not", "2026-03-10T23:59:58Z", 90 * day, PrecisionDay, "2026-06-07T23:59:59Z"},
		{"midnight", "2026-03-10T00:00:00Z", 90 * day, PrecisionDay, "2026-06-07T23:59:59Z"},
		{"onto a leap day", "2028-02-28T23:59:59Z", day, PrecisionDay, "2028-02-29T23:59:59Z"},
		{"past a leap day", "2028-02-29T12:00:00Z", 364 * day, PrecisionDay, "2029-02-26T23:59:59Z"},
		{"no leap day in 2027", "2027-02-28T12:00:00Z", day, PrecisionDay, "2027-02-28T23:59:59Z"},
		{"over the year's end", "2026-12-31T23:30:00Z", day, PrecisionDay, "2026-12-31T23:59:59Z"},
		{"another zone is the same instant", "2026-03-11T01:00:00+13:00", 90 * day, PrecisionDay, "2026-06-07T23:59:59Z"},
		{"seconds", "2026-03-10T12:00:00.9Z", time.Minute, PrecisionSecond, "2026-03-10T12:01:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Policy{Lifetime: tt.lifetime, Precision: tt.precision}.ExpiryFor("maps", at(tt.now))
			if want := at(tt.want); !got.Equal(want) || got.Location() != time.UTC {
				t.Errorf("asked for %s, want %s", got, want)
			}
		})
	}
}

func TestExpiryForProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{Lifetime: time.Duration(rapid.Int64Range(int64(3*day), int64(MaxLifetime)).Draw(t, "lifetime")), Precision: PrecisionDay}
		p.Spread = time.Duration(rapid.Int64Range(0, int64(p.Lifetime)-int64(2*day)).Draw(t, "spread"))
		if rapid.Bool().Draw(t, "seconds") {
			p.Precision = PrecisionSecond
		}
		name := Name(rapid.StringMatching(`[a-z]{1,12}`).Draw(t, "name"))
		now := t0().Add(time.Duration(rapid.Int64Range(0, int64(5*365*day)).Draw(t, "now")))
		got := p.ExpiryFor(name, now)
		if got != p.ExpiryFor(name, now) {
			t.Fatal("two calls differ")
		}
		if got.After(now.Add(p.Lifetime)) {
			t.Fatalf("%s is later than %s + %s", got, now, p.Lifetime)
		}
		slack := day
		if p.Precision == PrecisionSecond {
			slack = time.Second
		} else if got.Format("15:04:05.000000000") != "23:59:59.000000000" {
			t.Fatalf("%s is no end of a day", got)
		}
		if earliest := now.Add(p.Lifetime - p.Spread - slack); got.Before(earliest) {
			t.Fatalf("%s is earlier than the spread allows (%s)", got, earliest)
		}
		// The spread is the name's own: it moves with the clock.
		if next := p.ExpiryFor(name, now.Add(10*day)); next != got.Add(10*day) {
			t.Fatalf("ten days later %s is asked for, not %s", next, got.Add(10*day))
		}
	})
}

func TestSpreadKeepsAFleetApart(t *testing.T) {
	p := Policy{Lifetime: 90 * day, Spread: 30 * day, Precision: PrecisionDay}
	const fleet = 1000
	days := map[time.Time]int{}
	for i := range fleet {
		days[p.ExpiryFor(Name(fmt.Sprintf("maps-%d", i)), t0())]++
	}
	most := 0
	for _, n := range days {
		most = max(most, n)
	}
	if most > fleet*8/100 {
		t.Errorf("%d of %d keys die on one day", most, fleet)
	}
	if len(days) < 25 {
		t.Errorf("30 days of spread use %d days", len(days))
	}
	if math.Abs(float64(len(days))-31) > 1 {
		t.Errorf("the spread reaches over %d days, want 30 or 31", len(days))
	}
}
