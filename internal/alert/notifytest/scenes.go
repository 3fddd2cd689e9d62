package notifytest

import (
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/rotate"
)

// view of a credential about which there is nothing to tell.
func view(now time.Time) alert.View {
	const day = 24 * time.Hour
	return alert.View{Name: "store-locator", Portal: "acme", Item: "4f1c9e0b7a6d4e0f8b2a6c1d3e5f7a9b", Owner: "Maps", Environment: "production",
		Consumers: []string{"shop.acme.example", "mobile app"}, Sinks: []string{"kv"}, Mode: rotate.ModeRotate, DueAt: now.Add(100 * day), CriticalBefore: 3 * day,
		Links: []alert.Link{{Text: "Item at the portal", URL: "https://acme.maps.arcgis.com/home/item.html?id=4f1c9e0b7a6d4e0f8b2a6c1d3e5f7a9b#settings"}},
		Record: rotate.Record{Name: "store-locator", Epoch: 7, AdoptedAt: now.Add(-100 * day), Phase: rotate.PhaseIdle,
			Live: rotate.KeyFacts{Slot: rotate.Slot1, Fingerprint: "AT1_H4JC97kO-1a2b3c4d", Generation: 3, Expires: now.Add(130 * day)}}}
}

// change the credential of a scene.
func change(f func(now time.Time, v *alert.View)) func(time.Time, *alert.Scene) {
	return func(now time.Time, s *alert.Scene) { f(now, &s.Credentials[0]) }
}

const refusedDial = "dial tcp 10.0.0.1:443: connect: connection refused"

// ends brings the end of the served key near: it was due some days before.
func ends(now time.Time, v *alert.View, in, due time.Duration) {
	v.Record.Live.Expires, v.DueAt = now.Add(in), now.Add(in-due)
	v.Record.Due = rotate.ReasonExpiring
}

// scenes in which each condition holds.
func scenes() map[alert.Condition]func(time.Time, *alert.Scene) {
	const day = 24 * time.Hour
	out := map[alert.Condition]func(time.Time, *alert.Scene){
		alert.ConditionDead: change(func(now time.Time, v *alert.View) { v.Record.DeadAt = now }),
		alert.ConditionExpiring: change(func(now time.Time, v *alert.View) {
			ends(now, v, 20*time.Hour, 10*day)
			v.Mode = rotate.ModeWatch
		}),
		alert.ConditionHeld: change(func(now time.Time, v *alert.View) {
			ends(now, v, 8*day, 10*day)
			v.Record.Blocked = rotate.ReasonHeld
			v.Record.Hold = &rotate.Hold{Reason: "the shop is frozen until Monday", By: "slack:U0ADA00001 (ada)", Since: now.Add(-3 * day)}
		}),
		alert.ConditionStopped: change(func(now time.Time, v *alert.View) {
			ends(now, v, 9*day, 10*day)
			v.Record.Blocked = rotate.ReasonFleetStop
		}),
		alert.ConditionQuarantined: change(func(now time.Time, v *alert.View) {
			v.Record.Quarantine = &rotate.Quarantine{Since: now, Reason: "the new key left its own reason true"}
			v.Record.LastError = "rotate store-locator: the new key ends no later than the old one"
		}),
		alert.ConditionFailing: change(func(now time.Time, v *alert.View) {
			ends(now, v, 9*day, 10*day)
			v.Record.Phase, v.Record.Attempts, v.Record.NextAt = rotate.PhaseProving, 4, now.Add(12*time.Minute)
			v.Record.Rotation = &rotate.Rotation{ID: "01JABCDEF0123456789ABCDEFG", Reason: rotate.ReasonExpiring, Started: now.Add(-time.Hour), Generation: 4}
			v.Record.LastError = "prove the new key of slot 2: permanent: the portal shows other privileges than before"
		}),
		alert.ConditionStuck: change(func(now time.Time, v *alert.View) {
			v.Record.Phase, v.Record.Blocked = rotate.PhasePublishing, rotate.ReasonUnreachable
			v.Record.LastError = "publish store-locator to kv: transient: " + refusedDial
			v.Record.NextAt = now.Add(26 * time.Hour)
		}),
		alert.ConditionDrift: change(func(now time.Time, v *alert.View) {
			v.Record.Drift, v.Record.DriftSince = rotate.DriftSinkForeign, now.Add(-10*time.Minute)
		}),
		alert.ConditionOccupied: change(func(now time.Time, v *alert.View) {
			ends(now, v, 9*day, 10*day)
			v.Record.Blocked = rotate.ReasonOccupied
		}),
		alert.ConditionOverdue: change(func(now time.Time, v *alert.View) {
			ends(now, v, 40*day, 60*day)
			v.Record.Blocked = rotate.ReasonWindow
		}),
		alert.ConditionOrphan: change(func(_ time.Time, v *alert.View) {
			v.Record.Slots[rotate.Slot2] = rotate.SlotState{Told: true, Active: true}
		}),
		alert.ConditionUnadopted: change(func(_ time.Time, v *alert.View) { v.Record.AdoptedAt = time.Time{} }),
		alert.ConditionSettings: change(func(_ time.Time, v *alert.View) {
			v.Settings = &alert.Settings{Known: true, Differ: 2, KillKeys: 1, Says: "2 settings differ: privileges (its change kills both keys), tags"}
		}),
		alert.ConditionStraggling: change(func(now time.Time, v *alert.View) {
			overlapped(now, v)
			v.Record.Blocked, v.Detail = rotate.ReasonGate, "acks: mobile said it runs the previous key (generation 2) 3 days ago"
		}),
		alert.ConditionUnretired: change(func(now time.Time, v *alert.View) {
			overlapped(now, v)
			v.Record.Revoke = rotate.Ladder{Attempts: 3, Since: now.Add(-time.Hour), Error: "revoke slot 2: forbidden: the portal answers code 403"}
		}),
	}
	addUses(out)
	addHealth(out)
	return out
}

