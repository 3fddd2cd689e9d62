package main

import (
	"context"
	"time"

	"rotatord/internal/portal"
	"rotatord/internal/rotate"
	used "rotatord/internal/usage"
)

// checkUsage tries to read what one credential of a portal used: which right that takes
// is written nowhere. Where it cannot, keys are rotated all the same.
func (a *adapters) checkUsage(ctx context.Context, name string) []finding {
	for _, t := range usageTargets(a.cfg, a.portals) {
		if t.ID.Portal != rotate.PortalID(name) || t.Reader == nil {
			continue
		}
		client, err := t.Reader.ClientID(ctx, t.ID)
		if err != nil {
			continue // Check says so
		}
		now := time.Now()
		if _, err = t.Reader.Use(ctx, client, (used.DayOf(now) - 1).Start(), now); err == nil {
			return nil
		}
		f := finding{Severity: string(portal.SeverityWarning), Portal: name,
			Sentence: "What its credentials use cannot be read, so their budgets and spikes are not known: " + err.Error() + ".",
			Cure:     "write usage: never at the portal, and import files with rotatord usage import"}
		if rotate.CauseOf(err) == rotate.CauseForbidden {
			f.Cure = "give the identity the role administrator or portal:admin:createReports, or " + f.Cure
		}
		return []finding{f}
	}
	return nil
}
