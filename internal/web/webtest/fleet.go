// Package webtest has fleets to show: one with something of everything, and large ones.
package webtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"rotatord/internal/rotate"
	"rotatord/internal/web"
)

const day = 24 * time.Hour

// fingerprint of a made-up key.
func fingerprint(slot rotate.Slot, n int) rotate.Fingerprint {
	return rotate.Fingerprint(fmt.Sprintf("AT%d_%08X-%08x", slot, 0xA1B2C3D0+n, 0x1f2e3d4c+7919*n))
}

// Healthy is an adopted credential in slot 1 whose key was made so long ago.
func Healthy(n int, name string, age time.Duration, now time.Time) web.Credential {
	made := now.Add(-age)
	expires := made.Add(364 * day).Truncate(day).Add(-time.Second)
	key := rotate.KeyFacts{Slot: rotate.Slot1, Fingerprint: fingerprint(rotate.Slot1, n), Generation: int64(2 + n%5), Expires: expires, LatestExpiry: expires, MintedAt: made}
	c := web.Credential{Name: rotate.Name(name), Portal: "online", Product: "online", Item: rotate.ItemID(fmt.Sprintf("%032x", 0xc0ffee+n)),
		Mode: rotate.ModeRotate, Overlap: 7 * day, CriticalBefore: 3 * day, DueAt: expires.Add(-30 * day), NextAt: now.Add(time.Duration(1+n%9) * time.Minute),
		Sinks: []string{"vault"}, Links: []web.Link{{Text: "item", URL: fmt.Sprintf("https://acme.maps.arcgis.com/home/item.html?id=%032x", 0xc0ffee+n)}}}
	c.Record = rotate.Record{Name: c.Name, ID: rotate.ID{Portal: c.Portal, Item: c.Item}, Epoch: 9, AdoptedAt: made.Add(-40 * day), Phase: rotate.PhaseIdle, Live: key,
		PromotedAt: made.Add(2 * time.Minute), ProbedAt: now.Add(-3 * time.Hour), SurveyedAt: now.Add(-3 * time.Hour), Blocked: rotate.ReasonNotDue, NextAt: c.NextAt}
	c.Record.Slots[1] = rotate.SlotState{Use: rotate.UseLive, Key: key, Asked: expires, Active: true, Expires: expires, SeenAt: now.Add(-3 * time.Hour)}
	c.Record.Slots[2] = rotate.SlotState{Use: rotate.UseEmpty, Expires: made.Add(6 * day), SeenAt: now.Add(-3 * time.Hour)}
	c.StartAt = c.DueAt
	return c
}

// expireIn moves the served key's end.
func expireIn(c *web.Credential, left time.Duration, now time.Time) {
	r := &c.Record
	r.Live.Expires = now.Add(left).Truncate(time.Second)
	r.Live.LatestExpiry = r.Live.Expires
	r.Slots[1].Key, r.Slots[1].Expires = r.Live, r.Live.Expires
	c.DueAt = r.Live.Expires.Add(-30 * day)
	c.StartAt = c.DueAt
}

// Fleet has something of everything.
func Fleet(now time.Time) []web.Credential {
	one := func(n int, name, owner, env string, age time.Duration, change func(*web.Credential)) web.Credential {
		c := Healthy(n, name, age, now)
		c.Owner, c.Environment = owner, env
		if change != nil {
			change(&c)
		}
		return c
	}
	return []web.Credential{
		one(1, "basemap-cache", "gis-platform", "production", 60*day, nil),
		one(2, "city-portal", "web", "production", 334*day, func(c *web.Credential) { overlap(c, now) }),
		one(3, "crew-tablets", "field-services", "production", 362*day, func(c *web.Credential) { critical(c, now) }),
		one(4, "dashboard-ops", "operations", "production", 200*day, func(c *web.Credential) { quarantined(c, now) }),
		one(5, "enterprise-geocoder", "gis-platform", "production", 100*day, func(c *web.Credential) { held(c, now) }),
		one(6, "field-app", "field-services", "staging", 330*day, func(c *web.Credential) { watched(c, now) }),
		one(7, "flood-model", "hydrology", "production", 300*day, func(c *web.Credential) { drifted(c, now) }),
		one(8, "hydrants", "fire-brigade", "production", 340*day, func(c *web.Credential) { dead(c, now) }),
		one(9, "land-register", "cadastre", "production", 345*day, func(c *web.Credential) { waiting(c, now) }),
		one(10, "parcel-search", "cadastre", "staging", 20*day, nil),
		one(11, "public-map", "web", "production", 336*day, func(c *web.Credential) { publishing(c, now) }),
		one(12, "routing-night", "logistics", "production", 290*day, nil),
		one(13, "survey-forms", "operations", "test", 0, func(c *web.Credential) { unadopted(c, now) }),
		one(14, "tile-proxy", "gis-platform", "production", 310*day, nil),
		one(15, "tree-inventory", "parks", "test", 250*day, nil),
		one(16, "web-map", "web", "production", 320*day, nil),
	}
}

