package portal

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// driven is an emulator a fixed time after a credential and a neighbour were used: two services on the first day, one
// request of each hour of the second, nothing else. The synthetic traffic is another kind and left out by want.
func driven(t *testing.T, switches map[string]string) (*portaltest.Emulator, portaltest.Credential, time.Time) {
	t.Helper()
	// Slack lets the client ask for more days than a portal may answer, and be refused.
	e := strictEmulator(t, portaltest.Options{Switches: switches})
	cred := e.AddCredential(portaltest.CredentialSeed{Title: "k"})
	other := e.AddCredential(portaltest.CredentialSeed{Title: "other"})
	e.MoveClock(24 * time.Hour)
	day := e.Now().Truncate(24 * time.Hour).Add(24 * time.Hour)
	rows := []portaltest.UsageRow{
		{At: day.Add(10 * time.Hour), ClientID: cred.ClientID, Type: "routes", Num: 5, Credits: 2.5},
		{At: day.Add(11 * time.Hour), ClientID: cred.ClientID, Type: "places", Num: 7, Credits: 0},
		{At: day.Add(11 * time.Hour), ClientID: other.ClientID, Type: "routes", Num: 1000, Credits: 1000},
	}
	for hour := 7; hour < 24; hour++ { // after the seven hours that a day of the organisation's zone begins later
		rows = append(rows, portaltest.UsageRow{At: day.Add(time.Duration(24+hour) * time.Hour), ClientID: cred.ClientID, Type: "routes", Num: 1, Credits: 0.5})
	}
	e.AddUsage(rows...)
	e.MoveClock(65 * 24 * time.Hour)
	return e, cred, day
}

// byDay sums the two kinds that driven adds.
func byDay(points []UsagePoint) map[string]string {
	type sum struct{ requests, credits float64 }
	sums := map[string]sum{}
	for _, p := range points {
		if p.Service == "routes" || p.Service == "places" {
			key := p.At.Format(time.DateOnly) + " " + p.Service
			s := sums[key]
			sums[key] = sum{s.requests + p.Requests, s.credits + p.Credits}
		}
	}
	out := map[string]string{}
	for key, s := range sums {
		out[key] = fmt.Sprintf("%g requests, %g credits", s.requests, s.credits)
	}
	return out
}

