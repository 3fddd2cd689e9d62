package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/robfig/cron/v3"

	"rotatord/internal/rotate"
)

// Engine is the domain, as the daemon uses it.
type Engine interface {
	Advance(ctx context.Context, c *rotate.Credential, s *rotate.Session) rotate.AdvanceResult
	Command(ctx context.Context, c *rotate.Credential, cmd rotate.Command) (rotate.Record, error)
}

// Managed is one credential with what people want to know about it.
type Managed struct {
	*rotate.Credential
	Product     string // of its portal
	Owner       string
	Environment string
	Consumers   []string
	Places      []string // where its sinks are, the commit point first: "kv (secret/apps/web)"
	// Settings tells how what the portal has compares with the config; nil: the config does not state it. It must not block.
	Settings func() *SettingsStatus
}

// Portal is one portal of the fleet.
type Portal struct {
	ID rotate.PortalID
	// Workers is how many of its credentials are advanced at once; 0 is DefaultWorkers.
	Workers int
	// Survey lists what the portal holds, for a light survey; nil: none.
	Survey func(ctx context.Context) ([]Seen, error)
	// SurveyAt is when; nil: only at the start.
	SurveyAt cron.Schedule
}

// Seen is what a light survey saw of one credential. It is a hint and authorises nothing.
type Seen struct {
	ID    rotate.ID
	Slots [3]rotate.ListedKey // by Slot; index 0 is unused
}

// DefaultWorkers is the limit of a portal that names none.
const DefaultWorkers = 4

// Fleet is one loaded config: what is to be looked after, and when.
type Fleet struct {
	Portals     []Portal
	Credentials []Managed
	// Tick is when every credential is asked whether it is due, besides its own due time.
	Tick cron.Schedule
	// Background runs as long as the fleet is looked after; nil: nothing.
	Background func(ctx context.Context) error
	// NeedRestart names settings that differ from those that this process was started with, and that a reload cannot
	// bring into force.
	NeedRestart []string
	// Close releases the adapters; nil: nothing to release. It is called once nothing uses them.
	Close func() error
}

// validate tells why a fleet cannot be run.
func (f *Fleet) validate() error {
	portals := map[rotate.PortalID]bool{}
	for _, p := range f.Portals {
		portals[p.ID] = true
	}
	var errs []error
	names := map[rotate.Name]bool{}
	for _, m := range f.Credentials {
		if names[m.Name] {
			errs = append(errs, fmt.Errorf("credential %s is there twice", m.Name))
		}
		names[m.Name] = true
		if !portals[m.ID.Portal] {
			errs = append(errs, fmt.Errorf("credential %s names portal %s, which is not there", m.Name, m.ID.Portal))
		}
	}
	if f.Tick == nil {
		errs = append(errs, errors.New("no schedule says when to look"))
	}
	return errors.Join(errs...)
}

// byName is every credential, for who looks up many.
func (f *Fleet) byName() map[rotate.Name]*Managed {
	all := make(map[rotate.Name]*Managed, len(f.Credentials))
	for i := range f.Credentials {
		all[f.Credentials[i].Name] = &f.Credentials[i]
	}
	return all
}

// find a credential by name.
func (f *Fleet) find(name rotate.Name) (Managed, bool) {
	for _, m := range f.Credentials {
		if m.Name == name {
			return m, true
		}
	}
	return Managed{}, false
}
