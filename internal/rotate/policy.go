package rotate

import (
	"errors"
	"fmt"
	"hash/fnv"
	"time"
)

// Precision of a portal's expiry dates.
type Precision string

// The precisions: a portal rounds to the end of a UTC day; seconds are for demo and
// torture, with the emulator's rounding off.
const (
	PrecisionDay    Precision = "day"
	PrecisionSecond Precision = "second"
)

// MaxLifetime is the longest life to ask for (contract section 9).
const MaxLifetime = 364 * 24 * time.Hour

// Calendar tells when a rotation may start and an old key be retired: windows and
// freezes. A nil Calendar is always open.
type Calendar interface {
	// Closed returns the reason and when it opens again; "" if it is open at now.
	Closed(now time.Time) (Reason, time.Time)
}

// Policy of one credential. Durations are positive unless they say otherwise.
type Policy struct {
	RenewBefore      time.Duration // due when the live key's expiry is nearer; 0 if RenewBeforeShare is set
	RenewBeforeShare float64       // of the key's lifetime, above 0 and below 1; 0 if RenewBefore is set
	MaxAge           time.Duration // 0: age alone never makes a key due
	Overlap          time.Duration
	CriticalBefore   time.Duration
	Lifetime         time.Duration
	Spread           time.Duration // 0: no spread
	Precision        Precision

	MinInterval time.Duration // between promotion and the next scheduled start
	MinGain     time.Duration // a scheduled rotation must move the expiry by more

	ProbeEvery    time.Duration // of the served key, in overlap
	DeepEvery     time.Duration // deep survey of an idle credential
	OrphanDelay   time.Duration // 0: our own unserved keys are reported, not retired
	EffectHorizon time.Duration
	RetryBase     time.Duration // first back-off; doubles with each failure
	RetryMax      time.Duration
	MaxAttempts   int // failures in a row until quarantine; 0 is never

	DeadProbes    int           // refusals that make a death …
	DeadAfter     time.Duration // … when the first and the last are so far apart
	DeathsPerHour int           // more on one portal stop its emergencies

	SpareExpendable bool // the config's "spare: expendable" (rule 2)
	AutoAdopt       bool // adopt without a person's word where nothing is ambiguous
	Calendar        Calendar
}

// FieldError is one contradiction in a policy. Field is the key that the config
// calls it by.
type FieldError struct{ Field, Message string }

func (e *FieldError) Error() string { return e.Message }

// Validate returns every contradiction as a *FieldError, joined.
func (p Policy) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		for i, a := range args {
			if d, ok := a.(time.Duration); ok {
				args[i] = inDays(d)
			}
		}
		errs = append(errs, &FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"overlap", p.Overlap}, {"critical_before", p.CriticalBefore}, {"lifetime", p.Lifetime}, {"probe_every", p.ProbeEvery},
		{"deep_every", p.DeepEvery}, {"effect_horizon", p.EffectHorizon}, {"retry_base", p.RetryBase}, {"retry_max", p.RetryMax},
		{"dead_after", p.DeadAfter}} {
		if d.d <= 0 {
			bad(d.name, "%s must be above zero", d.name)
		}
	}
	if p.Lifetime > MaxLifetime {
		bad("lifetime", "lifetime %s is over the portal's limit of 364 days", p.Lifetime)
	}
	if (p.RenewBefore > 0) == (p.RenewBeforeShare > 0) {
		bad("renew_before", "renew_before must be one duration or one share of the lifetime")
	}
	if p.RenewBeforeShare < 0 || p.RenewBeforeShare >= 1 {
		bad("renew_before", "renew_before as a share must lie between 0 and 1")
	}
	lead := p.Lead(p.Lifetime - p.Spread)
	if lead < p.Overlap+p.slack() {
		bad("renew_before", "renew_before (%s) must be at least overlap (%s) plus %s", lead, p.Overlap, p.slack())
	}
	if p.Lifetime-p.Spread-lead <= p.MinGain {
		bad("renew_before", "renew_before (%s) leaves a key of lifetime %s (spread %s) due again at once", lead, p.Lifetime, p.Spread)
	}
	if p.CriticalBefore >= lead {
		bad("critical_before", "critical_before (%s) must be shorter than renew_before (%s)", p.CriticalBefore, lead)
	}
	if p.OrphanDelay > 0 && p.OrphanDelay < p.Overlap {
		bad("orphan_delay", "orphan_delay (%s) must not be shorter than overlap (%s)", p.OrphanDelay, p.Overlap)
	}
	if p.Spread < 0 || p.Spread >= p.Lifetime {
		bad("spread", "spread (%s) must be shorter than lifetime (%s)", p.Spread, p.Lifetime)
	}
	return errors.Join(errs...)
}

// inDays writes a duration of whole days as days.
func inDays(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}

// slack between overlap and renew_before: 48 h where dates are days, and the least
// gain where they are seconds.
func (p Policy) slack() time.Duration {
	if p.Precision == PrecisionSecond {
		return p.MinGain
	}
	return 48 * time.Hour
}

// Lead is how long before its expiry a key of that lifetime is due.
func (p Policy) Lead(lifetime time.Duration) time.Duration {
	if p.RenewBeforeShare > 0 {
		return time.Duration(float64(lifetime) * p.RenewBeforeShare)
	}
	return p.RenewBefore
}

// ExpiryFor is the date to ask for: the lifetime from now less the name's stable
// share of the spread, and where dates are days the last 23:59:59 UTC not later
// than that.
func (p Policy) ExpiryFor(name Name, now time.Time) time.Time {
	at := now.Add(p.Lifetime).UTC()
	if p.Spread > 0 {
		h := fnv.New64a()
		_, _ = h.Write([]byte(name))
		at = at.Add(-time.Duration(h.Sum64() % uint64(p.Spread)))
	}
	if p.Precision == PrecisionSecond {
		return at.Truncate(time.Second)
	}
	end := time.Date(at.Year(), at.Month(), at.Day(), 23, 59, 59, 0, time.UTC)
	if end.After(at) {
		end = end.AddDate(0, 0, -1)
	}
	return end
}