func overlap(c *web.Credential, now time.Time) {
	r := &c.Record
	*c = second(*c, now.Add(-5*day), now)
	r.Phase, r.RetireAt = rotate.PhaseOverlap, r.PromotedAt.Add(c.Overlap)
	r.Blocked, r.NextAt = rotate.ReasonOverlap, r.RetireAt
	r.Rotation = &rotate.Rotation{ID: "01KAN4Q8T3V6ZP2M5Y7RD9WXB1", Reason: rotate.ReasonExpiring, Started: now.Add(-5*day - 2*time.Minute), Generation: 5,
		Target: rotate.Slot2, Asked: r.Live.Expires, New: r.Live, Committed: true, Mints: 1}
	c.Detail, c.Consumers, c.Sinks = "the previous key is still in use", []string{"city portal", "park signs"}, []string{"vault", "tile-proxy-file"}
	c.Gates = []string{"proxy-log"}
	c.Hooks = []string{"change-ticket"}
}

// second moves the credential's served key into slot 2; slot 1 holds the previous one.
func second(c web.Credential, promoted, now time.Time) web.Credential {
	r := &c.Record
	r.Previous = r.Live
	r.Slots[1].Use = rotate.UsePrevious
	expires := promoted.Add(364 * day).Truncate(day).Add(-time.Second)
	r.Live = rotate.KeyFacts{Slot: rotate.Slot2, Fingerprint: fingerprint(rotate.Slot2, 77), Generation: r.Previous.Generation + 1, Expires: expires,
		LatestExpiry: expires, MintedAt: promoted.Add(-time.Minute)}
	r.Slots[2] = rotate.SlotState{Use: rotate.UseLive, Key: r.Live, Asked: expires, Active: true, Expires: expires, SeenAt: now.Add(-time.Hour)}
	r.PromotedAt = promoted
	c.DueAt = expires.Add(-30 * day)
	c.StartAt = c.DueAt
	return c
}

func critical(c *web.Credential, now time.Time) {
	expireIn(c, 41*time.Hour, now)
	r := &c.Record
	r.Due, r.Blocked, r.Attempts, r.LastKind = rotate.ReasonExpiring, rotate.ReasonBackoff, 14, rotate.KindTransient
	r.LastError, r.LastFailure = "write kv/apps/crew-tablets to sink vault: transient (sealed): Vault is sealed", now.Add(-9*time.Minute)
	r.RetryAt, r.NextAt, c.NextAt = now.Add(6*time.Minute), now.Add(6*time.Minute), now.Add(6*time.Minute)
	c.Detail, c.Consumers = "after 14 failures", []string{"crew tablets", "dispatch"}
	c.Attention, c.Cure = "the served key expires within 3 days", "rotatord plan crew-tablets"
}

func quarantined(c *web.Credential, now time.Time) {
	c.Record.Quarantine = &rotate.Quarantine{Since: now.Add(-26 * time.Hour), Reason: "the new key would have been due again at once: the portal gave it a date 10 days away"}
	c.Record.Blocked = rotate.ReasonQuarantined
	c.Detail = c.Record.Quarantine.Reason
	c.Attention, c.Cure = "quarantined: "+c.Record.Quarantine.Reason, "rotatord resume dashboard-ops"
}

