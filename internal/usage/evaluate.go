package usage

import (
	"maps"
	"slices"
	"time"

	"rotatord/internal/rotate"
)

// How days are judged. docs/usage.md states each.
const (
	// Settle is how long after its end a day may still be filled by the portal. Esri says
	// that a day's use may be recorded until the billing day concludes, and no hour.
	Settle = 6 * time.Hour
	// BackfillDays is how far back the portal is asked; Esri's own page shows no more.
	BackfillDays = 60
	// HistoryDays is how far back a day is compared.
	HistoryDays = 28
	// KeepDays is how long rows are kept: a year and a month to compare with.
	KeepDays = 400

	leastHistory  = 7    // full days before a spike is one
	spikeFactor   = 3    // times the median
	spikeRequests = 1000 // and so many above it: small keys are restless
	spikeCredits  = 10   // likewise
	busyRequests  = 100  // a day's median that makes silence worth a word
	sameWeekdays  = 3    // such days before that must all have been busy: weekends are quiet for many
)

// Missing is why a credential has no figures.
type Missing string

// The reasons.
const (
	MissingNothing          Missing = ""
	MissingUnread           Missing = "unread"            // not read yet
	MissingLocationPlatform Missing = "location_platform" // Esri publishes no interface for it
	MissingEnterprise       Missing = "enterprise"        // no credits are billed there
	MissingForbidden        Missing = "forbidden"         // the identity may not read usage
	MissingUnsupported      Missing = "unsupported"       // the portal does not know the operation
	MissingOff              Missing = "off"               // switched off in the config
)

// MissingReasons lists every reason, for metrics that create their series at start.
func MissingReasons() []Missing {
	return []Missing{MissingUnread, MissingLocationPlatform, MissingEnterprise, MissingForbidden, MissingUnsupported, MissingOff}
}

// Sentence for people; "" where nothing is missing.
func (m Missing) Sentence() string {
	switch m {
	case MissingNothing:
		return ""
	case MissingUnread:
		return "not read yet"
	case MissingLocationPlatform:
		return "Location Platform has no interface for usage; download it from Esri's usage page and import it"
	case MissingEnterprise:
		return "ArcGIS Enterprise bills no credits and has no usage"
	case MissingForbidden:
		return "rotatord's identity at this portal may not read usage; it takes an administrator or portal:admin:createReports"
	case MissingUnsupported:
		return "this portal does not know portals/self/usage"
	case MissingOff:
		return "usage is switched off in the config"
	}
	return string(m)
}

// Budget of one credential, in credits. Zero is no budget.
type Budget struct {
	PerDay   float64
	PerMonth float64
	WarnAt   []float64 // shares, ascending; 1 is all of it
	CutOff   bool
}

// Period of a budget.
type Period string

// The periods.
const (
	PeriodDay   Period = "day"
	PeriodMonth Period = "month"
)

// Periods lists every period.
func Periods() []Period { return []Period{PeriodDay, PeriodMonth} }

// bounds of the period that holds a day.
func (p Period) bounds(d Day) (first, next Day) {
	if p == PeriodMonth {
		return d.month()
	}
	return d, d + 1
}

// Spent is how much of a budget is gone.
type Spent struct {
	Period Period  `json:"period"`
	From   Day     `json:"from"` // first day of the period
	Until  Day     `json:"until"`
	Budget float64 `json:"budget_credits"`
	Used   float64 `json:"used_credits"`
	Share  float64 `json:"share"` // of the budget; 1 is all of it
	Level  float64 `json:"level"` // the highest warning level that it has reached; 0: none
}

// Of is a day's figures for one service, or, with the service "", for all of them.
type Of struct {
	Service        string  `json:"service,omitempty"`
	Requests       float64 `json:"requests"` // of the last full day
	Credits        float64 `json:"credits"`
	MonthRequests  float64 `json:"month_requests"` // of the month so far
	MonthCredits   float64 `json:"month_credits"`
	MedianRequests float64 `json:"median_requests"` // of the full days before it; only where HasMedian
	MedianCredits  float64 `json:"median_credits"`
	HasMedian      bool    `json:"has_median"`
	Spike          bool    `json:"spike"`
}