// TestUsageUnderEverySwitch: whatever shape a portal's answer has, the sums are the same and of the one app alone.
func TestUsageUnderEverySwitch(t *testing.T) {
	settings := []map[string]string{nil}
	for _, s := range portaltest.New(portaltest.Options{}).Switches() {
		for _, v := range s.Values {
			if strings.HasPrefix(s.Name, "usage_") && v != s.Default {
				settings = append(settings, map[string]string{s.Name: v})
			}
		}
	}
	if len(settings) < 10 {
		t.Fatalf("only %d settings", len(settings))
	}
	for _, set := range settings {
		t.Run(fmt.Sprint(set), func(t *testing.T) {
			e, cred, day := driven(t, set)
			c := newTestClient(t, e, Options{})
			points, err := c.Usage(t.Context(), cred.ClientID, day, day.Add(60*24*time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			first, second := day.Format(time.DateOnly), day.AddDate(0, 0, 1).Format(time.DateOnly)
			want := map[string]string{first + " routes": "5 requests, 2.5 credits", first + " places": "7 requests, 0 credits",
				second + " routes": "17 requests, 8.5 credits"}
			if got := byDay(points); !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestUsageLeavesTheWindowOut(t *testing.T) {
	e, cred, day := driven(t, map[string]string{portaltest.SwitchUsageBuckets: "org_zone"})
	points, err := newTestClient(t, e, Options{}).Usage(t.Context(), cred.ClientID, day.AddDate(0, 0, 1), day.AddDate(0, 0, 2))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range points {
		if p.At.Before(day.AddDate(0, 0, 1)) || !p.At.Before(day.AddDate(0, 0, 2)) {
			t.Errorf("a point of %s", p.At)
		}
	}
	if got := byDay(points); len(got) != 1 {
		t.Errorf("got %v, want the second day alone", got)
	}
}

// A portal that repeats a secret as a service's name gets no label made of it.
func TestUsageServiceIsNoSecret(t *testing.T) {
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for stype, want := range map[string]string{"geocode": "geocode", testKey(rotate.Slot1): "", testApp.ClientSecret.Reveal(): ""} {
		body := fmt.Sprintf(`{"data":[{"appId":"a","stype":%q,"num":[["%d","3"]]}]}`, stype, from.UnixMilli())
		points, err := keyClient(t, canned{status: 200, body: body}, Limits{}).Usage(t.Context(), "a", from, from.AddDate(0, 0, 1))
		if err != nil || len(points) != 1 || points[0].Service != want {
			t.Errorf("got %+v, %v, want service %q", points, err, want)
		}
	}
}

func TestUsageRefused(t *testing.T) {
	e, cred, day := driven(t, nil)
	creator := Identity{Password: &PasswordIdentity{Username: portaltest.CreatorUser, Password: fixed(portaltest.StandardPassword)}}
	_, err := newTestClient(t, e, Options{Identity: creator}).Usage(t.Context(), cred.ClientID, day, day.AddDate(0, 0, 60))
	wantKind(t, err, rotate.KindPermanent, rotate.CauseForbidden)

	enterprise := strictEmulator(t, portaltest.Options{Product: portaltest.Enterprise114})
	old := enterprise.AddCredential(portaltest.CredentialSeed{Title: "k"})
	_, err = newTestClient(t, enterprise, Options{}).Usage(t.Context(), old.ClientID, day, day.AddDate(0, 0, 60))
	wantKind(t, err, rotate.KindPermanent, rotate.CauseNotFound)

	c := keyClient(t, canned{status: 200, body: `{"data":[]}`}, Limits{})
	for name, ask := range map[string]func() error{
		"no app":    func() error { _, err := c.Usage(t.Context(), "", day, day.AddDate(0, 0, 1)); return err },
		"no start":  func() error { _, err := c.Usage(t.Context(), "a", time.Time{}, day); return err },
		"backwards": func() error { _, err := c.Usage(t.Context(), "a", day, day); return err },
	} {
		if err := ask(); rotate.KindOf(err) != rotate.KindPermanent {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUsageShapes are answers that no emulator gives.
func TestUsageShapes(t *testing.T) {
	from := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	ms := from.UnixMilli()
	point := func(requests, credits float64) string { return fmt.Sprintf("%g/%g", requests, credits) }
	for name, row := range map[string]struct {
		body string
		kind rotate.Kind
		want string // "requests/credits" summed; "" is no point
	}{
		"nothing":              {body: `{"data":[]}`},
		"no data":              {body: `{"startTime":1}`, kind: rotate.KindTransient},
		"data is null":         {body: `{"data":null}`, kind: rotate.KindTransient},
		"whose":                {body: `{"data":[{"stype":"geocode","num":[["1","2"]]}]}`, kind: rotate.KindTransient},
		"another's":            {body: fmt.Sprintf(`{"data":[{"appId":"b","num":[["%d","2"]]}]}`, ms)},
		"no requests":          {body: fmt.Sprintf(`{"data":[{"appId":"a","credits":[["%d","0.5"]]}]}`, ms), want: point(0, 0.5)},
		"no credits":           {body: fmt.Sprintf(`{"data":[{"appId":"a","num":[["%d","3"]]}]}`, ms), want: point(3, 0)},
		"the same work, again": {body: fmt.Sprintf(`{"data":[{"appId":"a","etype":"svcusg","num":[["%d","3"]],"credits":[["%d","1"]]},{"appId":"a","etype":"geocodecnt","num":[["%d","9"]],"credits":[["%d","0.25"]]}]}`, ms, ms, ms, ms), want: point(3, 1.25)},
		"odd members":          {body: fmt.Sprintf(`{"data":[7,{"appId":"a","num":[["%d","3"],["x"],5,null,["%d","NaN"],["%d","-4"],["soon","1"],["%d","Infinity"]]}]}`, ms, ms+1, ms+2, ms+3), want: point(3, 0)},
		"a time twice":         {body: fmt.Sprintf(`{"data":[{"appId":"a","num":[["%d","3"],["%d","2"]]}]}`, ms, ms), want: point(3, 0)},
		"a number for series":  {body: `{"data":[{"appId":"a","num":7}]}`},
		"html":                 {body: `<html>`, kind: rotate.KindTransient},
		"gone":                 {body: `{"error":{"code":400,"message":"Unsupported operation."}}`, kind: rotate.KindPermanent},
	} {
		t.Run(name, func(t *testing.T) {
			c := keyClient(t, canned{status: 200, body: row.body}, Limits{})
			points, err := c.Usage(t.Context(), "a", from, from.AddDate(0, 0, 1))
			if got := rotate.KindOf(err); (got == "") != (row.kind == "") {
				t.Fatalf("got %v, want kind %q", err, row.kind)
			}
			var requests, credits float64
			for _, p := range points {
				requests += p.Requests
				credits += p.Credits
			}
			got := point(requests, credits)
			if len(points) == 0 {
				got = ""
			}
			if got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}