func held(c *web.Credential, now time.Time) {
	c.Portal, c.Product = "enterprise", "enterprise"
	c.Hold = &rotate.Hold{Reason: "change freeze CHG-4711", By: "maria", Since: now.Add(-50 * time.Hour), Until: now.Add(70 * time.Hour)}
	c.Record.Hold, c.Record.Blocked = c.Hold, rotate.ReasonHeld
	c.Detail = "held by maria: change freeze CHG-4711"
}

func watched(c *web.Credential, now time.Time) {
	expireIn(c, 33*day, now)
	c.Mode, c.Record.Blocked, c.Detail = rotate.ModeWatch, rotate.ReasonWatch, "mode is watch"
}

func drifted(c *web.Credential, now time.Time) {
	r := &c.Record
	r.Drift, r.DriftSince, r.DriftDetail = rotate.DriftSinkForeign, now.Add(-95*time.Minute), "sink vault serves foreign-9f1c22ab, which rotatord did not write"
	r.Blocked = rotate.ReasonDrift
	c.Detail, c.Consumers = r.DriftDetail, []string{"flood forecast"}
	c.Attention, c.Cure = "journal, sinks and portal disagree (sink_foreign)", "rotatord plan flood-model"
}

func dead(c *web.Credential, now time.Time) {
	expireIn(c, 24*day, now)
	r := &c.Record
	r.DeadAt, r.Due, r.Blocked = now.Add(-17*time.Minute), rotate.ReasonDead, rotate.ReasonOccupied
	r.Slots[2] = rotate.SlotState{Active: true, Expires: now.Add(200 * day), SeenAt: now.Add(-time.Minute)}
	c.Detail = "slot 2: a valid key of somebody unknown; `rotatord adopt NAME --take-slot N` allows its use"
	c.Consumers = []string{"hydrant app", "engine 3 tablet", "control room"}
	c.Attention, c.Cure = "the served key is dead", "rotatord plan hydrants"
}

func waiting(c *web.Credential, now time.Time) {
	expireIn(c, 19*day, now)
	c.Record.Due, c.Record.Blocked = rotate.ReasonExpiring, rotate.ReasonWindow
	c.NextAt = now.Add(31 * time.Hour)
	c.StartAt, c.Record.NextAt, c.Detail = c.NextAt, c.NextAt, "opens "+c.NextAt.Format(time.RFC3339)
}

func publishing(c *web.Credential, now time.Time) {
	r := &c.Record
	expireIn(c, 28*day, now)
	r.Phase, r.Due, r.Blocked = rotate.PhasePublishing, rotate.ReasonExpiring, ""
	key := rotate.KeyFacts{Slot: rotate.Slot2, Fingerprint: fingerprint(rotate.Slot2, 11), Generation: r.Live.Generation + 1, Expires: now.Add(363 * day), MintedAt: now.Add(-40 * time.Second)}
	r.Rotation = &rotate.Rotation{ID: "01KANB0Z7S5T1K3N8C4QG6HJVE", Reason: rotate.ReasonExpiring, Started: now.Add(-75 * time.Second), Generation: key.Generation,
		Target: rotate.Slot2, Asked: key.Expires, New: key, Mints: 1}
	r.Slots[2] = rotate.SlotState{Use: rotate.UseOwn, Key: key, Active: true, Asked: key.Expires, Expires: key.Expires, SeenAt: now.Add(-30 * time.Second),
		Intent: &rotate.Intent{Effect: rotate.EffectMint, RotationID: r.Rotation.ID, SentAt: now.Add(-42 * time.Second), Outcome: rotate.OutcomeDone}}
	c.NextAt = now.Add(time.Second)
}

func unadopted(c *web.Credential, now time.Time) {
	c.Record = rotate.Record{Name: c.Name, Epoch: 1, SurveyedAt: now.Add(-time.Hour), Blocked: rotate.ReasonUnadopted}
	c.DueAt, c.StartAt = time.Time{}, time.Time{}
	c.Detail = "never adopted: `rotatord adopt survey-forms`"
	c.Attention, c.Cure = "never adopted", "rotatord adopt survey-forms"
}

