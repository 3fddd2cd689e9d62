package web

import (
	"fmt"
	"html/template"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// when is a time for people: how far it is, and the time itself in UTC.
type when struct {
	Known   bool
	In      string // "in 12 days", "3 hours ago"
	UTC     string // 2026-11-25 23:59 UTC
	Machine string // RFC 3339
}

func whenOf(t, now time.Time) when {
	if t.IsZero() {
		return when{}
	}
	t = t.UTC()
	form := "2006-01-02 15:04 UTC"
	if t.Sub(now).Abs() < time.Hour {
		form = "2006-01-02 15:04:05 UTC"
	}
	return when{Known: true, In: distance(t, now), UTC: t.Format(form), Machine: t.Format(time.RFC3339)}
}

// stampWith is the same in a sentence: "in 12 days (2026-11-25 23:59 UTC)".
func stampWith(t, now time.Time) string {
	w := whenOf(t, now)
	if !w.Known {
		return "at an unknown time"
	}
	return w.In + " (" + w.UTC + ")"
}

// distance of a time from now, as the commands write it: rounded down to the greatest
// unit of which there are two, so that nobody thinks that there is more time than there is.
func distance(t, now time.Time) string {
	d := t.Sub(now)
	switch {
	case d.Abs() < time.Second:
		return "now"
	case d < 0:
		return roughly(-d) + " ago"
	}
	return "in " + roughly(d)
}

func roughly(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if d >= 2*u.unit {
			return fmt.Sprintf("%d %ss", d/u.unit, u.name)
		}
	}
	return count(int(d/time.Second), "second")
}

// count of a noun: "1 key", "2 keys".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(n) + " " + noun + "s"
}

// thousands writes 12345 as 12,345.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plain words of a closed set: "item_gone" reads "item gone".
func plain(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "_", " ") }

func (s *Site) funcs() template.FuncMap {
	return template.FuncMap{
		"when": whenOf,
		"credential": func(name any) string {
			return "credential?" + url.Values{"name": {fmt.Sprint(name)}}.Encode()
		},
		"ticks":     ticks,
		"count":     count,
		"add":       func(a, b int) int { return a + b },
		"thousands": thousands,
		"plain":     plain,
		"join":      func(list []string) string { return strings.Join(list, ", ") },
		"date":      func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
		"clock":     func(t time.Time) string { return t.UTC().Format("15:04") },
		"took":      func(d time.Duration) string { return d.Round(time.Millisecond).String() },
		"heading":   func(t time.Time) string { return t.UTC().Format("Monday, 2 January 2006") },
		"whole":     func(f float64) string { return thousands(int(math.Round(f))) },
		"fixed":     func(f float64) string { return strconv.FormatFloat(f, 'f', 2, 64) },
	}
}