// Finding is all that can be said of one credential's use.
type Finding struct {
	Credential rotate.Name `json:"credential"`
	Missing    Missing     `json:"missing,omitempty"`
	Page       string      `json:"page,omitempty"` // Esri's own page of its usage
	// LastFull is the last full day; HasDay tells whether there is one.
	LastFull Day  `json:"last_full_day,omitzero"`
	HasDay   bool `json:"has_day"`
	All      Of   `json:"all"`
	Services []Of `json:"services,omitempty"` // used within HistoryDays or this month, by name
	Today    Of   `json:"today"`              // so far: Requests and Credits alone; only where HasToday
	HasToday bool `json:"has_today"`
	Spike    bool `json:"spike"`  // of all or of one service, against its own history
	Silent   bool `json:"silent"` // a busy key was not used
	// Spent has a row for each budget: of the present month, of today where anything is
	// known of it, and of the last full day where that took more, since the portal tells
	// of days late.
	Spent  []Spent   `json:"budgets,omitempty"`
	Until  time.Time `json:"data_until,omitzero"` // figures reach so far
	Source Source    `json:"source,omitempty"`    // of the newest figure
	CutOff *CutOff   `json:"cut_off,omitempty"`
}

// Input of Evaluate.
type Input struct {
	Credential rotate.Name
	Missing    Missing // why the portal is not read
	Page       string
	Rows       []Row // of the last BackfillDays at least, sorted
	Budget     Budget
}

// Evaluate judges the rows of one credential at a time. It is pure.
func Evaluate(now time.Time, in Input) Finding {
	f := Finding{Credential: in.Credential, Missing: in.Missing, Page: in.Page}
	l := newLedger(in.Rows, now)
	if len(l.days) == 0 {
		if f.Missing == MissingNothing {
			f.Missing = MissingUnread
		}
		return f
	}
	if f.Missing == MissingUnread {
		f.Missing = MissingNothing
	}
	f.Until, f.Source = l.until, l.source
	f.LastFull, f.HasDay = l.lastFull()
	f.All = l.judge("", f.LastFull, f.HasDay)
	for _, s := range l.services() {
		f.Services = append(f.Services, l.judge(s, f.LastFull, f.HasDay))
	}
	f.Today.Requests, f.Today.Credits = l.sum("", l.today, l.today)
	f.HasToday = len(l.days[l.today]) > 0
	f.Spike = f.All.Spike || slices.ContainsFunc(f.Services, func(o Of) bool { return o.Spike })
	f.Silent = f.HasDay && l.silent(f.LastFull)
	f.Spent = l.spent(in.Budget, f)
	return f
}

// ledger is rows in a form that can be asked.
type ledger struct {
	today  Day
	days   map[Day]map[string]Row // by service; "" is there if the whole day was read
	until  time.Time
	source Source
	full   map[Day]bool
}

func newLedger(rows []Row, now time.Time) *ledger {
	l := &ledger{today: DayOf(now), days: map[Day]map[string]Row{}, full: map[Day]bool{}}
	var newest time.Time
	for _, r := range rows {
		if r.Day > l.today {
			continue // a file may name a day that has not come
		}
		if l.days[r.Day] == nil {
			l.days[r.Day] = map[string]Row{}
		}
		l.days[r.Day][r.Service] = r
		reach := r.Day.End()
		if r.ReadAt.Before(reach) {
			reach = r.ReadAt
		}
		if reach.After(l.until) {
			l.until = reach
		}
		if !r.ReadAt.Before(newest) {
			newest, l.source = r.ReadAt, r.Source
		}
		if !r.ReadAt.Before(r.Day.End().Add(Settle)) {
			l.full[r.Day] = true
		}
	}
	return l
}

