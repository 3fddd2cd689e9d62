package alert

import (
	"fmt"
	"strconv"
	"time"

	"rotatord/internal/rotate"
)

// Use is what is known of one credential's usage. The figures are of UTC days.
type Use struct {
	Credential rotate.Name
	Page       string    // Esri's own page of it
	Day        time.Time // the last full day; zero: there is none
	Services   []Figures // that day, the whole first, with the service ""
	Month      Figures   // so far
	Spike      bool
	Silent     bool
	Budgets    []Budget
	Until      time.Time // figures reach so far
	CutOff     string    // its stage; "": none
	CutOffWhy  string
	CutOffOn   bool // it is what keeps consumers out, or about to
}

// Figures of one service.
type Figures struct {
	Service                     string
	Requests, Credits           float64
	UsualRequests, UsualCredits float64 // the median of the days before
	HasUsual, Spike             bool
}

// Budget of one period.
type Budget struct {
	Period      string // "day" or "month"
	Credits     float64
	Used, Share float64 // of Credits; a share of 1 is all of it
	Level       float64 // the highest warning level reached; 0: none
}

// newKeyFor: figures of a credential whose key is younger mean nothing yet.
const newKeyFor = 7 * 24 * time.Hour

// findings of a credential's use. A key's first week is silent about what is compared.
func (u Use) findings(v View, now time.Time) []finding {
	var out []finding
	if u.CutOffOn {
		out = append(out, finding{condition: ConditionCutOff, severity: SeverityCritical, step: 1, broken: true})
	}
	if step, all := u.budgetStep(); step > 0 {
		f := finding{condition: ConditionBudget, severity: SeverityWarning, step: step, once: true}
		if all {
			f.severity = SeverityCritical
		}
		out = append(out, f)
	}
	if first := v.Record.AdoptedAt; v.Record.Live.Generation <= 1 && !first.IsZero() && now.Sub(first) < newKeyFor {
		return out
	}
	if u.Spike {
		out = append(out, finding{condition: ConditionSpike, severity: SeverityWarning, step: 1, once: true})
	}
	if u.Silent {
		out = append(out, finding{condition: ConditionSilent, severity: SeverityInfo, step: 1, once: true})
	}
	return out
}

// budgetStep is the highest level that was reached, in percent, and whether that is all.
func (u Use) budgetStep() (step int, all bool) {
	for _, b := range u.Budgets {
		const percent = 100
		step = max(step, int(b.Level*percent))
		all = all || b.Level > 0 && b.Share >= 1
	}
	return step, all
}

// used fills the message of an alert on use: key, owner, service, the last full day
// against its own history, credits, budget, and until when the data reaches.
func (h *holding) used(m *Message, now time.Time) {
	u := h.use
	name := h.subject
	switch h.condition {
	case ConditionCutOff:
		m.Title = name + ": its budget is spent, and its keys are being taken away"
		m.Breaks = "Broken, or about to be: " + consumersOf(h.view) + "."
		if u.CutOff == "done" {
			m.Title, m.Breaks = name+": its budget is spent, and it is cut off: no key of it works", "Broken: "+consumersOf(h.view)+"."
		}
		m.Command = "rotatord resume " + quote(name)
	case ConditionBudget:
		m.Title = name + ": " + u.budgetText()
		m.Breaks = "Nothing by itself; credits are spent."
		if u.CutOffWhy != "" {
			m.Breaks = "It is not cut off: " + u.CutOffWhy + "."
		}
		m.Command = "rotatord usage " + quote(name)
	case ConditionSpike:
		m.Title = name + ": used far more than usual" + u.spiking()
		m.Breaks = "Nothing by itself; somebody else may have the key."
		m.Command = "rotatord usage " + quote(name)
	case ConditionSilent:
		m.Title = name + ": a busy key was not used on " + u.Day.UTC().Format(time.DateOnly)
		m.Breaks = "Perhaps nothing; perhaps its consumers cannot use it: " + consumersOf(h.view) + "."
		m.Command = "rotatord usage " + quote(name)
	default: // made in message.go and trouble.go
	}
	m.Sections = append(m.Sections, Section{"Usage", u.lines(now)})
	if u.Page != "" {
		m.Links = append(m.Links, Link{"Usage at Esri", u.Page})
	}
}

func (u Use) budgetText() string {
	var worst Budget
	for _, b := range u.Budgets {
		if b.Level > 0 && b.Share > worst.Share {
			worst = b
		}
	}
	return fmt.Sprintf("%.0f %% of the %s's budget is spent (%s of %s credits)", 100*worst.Share, worst.Period, number(worst.Used), number(worst.Credits))
}

// spiking names the services that are meant.
func (u Use) spiking() string {
	for _, f := range u.Services {
		if f.Spike && f.Service != "" {
			return " (" + f.Service + ")"
		}
	}
	return ""
}

// lines are the figures in words.
func (u Use) lines(now time.Time) []string {
	var out []string
	for _, f := range u.Services {
		if f.Service != "" && !f.Spike {
			continue
		}
		what := "All services"
		if f.Service != "" {
			what = f.Service
		}
		text := fmt.Sprintf("%s on %s: %s requests, %s credits", what, u.Day.UTC().Format(time.DateOnly), number(f.Requests), number(f.Credits))
		if f.HasUsual {
			text += fmt.Sprintf("; the median of 28 days is %s and %s", number(f.UsualRequests), number(f.UsualCredits))
		}
		out = append(out, text)
	}
	out = append(out, fmt.Sprintf("This month: %s requests, %s credits", number(u.Month.Requests), number(u.Month.Credits)))
	for _, b := range u.Budgets {
		out = append(out, fmt.Sprintf("Budget of the %s: %s of %s credits (%.0f %%)", b.Period, number(b.Used), number(b.Credits), 100*b.Share))
	}
	if !u.Until.IsZero() {
		out = append(out, "The figures reach until "+When(u.Until, now))
	}
	return out
}

// number for people: whole where it is large.
func number(v float64) string {
	const whole = 100
	if v >= whole || v == float64(int64(v)) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