// Many healthy credentials, and one in a hundred with a problem.
func Many(n int, now time.Time) []web.Credential {
	out := make([]web.Credential, n)
	for i := range out {
		c := Healthy(i, fmt.Sprintf("credential-%05d", i), time.Duration(i%340)*day, now)
		c.Owner, c.Environment = fmt.Sprintf("team-%02d", i%40), []string{"production", "staging", "test"}[i%3]
		c.Portal = rotate.PortalID(fmt.Sprintf("portal-%d", i%4))
		switch {
		case i%100 == 7:
			critical(&c, now)
		case i%50 == 3:
			waiting(&c, now)
		}
		out[i] = c
	}
	return out
}

// History of a rotation, some probes, and one failure.
func History(now time.Time) func(context.Context, rotate.Name, int) ([]web.Event, error) {
	return func(_ context.Context, name rotate.Name, limit int) ([]web.Event, error) {
		if name == "tree-inventory" {
			return nil, errors.New("read history: the journal is busy")
		}
		const id = "01KAN4Q8T3V6ZP2M5Y7RD9WXB1"
		begin := now.Add(-5*day - 2*time.Minute)
		var out []web.Event
		add := func(after time.Duration, e rotate.Event) {
			e.At, e.Name = begin.Add(after), name
			out = append(out, web.Event{Seq: int64(len(out) + 1), Event: e})
		}
		effect := func(after time.Duration, ph rotate.Phase, ef rotate.Effect, change func(*rotate.Event)) {
			e := rotate.Event{Kind: rotate.EventEffect, Phase: ph, Effect: ef, Result: rotate.ResultOK, RotationID: id, Slot: rotate.Slot2, Took: 180 * time.Millisecond}
			if change != nil {
				change(&e)
			}
			add(after, e)
		}
		add(-400*day, rotate.Event{Kind: rotate.EventAdopted, Actor: "maria", Detail: "slot 1 serves " + string(fingerprint(rotate.Slot1, 2)), Slot: rotate.Slot1})
		for i := range 70 {
			effect(time.Duration(i-80)*4*day, rotate.PhaseIdle, rotate.EffectSurvey, func(e *rotate.Event) { e.RotationID, e.Slot = "", 0 })
		}
		add(0, rotate.Event{Kind: rotate.EventStarted, Phase: rotate.PhaseClaiming, Reason: rotate.ReasonExpiring, RotationID: id, Slot: rotate.Slot2})
		effect(time.Second, rotate.PhaseClaiming, rotate.EffectClaim, func(e *rotate.Event) { e.Sink = "vault" })
		effect(2*time.Second, rotate.PhaseDating, rotate.EffectDate, nil)
		effect(3*time.Second, rotate.PhaseMinting, rotate.EffectMint, func(e *rotate.Event) { e.Fingerprint, e.Generation = fingerprint(rotate.Slot2, 77), 5 })
		effect(4*time.Second, rotate.PhaseProving, rotate.EffectProve, nil)
		write := func(e *rotate.Event, sink string) {
			e.Sink, e.Generation, e.Fingerprint = sink, 5, fingerprint(rotate.Slot2, 77)
		}
		effect(5*time.Second, rotate.PhasePublishing, rotate.EffectPublish, func(e *rotate.Event) { write(e, "vault") })
		effect(6*time.Second, rotate.PhasePublishing, rotate.EffectPublish, func(e *rotate.Event) {
			write(e, "tile-proxy-file")
			e.Result, e.Error = rotate.Result(rotate.KindTransient), "write /srv/keys/city-portal.key to sink tile-proxy-file: transient: no space left on device"
		})
		effect(100*time.Second, rotate.PhasePublishing, rotate.EffectPublish, func(e *rotate.Event) { write(e, "tile-proxy-file") })
		add(2*time.Minute, rotate.Event{Kind: rotate.EventPromoted, Phase: rotate.PhaseOverlap, Reason: rotate.ReasonExpiring, RotationID: id, Slot: rotate.Slot2,
			Fingerprint: fingerprint(rotate.Slot2, 77), Generation: 5})
		if name != "city-portal" {
			limit = min(limit, 4)
		}
		return out[max(0, len(out)-limit):], nil
	}
}