// overlapped is a credential whose old key should have been gone for two hours.
func overlapped(now time.Time, v *alert.View) {
	v.Record.Phase, v.Record.RetireAt = rotate.PhaseOverlap, now.Add(-2*time.Hour)
	v.Record.Previous = rotate.KeyFacts{Slot: rotate.Slot2, Fingerprint: "AT2_x9d8c7b6-5e4f3a2b", Generation: 2, Expires: now.Add(9 * 24 * time.Hour)}
}

func addUses(out map[alert.Condition]func(time.Time, *alert.Scene)) {
	add := func(c alert.Condition, f func(u *alert.Use)) {
		out[c] = func(now time.Time, s *alert.Scene) {
			yesterday := now.Add(-24 * time.Hour).Truncate(24 * time.Hour)
			u := alert.Use{Credential: "store-locator", Page: "https://acme.maps.arcgis.com/home/item.html?id=4f1c9e0b7a6d4e0f8b2a6c1d3e5f7a9b#usage", Day: yesterday,
				Services: []alert.Figures{{Requests: 18200, Credits: 728, UsualRequests: 17900, UsualCredits: 716, HasUsual: true}},
				Month:    alert.Figures{Requests: 402000, Credits: 16080}, Until: now.Add(-3 * time.Hour),
				Budgets: []alert.Budget{{Period: "month", Credits: 20000, Used: 16080, Share: 0.804}}}
			f(&u)
			s.Uses = []alert.Use{u}
		}
	}
	add(alert.ConditionBudget, func(u *alert.Use) { u.Budgets[0].Level = 0.8 })
	add(alert.ConditionCutOff, func(u *alert.Use) {
		u.CutOff, u.CutOffOn, u.Budgets[0] = "invalidating", true, alert.Budget{Period: "month", Credits: 20000, Used: 20340, Share: 1.017}
	})
	add(alert.ConditionSpike, func(u *alert.Use) {
		u.Spike = true
		u.Services = []alert.Figures{{Requests: 96400, Credits: 3856, UsualRequests: 17900, UsualCredits: 716, HasUsual: true, Spike: true},
			{Service: "geocode", Requests: 81000, Credits: 3240, UsualRequests: 2400, UsualCredits: 96, HasUsual: true, Spike: true}}
	})
	add(alert.ConditionSilent, func(u *alert.Use) {
		u.Silent, u.Services[0].Requests, u.Services[0].Credits = true, 0, 0
	})
}

func addHealth(out map[alert.Condition]func(time.Time, *alert.Scene)) {
	portal := func(c alert.Condition, f func(now time.Time, p *alert.PortalHealth)) {
		out[c] = func(now time.Time, s *alert.Scene) {
			p := alert.PortalHealth{Portal: "acme", Known: true, SurveyedAt: now.Add(-3 * time.Minute)}
			f(now, &p)
			s.Health.Portals = []alert.PortalHealth{p}
		}
	}
	portal(alert.ConditionUnreachable, func(now time.Time, p *alert.PortalHealth) {
		p.DownSince, p.Why = now, "list items: transient: "+refusedDial
	})
	portal(alert.ConditionIdentity, func(now time.Time, p *alert.PortalHealth) { p.IdentityExpires = now.Add(3 * 24 * time.Hour) })
	portal(alert.ConditionClock, func(_ time.Time, p *alert.PortalHealth) { p.Offset = -3*time.Minute - 20*time.Second })
	portal(alert.ConditionSurveyStale, func(now time.Time, p *alert.PortalHealth) {
		p.SurveyDue, p.SurveyedAt, p.Why = now.Add(-2*time.Hour), now.Add(-2*time.Hour-5*time.Minute), "list items: rate_limited: HTTP 429"
	})
	down := out[alert.ConditionUnreachable]
	out[alert.ConditionUnreachable] = func(now time.Time, s *alert.Scene) { // and a rotation that waits for it
		down(now, s)
		s.Credentials[0].Record.Attempts = 3
		ends(now, &s.Credentials[0], 9*24*time.Hour, 10*24*time.Hour)
	}
	out[alert.ConditionSinkFailing] = func(now time.Time, s *alert.Scene) {
		s.Health.Sinks = []alert.SinkHealth{{Sink: "kv", Known: true, Vault: true, FailingSince: now, Why: "write: forbidden"}}
		s.Credentials[0].Record.Attempts = 3
	}
	out[alert.ConditionVaultToken] = func(now time.Time, s *alert.Scene) {
		s.Health.Sinks = []alert.SinkHealth{{Sink: alert.VaultSubject, Known: true, Vault: true, TokenExpires: now.Add(20 * time.Second), Why: "sign-in: forbidden"}}
	}
	out[alert.ConditionReload] = func(now time.Time, s *alert.Scene) {
		s.Health.Daemon = alert.DaemonHealth{ReloadRefused: now, ReloadError: "/etc/rotatord/config.yaml:42:7: credentials[3].polcy is no key; did you mean policy?"}
	}
	out[alert.ConditionCrashed] = func(now time.Time, s *alert.Scene) {
		s.Health.Daemon = alert.DaemonHealth{Crashes: []time.Time{now.Add(-9 * time.Hour), now.Add(-2 * time.Hour), now}}
	}
}
