package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"rotatord/internal/config"
	"rotatord/internal/journal"
	"rotatord/internal/rotate"
)

// retiredWord is the hold that a sink keeps of a credential that was retired.
const retiredWord = "retired for good"

func retiredMeta(m *rotate.Meta) bool {
	return m != nil && m.Hold != nil && m.Hold.Reason == retiredWord
}

// readJournal beside whoever has it; nil where there is none yet.
func readJournal(ctx context.Context, cfg *config.Config) (*journal.DB, error) {
	db, err := journal.Open(ctx, journal.Options{Path: journalPath(cfg), ReadOnly: true})
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return db, err
}

// retired credentials by their items.
func (a *adapters) retired(ctx context.Context) (gone map[rotate.ID]journal.Retired, err error) {
	db, err := readJournal(ctx, a.cfg)
	if db == nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return retiredByID(ctx, db)
}

func retiredByID(ctx context.Context, db *journal.DB) (map[rotate.ID]journal.Retired, error) {
	list, err := db.Retired(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[rotate.ID]journal.Retired, len(list))
	for _, r := range list {
		out[r.ID] = r
	}
	return out, nil
}

func retiredText(r journal.Retired, file string) string {
	return fmt.Sprintf("credential %s was retired on %s by %s: remove it from %s", r.Name, r.At.Format(time.DateOnly), r.By, file)
}

// withoutRetired leaves out what was retired for good, and says what that is.
func withoutRetired(ctx context.Context, cfg *config.Config, db *journal.DB) (*config.Config, []string, error) {
	if db == nil {
		return cfg, nil, nil
	}
	gone, err := retiredByID(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	names, texts := map[config.Name]bool{}, map[string]bool{}
	for _, cr := range cfg.Credentials {
		if r, ok := gone[rotate.ID{Portal: rotate.PortalID(cr.Portal), Item: rotate.ItemID(cr.Item)}]; ok {
			names[cr.Name] = true
			texts[retiredText(r, cfg.Name())] = true
		}
	}
	return cfg.Without(names), slices.Sorted(maps.Keys(texts)), nil
}

// retiredError stops what would bring a retired credential back unasked.
type retiredError struct{ why string }

func (e *retiredError) Error() string { return e.why }

// refuseRetired what is to be made, or edited, and was retired for good.
func (a *adapters) refuseRetired(ctx context.Context, cr *config.Credential, asked bool) error {
	gone, err := a.retired(ctx)
	if err != nil {
		return err
	}
	for id, r := range gone {
		switch {
		case id.Portal == rotate.PortalID(cr.Portal) && id.Item == rotate.ItemID(cr.Item):
			return &retiredError{retiredText(r, a.cfg.Name())}
		case !cr.Made() && !asked && r.Name == rotate.Name(cr.Name):
			return &retiredError{fmt.Sprintf("a credential of that name was retired on %s by %s; --again makes a new one", r.At.Format(time.DateOnly), r.By)}
		}
	}
	return nil
}

// releaseSinks of a retired credential to one that a person wants there: what is cleared or deleted
// counts as never written from then on, since a vanished key would stop the first one.
func (a *adapters) releaseSinks(ctx context.Context, cr *config.Credential) error {
	gone, err := a.retired(ctx)
	if err != nil {
		return err
	}
	known := false
	for _, r := range gone {
		known = known || r.Name == rotate.Name(cr.Name)
	}
	if !known {
		return nil
	}
	list, err := a.sinksOf(cr)
	if err != nil {
		return err
	}
	for _, s := range list {
		e, err := s.Read(ctx)
		if err != nil {
			return err
		}
		if e.Ever && e.Key.IsZero() && (e.Meta == nil || retiredMeta(e.Meta)) {
			if _, err := s.Write(ctx, rotate.Entry{Meta: &rotate.Meta{Format: rotate.MetaFormat}}, e.Version); err != nil {
				return err
			}
		}
	}
	return nil
}
