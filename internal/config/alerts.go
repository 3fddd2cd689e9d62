package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
)

// Waits are how long something must hold before it is told.
type Waits struct {
	Critical Duration `yaml:"critical,omitempty" zero:"ok" jsonschema:"default=0s" doc:"What is critical."`
	Warning  Duration `yaml:"warning,omitempty" zero:"ok" jsonschema:"default=5m" doc:"What is for today."`
	Info     Duration `yaml:"info,omitempty" zero:"ok" jsonschema:"default=30m" doc:"What is for some day."`
}

// Flap is when an alert that comes and goes is told as one.
type Flap struct {
	Times  int      `yaml:"times" jsonschema:"default=4,minimum=0,maximum=100" doc:"Openings within the time below, after which an alert stays one open alert until it has been gone for so long. 0: never."`
	Within Duration `yaml:"within,omitempty" jsonschema:"default=1h" doc:"The time."`
}

// QuietHours in which only what is critical is told.
type QuietHours struct {
	Days []Weekday `yaml:"days,omitempty" doc:"Days on which they begin: mon, tue, wed, thu, fri, sat, sun. Every day if left out."`
	From TimeOfDay `yaml:"from" jsonschema:"required" doc:"When they begin, as in 18:30."`
	To   TimeOfDay `yaml:"to" jsonschema:"required" doc:"When they end, as in 08:00; on the next day, if that is not after from. 24:00 is the end of the day."`
}

// Route is who tells some conditions.
type Route struct {
	Conditions []string `yaml:"conditions" jsonschema:"required" doc:"Conditions, by their words in docs/alerts.md."`
	To         []string `yaml:"to" jsonschema:"required" doc:"Notifiers that tell them, as in [slack]; or [prometheus] to leave them to the Prometheus rules."`
}

// Weekday is its first three letters.
type Weekday string

func weekdays() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

// UnmarshalText checks the day.
func (d *Weekday) UnmarshalText(b []byte) error {
	if text := string(b); !slices.Contains(weekdays(), text) {
		return badValue("write mon, tue, wed, thu, fri, sat or sun", "%s is no day of the week", shown(text))
	}
	*d = Weekday(b)
	return nil
}

// Std is the standard library's type.
func (d Weekday) Std() time.Weekday { return time.Weekday(slices.Index(weekdays(), string(d))) }

// JSONSchema lists the days.
func (Weekday) JSONSchema() *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, d := range weekdays() {
		s.Enum = append(s.Enum, d)
	}
	return s
}

// TimeOfDay is hours and minutes of a wall clock.
type TimeOfDay string

const timeOfDayForm = `^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$`

// UnmarshalText checks the time. Without quotes YAML may take 18:30 for text, and it is.
func (t *TimeOfDay) UnmarshalText(b []byte) error {
	if _, err := timeOfDay(string(b)); err != nil {
		return badValue("write hours and minutes, as in \"08:00\"", "%s is no time of day", shown(string(b)))
	}
	*t = TimeOfDay(b)
	return nil
}

// Std is the time since midnight.
func (t TimeOfDay) Std() time.Duration {
	d, _ := timeOfDay(string(t)) // checked when it was read
	return d
}

func timeOfDay(text string) (time.Duration, error) {
	if text == "24:00" {
		return 24 * time.Hour, nil
	}
	if len(text) != len("15:04") {
		return 0, fmt.Errorf("%q has another form", text)
	}
	at, err := time.Parse("15:04", text)
	return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute, err
}

// JSONSchema of a time of day.
func (TimeOfDay) JSONSchema() *jsonschema.Schema { return textSchema(timeOfDayForm) }

// AlertConditions are the words of alerts.routes; a test holds them to internal/alert's.
func AlertConditions() []string {
	return []string{"dead", "expiring", "cut_off", "portal_unreachable", "sink_failing", "vault_token", "identity_expiring", "held", "stopped",
		"quarantined", "failing", "stuck", "drift", "occupied", "overdue", "straggling", "unretired", "clock_off", "survey_stale", "budget", "usage_spike",
		"usage_silence", "settings_drift", "reload_refused", "orphan", "unadopted", "crashed"}
}

// RulesRoute leaves a condition to the Prometheus rules.
const RulesRoute = "prometheus"

// Notifiers are the ways of telling that the section configures, by name.
func (a *Alerts) Notifiers() []string {
	var out []string
	if a.Slack != nil {
		out = append(out, "slack")
	}
	if a.Webhook != nil {
		out = append(out, "webhook")
	}
	if a.Alertmanager != nil {
		out = append(out, "alertmanager")
	}
	if a.Email != nil {
		out = append(out, "email")
	}
	return out
}

