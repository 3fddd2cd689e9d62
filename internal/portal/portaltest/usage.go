package portaltest

import (
	"hash/fnv"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// UsageRow is traffic to add to the synthetic one: so many requests of one kind by one app at one time.
type UsageRow struct {
	At       time.Time `json:"at"`
	ClientID string    `json:"client_id"`
	Type     string    `json:"stype"` // geocode, tiles, portal …
	Task     string    `json:"task"`
	User     string    `json:"user"`
	Num      int       `json:"num"`
	Credits  float64   `json:"credits"`
}

// AddUsage adds traffic.
func (e *Emulator) AddUsage(rows ...UsageRow) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.added = append(e.added, rows...)
}

// maxBuckets bounds the length of a usage series, as its start and end come from outside.
const maxBuckets = 10_000

// usage answers portals/{id}/usage: series of [time, number] pairs, both as strings.
func (e *Emulator) usage(c *call) (any, error) {
	if e.opts.Product.enterprise() {
		return nil, &apiError{code: 404, message: textUsageMissing}
	}
	if !c.maySeeUsage() {
		return nil, forbidden()
	}
	step, ok := periods()[c.form.Get("period")]
	from, until := c.intParam("startTime", -1), c.intParam("endTime", -1)
	if !ok || from < 0 || until <= from || (until-from)/millisOf(step) > maxBuckets || until-from > e.usageRange() {
		return nil, &apiError{code: 400, messageCode: "GWM_0007", message: "Invalid request"}
	}
	base := e.usageBase(from, step)
	groups := splitList(c.form.Get("groupby"))
	sums := map[string]*usageSeries{}
	for _, row := range e.usageRows(c, from, until, step) {
		if !usageMatches(c, row) {
			continue
		}
		labels := rowLabels(row)
		var key strings.Builder
		key.WriteString("\x00")
		for _, g := range groups {
			key.WriteString(labels[g] + "\x00")
		}
		s := sums[key.String()]
		if s == nil {
			s = &usageSeries{labels: obj{}, num: map[int64]int{}, credits: map[int64]float64{}}
			for _, g := range groups {
				s.labels[g] = labels[g]
			}
			sums[key.String()] = s
		}
		at := base + (millis(row.At)-base)/millisOf(step)*millisOf(step)
		s.num[at] += row.Num
		s.credits[at] += row.Credits
	}
	data := []obj{}
	for _, key := range slices.Sorted(maps.Keys(sums)) {
		data = append(data, sums[key].json(c, base, until, millisOf(step)))
	}
	return obj{"startTime": from, "endTime": until, "period": c.form.Get("period"), "data": data}, nil
}

// maySeeUsage: no page says which right it takes.
func (c *call) maySeeUsage() bool {
	switch c.e.switches[SwitchUsageRight] {
	case "anybody":
		return !c.id.anonymous()
	case "admin":
		return c.id.admin()
	}
	return c.id.admin() || c.id.has("portal:admin:createReports")
}

// usageRange is the longest span that may be asked for, in milliseconds.
func (e *Emulator) usageRange() int64 {
	switch e.switches[SwitchUsageRange] {
	case "31d":
		return 31 * 24 * time.Hour.Milliseconds()
	case "7d":
		return 7 * 24 * time.Hour.Milliseconds()
	}
	return math.MaxInt64
}

// orgOffset is where the organisation's midnight lies, in the switch that puts buckets there.
const orgOffset = 7 * time.Hour

// usageBase is the start of the first bucket, which holds from.
func (e *Emulator) usageBase(from int64, step time.Duration) int64 {
	if !e.is(SwitchUsageBuckets, "org_zone") || step < 24*time.Hour {
		return from
	}
	since := from - millisOf(orgOffset)
	return since - since%millisOf(24*time.Hour) + millisOf(orgOffset)
}

func millisOf(d time.Duration) int64 { return d.Milliseconds() }

func periods() map[string]time.Duration {
	const day = 24 * time.Hour
	return map[string]time.Duration{"1h": time.Hour, "1d": day, "3d": 3 * day, "1w": 7 * day, "1m": 30 * day, "1y": 365 * day}
}

