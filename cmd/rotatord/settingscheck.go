package main

import (
	"context"

	"rotatord/internal/portal"
	"rotatord/internal/rotate"
)

// checkItems tries what searches and groups of a portal's credentials come to.
func (a *adapters) checkItems(ctx context.Context, name string) []finding {
	var out []finding
	for _, cr := range a.cfg.Credentials {
		spec := a.cfg.Spec(cr)
		if cr.Portal != name || spec == nil || !spec.Sourced() {
			continue
		}
		if _, err := resolved(ctx, a.portals[name], spec); err != nil {
			f := finding{Severity: string(portal.SeverityError), Portal: name, Credential: rotate.Name(cr.Name),
				Sentence: "The items that its key may read cannot be told: " + err.Error() + ".", Cure: "correct create.items_search or create.items_group, or write the ids under create.items"}
			if rotate.KindOf(err) != rotate.KindPermanent {
				f.Severity, f.Cure = string(portal.SeverityWarning), "try again once the portal answers"
			}
			out = append(out, f)
		}
	}
	return out
}
