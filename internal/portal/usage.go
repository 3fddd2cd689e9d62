package portal

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rotatord/internal/rotate"
)

// UsagePoint is what one credential used of one service in the bucket that begins at At.
type UsagePoint struct {
	At       time.Time
	Service  string // the portal's stype, or etype where it gave none; "" if it gave no usable name
	Requests float64
	Credits  float64
}

const (
	usageDay    = 24 * time.Hour
	usageWindow = 30 * usageDay // days of one request; halved where a portal refuses that many
	etypeUse    = "svcusg"      // requests to services; the others count geocodes, tiles and storage once more
)

// Usage reads what the app used from one time to another, by the day, from
// portals/self/usage (contract 8.1: not documented, Online only). CauseNotFound means that
// this product has no usage, CauseForbidden that the identity lacks the right to read it.
//
// Its shapes are recorded from clients, so they are read tolerantly: numbers or strings,
// days without use left out or null. One thing is not tolerated: a series that does not
// say whose it is, since everybody's use taken for one credential's would break its budget.
func (c *Client) Usage(ctx context.Context, clientID string, from, until time.Time) ([]UsagePoint, error) {
	what := "read usage of app " + clientID
	if clientID == "" || from.IsZero() || !until.After(from) {
		return nil, &rotate.Error{Op: "read usage", Kind: rotate.KindPermanent, Err: errors.New("no client id or no time")}
	}
	var all []UsagePoint
	width := usageWindow
	for at := from; at.Before(until); {
		end := at.Add(width)
		if end.After(until) {
			end = until
		}
		points, err := c.usagePage(ctx, what, clientID, at, end)
		// No page states the longest range. A portal that has one refuses the request as malformed.
		if rotate.KindOf(err) == rotate.KindPermanent && rotate.CauseOf(err) == rotate.CauseNone && end.Sub(at) > usageDay {
			width = max(usageDay, (end.Sub(at) / 2).Truncate(usageDay))
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, points...)
		at = end
	}
	return all, nil
}

func (c *Client) usagePage(ctx context.Context, what, clientID string, from, until time.Time) ([]UsagePoint, error) {
	var w wireUsage
	_, err := c.do(ctx, call{op: opUsage, what: what, path: "/portals/self/usage", form: url.Values{
		"startTime": {millisText(from)}, "endTime": {millisText(until)}, "period": {"1d"},
		"vars": {"num,credits"}, "groupby": {"appId,etype,stype"}, "appId": {clientID},
	}, refine: func(f *fault, e *rotate.Error) {
		// An operation that the server does not know is a plain 400 with a word about it on some.
		if e.Kind == rotate.KindPermanent && e.Cause == rotate.CauseNone && f.Code == http.StatusBadRequest && f.says("unsupported operation", "not supported") {
			e.Cause = rotate.CauseNotFound
		}
	}}, &w)
	if err != nil {
		return nil, err
	}
	if w.Data == nil {
		return nil, incomplete(what, "data")
	}
	var out []UsagePoint
	for _, s := range *w.Data {
		if s.AppID == "" {
			return nil, incomplete(what, "appId in a series")
		}
		if string(s.AppID) == clientID {
			out = append(out, s.points(from, until)...)
		}
	}
	return out, nil
}

func millisText(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

type wireUsage struct {
	Data *many[wireSeries] `json:"data"`
}

type wireSeries struct {
	AppID   text  `json:"appId"`
	EType   text  `json:"etype"`
	SType   text  `json:"stype"`
	Num     pairs `json:"num"`
	Credits pairs `json:"credits"`
}

// service that the series is of. It becomes a label: what could be a token that the
// portal repeats is no name.
func (s wireSeries) service() string {
	name := string(s.SType)
	if name == "" {
		name = string(s.EType)
	}
	if tokenLike.MatchString(name) {
		return ""
	}
	return name
}

// points of the window, in no order. Credits add up over all kinds of use; requests are
// those of services alone, as the other kinds count the same work a second time.
func (s wireSeries) points(from, until time.Time) []UsagePoint {
	byTime := map[int64]*UsagePoint{}
	at := func(ms int64) *UsagePoint {
		p := byTime[ms]
		if p == nil {
			p = &UsagePoint{At: time.UnixMilli(ms).UTC(), Service: s.service()}
			byTime[ms] = p
		}
		return p
	}
	if s.EType == "" || strings.EqualFold(string(s.EType), etypeUse) {
		for ms, v := range s.Num {
			at(ms).Requests = v
		}
	}
	for ms, v := range s.Credits {
		at(ms).Credits = v
	}
	var out []UsagePoint
	for _, p := range byTime {
		if !p.At.Before(from) && p.At.Before(until) && (p.Requests > 0 || p.Credits > 0) {
			out = append(out, *p)
		}
	}
	return out
}

// pairs reads [[time, value], …] with each member a number or a string. What is no pair,
// no number or below zero is left out; of a time that is there twice the larger value counts.
type pairs map[int64]float64

func (p *pairs) UnmarshalJSON(raw []byte) error {
	*p = pairs{}
	var rows []json.RawMessage
	_ = json.Unmarshal(raw, &rows) // anything but an array has no pairs
	for _, row := range rows {
		var pair []text
		if json.Unmarshal(row, &pair) != nil || len(pair) != 2 {
			continue
		}
		var at number
		_ = at.UnmarshalJSON([]byte(pair[0])) // a number takes any value
		v, err := strconv.ParseFloat(strings.TrimSpace(string(pair[1])), 64)
		if err != nil || v < 0 || math.IsNaN(v) || math.IsInf(v, 0) || at.time().IsZero() {
			continue
		}
		(*p)[at.v] = max((*p)[at.v], v)
	}
	return nil
}