type usageSeries struct {
	labels  obj
	num     map[int64]int
	credits map[int64]float64
}

func (s *usageSeries) json(c *call, from, until, step int64) obj {
	o := maps.Clone(s.labels)
	for _, name := range splitList(c.form.Get("vars")) {
		pairs := [][2]any{}
		for at := from; at < until; at += step {
			var value float64
			switch name {
			case "num":
				value = float64(s.num[at])
			case "credits", "cost":
				value = s.credits[at]
			}
			if pair, ok := usagePair(c.e.switches[SwitchUsagePairs], at, value); ok {
				pairs = append(pairs, pair)
			}
		}
		o[name] = pairs
	}
	return o
}

// usagePair is one member of a series as the switch writes it; ok false leaves it out.
func usagePair(form string, at int64, value float64) (pair [2]any, ok bool) {
	switch form {
	case "numbers":
		return [2]any{at, value}, true
	case "sparse":
		ok = value != 0
	case "null":
		if ok = true; value == 0 {
			return [2]any{strconv.FormatInt(at, 10), nil}, true
		}
	default:
		ok = true
	}
	return [2]any{strconv.FormatInt(at, 10), strconv.FormatFloat(value, 'f', -1, 64)}, ok
}

func rowLabels(r UsageRow) map[string]string {
	return map[string]string{"etype": "svcusg", "stype": r.Type, "task": r.Task, "appId": r.ClientID, "username": r.User, "name": r.Task}
}

func usageMatches(c *call, r UsageRow) bool {
	labels := rowLabels(r)
	for _, name := range []string{"etype", "stype", "task", "appId", "username", "name"} {
		if name == "appId" && c.e.is(SwitchUsageAppFilter, "ignored") {
			continue
		}
		if wanted := c.form.Get(name); wanted != "" && !slices.Contains(splitList(wanted), labels[name]) {
			return false
		}
	}
	return true
}

// usageRows is the traffic between two times: a steady synthetic one of each app but the OAuth ones, the same on every
// reading and for every period, and what AddUsage added.
func (e *Emulator) usageRows(c *call, from, until int64, step time.Duration) []UsageRow {
	unit := 24 * time.Hour
	if step < unit {
		unit = time.Hour
	}
	only := splitList(c.form.Get("appId"))
	if e.is(SwitchUsageAppFilter, "ignored") {
		only = nil
	}
	shown := millis(c.now.Add(-e.duration(SwitchUsageLag)))
	var rows []UsageRow
	for _, id := range e.order {
		it := e.items[id]
		if it.app == nil || it.app.appType == "native" || len(only) > 0 && !slices.Contains(only, it.app.clientID) {
			continue
		}
		first := max(from, millis(it.Created.Truncate(unit)))
		first += (millisOf(unit) - first%millisOf(unit)) % millisOf(unit)
		for at := first; at < min(until, shown); at += millisOf(unit) {
			n := syntheticRequests(it.app.clientID, at, unit)
			row := UsageRow{At: time.UnixMilli(at), ClientID: it.app.clientID, User: it.Owner}
			row.Type, row.Task, row.Num, row.Credits = "geocode", "geocode", n, float64(n)*0.04
			rows = append(rows, row)
			row.Type, row.Task, row.Num, row.Credits = "tiles", "basemap", 10*n, 0
			rows = append(rows, row)
		}
	}
	for _, r := range e.added {
		if at := millis(r.At); at >= from && at < until && at < shown {
			rows = append(rows, r)
		}
	}
	return rows
}

// syntheticRequests is an app's made-up number of requests in the day or hour that starts at the given time; a day's hours
// add up to the day.
func syntheticRequests(clientID string, at int64, unit time.Duration) int {
	const day = int64(24 * time.Hour / time.Millisecond)
	h := fnv.New32a()
	_, _ = h.Write([]byte(clientID + strconv.FormatInt(at/day, 10))) // a hash never fails
	n := int(h.Sum32() % 200)
	if unit >= 24*time.Hour {
		return n
	}
	share := n / 24
	if hour := int(at % day / time.Hour.Milliseconds()); hour < n%24 {
		share++
	}
	return share
}