func (l *ledger) lastFull() (Day, bool) {
	last, ok := Day(0), false
	for d := range l.full {
		if !ok || d > last {
			last, ok = d, true
		}
	}
	return last, ok
}

// sum over days, both included, of a service or of all.
func (l *ledger) sum(service string, from, until Day) (requests, credits float64) {
	for d := from; d <= until; d++ {
		for name, r := range l.days[d] {
			if service == "" || name == service {
				requests, credits = requests+r.Requests, credits+r.Credits
			}
		}
	}
	return requests, credits
}

// services used in the days that a finding speaks of.
func (l *ledger) services() []string {
	first, _ := l.today.month()
	names := map[string]bool{}
	for d, services := range l.days {
		if d < min(first, l.today-HistoryDays) {
			continue
		}
		for name, r := range services {
			if name != "" && (r.Requests > 0 || r.Credits > 0) {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// judge one service, or all of them, on a full day.
func (l *ledger) judge(service string, day Day, known bool) Of {
	o := Of{Service: service}
	first, _ := l.today.month()
	o.MonthRequests, o.MonthCredits = l.sum(service, first, l.today)
	if !known {
		return o
	}
	o.Requests, o.Credits = l.sum(service, day, day)
	requests, credits := l.history(service, day)
	if len(requests) < leastHistory {
		return o
	}
	o.HasMedian, o.MedianRequests, o.MedianCredits = true, median(requests), median(credits)
	o.Spike = above(o.Requests, o.MedianRequests, spikeRequests) || above(o.Credits, o.MedianCredits, spikeCredits)
	return o
}

func above(v, usual, least float64) bool { return v > spikeFactor*usual && v-usual >= least }

// history of the full days before a day. The days before its first use say nothing: the
// key was not there, or not yet in use.
func (l *ledger) history(service string, day Day) (requests, credits []float64) {
	used := false
	for d := day - HistoryDays; d < day; d++ {
		if !l.full[d] {
			continue
		}
		r, c := l.sum(service, d, d)
		if used = used || r > 0 || c > 0; used {
			requests, credits = append(requests, r), append(credits, c)
		}
	}
	return requests, credits
}

// silent: no request on a full day, of a key whose median day is busy and that was used
// on each of the same weekdays before.
func (l *ledger) silent(day Day) bool {
	if r, _ := l.sum("", day, day); r > 0 {
		return false
	}
	requests, _ := l.history("", day)
	if len(requests) < leastHistory || median(requests) < busyRequests {
		return false
	}
	seen := 0
	for d := day - 7; d >= day-HistoryDays; d -= 7 {
		if !l.full[d] {
			continue
		}
		if r, _ := l.sum("", d, d); r == 0 {
			return false
		}
		seen++
	}
	return seen >= sameWeekdays
}

func (l *ledger) spent(b Budget, f Finding) []Spent {
	var out []Spent
	if b.PerDay > 0 {
		now := l.spentIn(PeriodDay, l.today, b.PerDay, b.WarnAt)
		if f.HasToday {
			out = append(out, now)
		}
		late := l.spentIn(PeriodDay, f.LastFull, b.PerDay, b.WarnAt)
		if f.HasDay && f.LastFull < l.today && (!f.HasToday || late.Share > now.Share) {
			out = append(out, late)
		}
	}
	if b.PerMonth > 0 {
		out = append(out, l.spentIn(PeriodMonth, l.today, b.PerMonth, b.WarnAt))
	}
	return out
}

func (l *ledger) spentIn(p Period, day Day, budget float64, warnAt []float64) Spent {
	first, next := p.bounds(day)
	_, used := l.sum("", first, day)
	s := Spent{Period: p, From: first, Until: next, Budget: budget, Used: used, Share: used / budget}
	for _, level := range warnAt {
		if s.Share >= level && level > s.Level {
			s.Level = level
		}
	}
	return s
}

// median of a list that is not empty.
func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}
