package usage

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Source is where a figure comes from.
type Source string

// The sources.
const (
	SourcePortal Source = "portal"
	SourceFile   Source = "file"
)

// Row is what one credential used of one service on one day, as last told. The service
// "" is no service: it says that the whole day was read at that time, used or not.
type Row struct {
	Day      Day       `json:"day"`
	Service  string    `json:"service"`
	Requests float64   `json:"requests"`
	Credits  float64   `json:"credits"`
	ReadAt   time.Time `json:"read_at"`
	Source   Source    `json:"source"`
}

// Use of one service in a stretch of time.
type Use struct {
	At       time.Time `json:"at"`
	Service  string    `json:"service,omitempty"`
	Requests float64   `json:"requests,omitempty"`
	Credits  float64   `json:"credits,omitempty"`
}

// Reading is what was learnt at one time of the days from From to Until, both included.
type Reading struct {
	From, Until Day
	At          time.Time
	Source      Source
	Uses        []Use // of those days; others are left out
	// Whole: what Uses does not mention was not used. A file may hold one service of
	// several, and says nothing of those it leaves out.
	Whole bool
}

type place struct {
	day     Day
	service string
}

// Merge a reading into the rows that are known of its days, and return what is known
// then, by day and service. It is a function of the set of readings: their order does
// not matter, nor how often one comes. Of two readings the later one is right; of two at
// the same moment the one that is merged last.
func Merge(known []Row, r Reading) []Row {
	rows := make(map[place]Row, len(known))
	for _, row := range known {
		rows[place{row.Day, row.Service}] = row
	}
	fresh := r.rows()
	if r.Whole {
		for p, row := range rows { // what was not mentioned, of an earlier reading, was no use
			if row.Day >= r.From && row.Day <= r.Until && row.ReadAt.Before(r.At) {
				delete(rows, p)
			}
		}
	}
	for p, row := range fresh {
		if whole, ok := rows[place{p.day, ""}]; ok && whole.ReadAt.After(r.At) {
			continue // the whole day was read later
		}
		if old, ok := rows[p]; !ok || !old.ReadAt.After(r.At) {
			rows[p] = row
		}
	}
	return sortedRows(rows)
}

// rows of the reading by themselves.
func (r Reading) rows() map[place]Row {
	rows := map[place]Row{}
	if r.Whole {
		for d := r.From; d <= r.Until; d++ {
			rows[place{d, ""}] = Row{Day: d, ReadAt: r.At, Source: r.Source}
		}
	}
	for _, u := range r.Uses {
		day := DayOf(u.At)
		if day < r.From || day > r.Until {
			continue
		}
		p := place{day, ServiceName(u.Service)}
		row := rows[p]
		rows[p] = Row{Day: day, Service: p.service, Requests: row.Requests + u.Requests, Credits: row.Credits + u.Credits, ReadAt: r.At, Source: r.Source}
	}
	return rows
}

func sortedRows(rows map[place]Row) []Row {
	return slices.SortedFunc(maps.Values(rows), func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), strings.Compare(a.Service, b.Service))
	})
}

const (
	// OtherService stands for what has no usable name.
	OtherService  = "other"
	maxServiceLen = 40
)

// ServiceName is the name of a service in lower case, with one dash for whatever else than
// letters, digits, dots, dashes and underscores; "other" for one that is empty or too
// long. It comes from outside and becomes a label.
func ServiceName(s string) string {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '_'
	}
	name := strings.Join(strings.FieldsFunc(strings.ToLower(s), odd), "-")
	if name == "" || len(name) > maxServiceLen {
		return OtherService
	}
	return name
}