// Usage of a week.
func Usage(now time.Time) func(context.Context, rotate.Name) (web.Usage, error) {
	return func(_ context.Context, name rotate.Name) (web.Usage, error) {
		if name != "city-portal" {
			return web.Usage{Note: "The portal has no usage by API.", Link: web.Link{Text: "Usage at Esri", URL: "https://location.arcgis.com/usage/credentials/"}}, nil
		}
		u := web.Usage{Facts: []string{"Last full day, 2026-11-21: 182,340 requests, 12.50 credits.", "Budget for the month: 150.00 of 200.00 credits (75 %)."},
			Wants: []string{"The month's budget is over its warning level of 70 %."}}
		for i := range 7 {
			u.Rows = append(u.Rows, web.UsageRow{Day: now.Truncate(day).Add(-time.Duration(i+1) * day), Service: "basemap tiles", Requests: float64(182340 - 911*i), Credits: 12.5 - float64(i)/3})
		}
		return u, nil
	}
}

// Settings that a person changed at the portal.
func Settings(now time.Time) func(rotate.Name) *web.Settings {
	return func(name rotate.Name) *web.Settings {
		if name != "city-portal" {
			return nil
		}
		return &web.Settings{Says: "title differs from the config; tags taken as meant from the portal", CheckedAt: now.Add(-20 * time.Minute), Differ: true,
			Diff: "title (edited in place, harmless)\n  - City portal (old)\n  + City portal\n", Adopted: "tags (edited in place, harmless)\n  - maps\n"}
	}
}

// Acks of a gate that waits for two consumers.
func Acks(now time.Time) func(context.Context, rotate.Name) ([]web.Ack, error) {
	return func(_ context.Context, name rotate.Name) ([]web.Ack, error) {
		if name != "city-portal" {
			return nil, nil
		}
		return []web.Ack{{Consumer: "city portal", Expected: true, State: "the live key", Fingerprint: fingerprint(rotate.Slot2, 77), Generation: 5, At: now.Add(-4 * day), By: "city portal"},
			{Consumer: "park signs", Expected: true, State: "nothing that it told of"}}, nil
	}
}

// Forecast as a planner makes it: each key is replaced when it may start and the old one
// invalidated after the overlap; who is not let dies.
func Forecast(list []web.Credential, now time.Time) *web.Forecast {
	f := &web.Forecast{Made: now.Add(-20 * time.Second), Until: now.AddDate(0, 0, 400)}
	for _, c := range list {
		at, end := c.StartAt, c.Record.Live.Expires
		if at.Before(now) {
			at = now.Add(2 * time.Minute)
		}
		switch {
		case end.IsZero():
			f.Unknown = append(f.Unknown, c.Name)
			continue
		case c.Mode != rotate.ModeRotate:
			f.Events = append(f.Events, web.Foreseen{At: end, Name: c.Name, What: web.ForeseenDeath, Slot: 1, Detail: "it is only watched"})
			continue
		case c.Record.Drift != rotate.DriftNone:
			f.Events = append(f.Events, web.Foreseen{At: end, Name: c.Name, What: web.ForeseenDeath, Slot: 1, Detail: "it is in drift (" + string(c.Record.Drift) + ")"})
			continue
		}
		left := end.Sub(at)
		f.Events = append(f.Events, web.Foreseen{At: at, Name: c.Name, What: web.ForeseenRotation, Slot: 2, Left: left, Late: left < c.CriticalBefore},
			web.Foreseen{At: at.Add(c.Overlap), Name: c.Name, What: web.ForeseenRetire, Slot: 1})
	}
	slices.SortStableFunc(f.Events, func(a, b web.Foreseen) int { return a.At.Compare(b.At) })
	return f
}

// Options to show a fleet with.
func Options(list func(now time.Time) []web.Credential, now time.Time) web.Options {
	return web.Options{Snapshot: list, Status: func(now time.Time) any {
		names := []rotate.Name{}
		for _, c := range list(now) {
			names = append(names, c.Name)
		}
		return names
	}, History: History(now), Usage: Usage(now), Settings: Settings(now), Acks: Acks(now),
		Forecast: func(context.Context) *web.Forecast { return Forecast(list(now), now) },
		Daemon: func() web.Daemon {
			return web.Daemon{Version: "v1.4.0", Instance: "01K9ZQ4D6WX2", Started: now.Add(-12 * day)}
		}}
}