// RoutesOf the config: for each condition, who tells it.
func (a *Alerts) RoutesOf() map[string][]string {
	out := map[string][]string{}
	for _, c := range AlertConditions() {
		out[c] = a.told()
	}
	for _, r := range a.Routes {
		for _, c := range r.Conditions {
			out[c] = slices.DeleteFunc(slices.Clone(r.To), func(s string) bool { return s == RulesRoute })
		}
	}
	return out
}

// told are the notifiers of conditions without a route.
func (a *Alerts) told() []string {
	if len(a.To) > 0 {
		return a.To
	}
	for _, name := range []string{"slack", "alertmanager", "email", "webhook"} {
		if slices.Contains(a.Notifiers(), name) {
			return []string{name}
		}
	}
	return nil
}

func (c *Config) alertZone() string {
	if c.Alerts.TimeZone != "" {
		return c.Alerts.TimeZone
	}
	return c.Schedules.TimeZone
}

// AlertZone is the zone of quiet hours.
func (c *Config) AlertZone() (*time.Location, error) { return zone(c.alertZone()) }

// DigestSchedule of the config; nil: none.
func (c *Config) DigestSchedule() (Schedule, error) {
	if c.Alerts.Digest == "" {
		return nil, nil
	}
	return ParseSchedule(c.Alerts.Digest, c.alertZone())
}

// alerts checks what is told when.
func (k *checker) alerts() {
	a := &k.c.Alerts
	if k.broken["alerts"] {
		return
	}
	if _, err := zone(a.TimeZone); err != nil {
		k.bad("alerts.time_zone", "write a name as in Europe/Berlin, or UTC", "%v", err)
		a.TimeZone = ""
	}
	if a.Digest != "" {
		if _, err := ParseSchedule(a.Digest, a.TimeZone); err != nil {
			k.bad("alerts.digest", cronCure(err, "0 8 * * mon-fri", "alerts.time_zone"), "%v", err)
		} else if strings.HasPrefix(strings.TrimSpace(a.Digest), "@every") {
			k.bad("alerts.digest", "write minute, hour, day, month, weekday, as in 0 8 * * mon-fri", "comes at no time of day")
		}
	}
	for i, q := range a.QuietHours {
		if q.From != "" && q.From == q.To {
			k.bad(fmt.Sprintf("alerts.quiet_hours[%d].to", i), "write when they end, or leave the entry out", "is the same time as from")
		}
		if q.From == "24:00" {
			k.bad(fmt.Sprintf("alerts.quiet_hours[%d].from", i), "write 00:00 and the next day", "is the end of the day")
		}
	}
	k.notifiers()
	k.routes(a)
}

func (k *checker) routes(a *Alerts) {
	configured := append(a.Notifiers(), RulesRoute)
	for j, way := range a.To {
		switch place := fmt.Sprintf("alerts.to[%d]", j); {
		case !slices.Contains(a.Notifiers(), way) && !k.anyBroken("alerts"):
			k.bad(place, "use one that is configured: "+strings.Join(a.Notifiers(), ", "), "%s is no notifier of this config", shown(way))
		case slices.Contains(a.To[:j], way):
			k.bad(place, "name each once", "%s is there twice", way)
		}
	}
	taken := map[string]bool{}
	for i, r := range a.Routes {
		at := fmt.Sprintf("alerts.routes[%d]", i)
		for j, c := range r.Conditions {
			place := fmt.Sprintf("%s.conditions[%d]", at, j)
			switch {
			case !slices.Contains(AlertConditions(), c):
				k.bad(place, suggest(c, AlertConditions()), "%s is no condition", shown(c))
			case taken[c]:
				k.bad(place, "name each condition in one route", "%s has a route already", c)
			}
			taken[c] = true
		}
		for j, way := range r.To {
			place := fmt.Sprintf("%s.to[%d]", at, j)
			switch {
			case !slices.Contains(configured, way) && !k.anyBroken("alerts"):
				k.bad(place, "use one that is configured: "+strings.Join(configured, ", "), "%s is no notifier of this config", shown(way))
			case slices.Contains(r.To[:j], way):
				k.bad(place, "name each once", "%s is there twice", way)
			case way == RulesRoute && len(r.To) > 1:
				k.bad(place, "leave it to the rules alone, or take prometheus out", "would have the same fault told twice")
			}
		}
		for _, list := range []struct {
			key   string
			words []string
		}{{"conditions", r.Conditions}, {"to", r.To}} {
			if p := at + "." + list.key; k.has(p) && len(list.words) == 0 && !k.broken[p] {
				k.bad(p, "name one, or remove the route", "is empty")
			}
		}
	}
}
