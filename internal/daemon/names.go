package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rotatord/internal/rotate"
)

// Naming is a credential that the config calls otherwise than the journal. A credential
// is its portal and its item; the name is a label, and the journal follows it.
type Naming struct {
	From, To rotate.Name
}

type actorKey struct{}

// WithActor says who asked for what is done under ctx, for the history.
func WithActor(ctx context.Context, who string) context.Context {
	return context.WithValue(ctx, actorKey{}, who)
}

// ActorOf ctx; "" where nobody asked.
func ActorOf(ctx context.Context) string {
	who, _ := ctx.Value(actorKey{}).(string)
	return who
}

// Namings finds, in a fleet that is to be looked after, what the journal knows under a name that
// is gone from the config. Where the journal knows the new name already, nothing is followed.
func Namings(records []rotate.Record, f *Fleet) []Naming {
	ids := make(map[rotate.ID][]rotate.Name, len(records))
	known := make(map[rotate.Name]bool, len(records))
	for _, r := range records {
		if r.Epoch > 0 && r.ID != (rotate.ID{}) {
			for _, id := range append(slices.Clip(r.Formerly), r.ID) {
				ids[id] = append(ids[id], r.Name)
			}
			known[r.Name] = true
		}
	}
	inUse := f.byName()
	var out []Naming
	for _, m := range f.Credentials {
		if names := ids[m.ID]; !known[m.Name] && len(names) == 1 && inUse[names[0]] == nil {
			out = append(out, Naming{From: names[0], To: m.Name})
		}
	}
	slices.SortFunc(out, func(a, b Naming) int { return strings.Compare(string(a.To), string(b.To)) })
	return out
}

// takeOver a new fleet. Credentials that are called otherwise now are let come to rest first: from
// then on no worker has the record that goes to another name.
func (d *Daemon) takeOver(ctx context.Context, fleet *Fleet) (res ReloadResult, err error) {
	listed, err := d.o.Journal.List(ctx)
	if err != nil {
		return res, fmt.Errorf("read journal: %w", err)
	}
	var namings []Naming
	if d.o.Rename != nil {
		namings = Namings(listed, fleet)
	}
	was := make([]rotate.Name, len(namings))
	for i, n := range namings {
		was[i] = n.From
	}
	unpark, err := d.park(ctx, was)
	defer unpark()
	if err != nil {
		return res, err
	}
	records := keepAll(listed)
	callErr := d.call(ctx, func(l *loop) {
		if err = l.accept(fleet, namings); err != nil {
			return
		}
		if err = l.rename(ctx, namings, records); err == nil {
			res = l.switchTo(fleet, records, namings)
		}
	})
	return res, errors.Join(callErr, err)
}

// rename in the journal, all or none.
func (l *loop) rename(ctx context.Context, namings []Naming, records map[rotate.Name]kept) error {
	if len(namings) == 0 {
		return nil
	}
	renamed, err := l.d.o.Rename(ctx, namings)
	if err != nil {
		return err
	}
	for i := range renamed {
		records[renamed[i].Name] = keep(&renamed[i])
	}
	for _, n := range namings {
		delete(records, n.From)
	}
	return nil
}

// acceptRenamed tells why a credential cannot have another name now: a key may be in memory, and
// what is written into sinks is in the middle.
func acceptRenamed(e *entry, to rotate.Name) error {
	if e.holding || e.record.phase().InCutOver() {
		return fmt.Errorf("credential %s is named %s, but its rotation is in cut-over (%s); try again in a minute", e.m.Name, to, e.record.phase())
	}
	return nil
}

// park keeps credentials from being advanced, and returns once no worker has one of them. What it
// returns lets those go on that are still there; it is never nil.
func (d *Daemon) park(ctx context.Context, names []rotate.Name) (unpark func(), err error) {
	unpark = func() {
		_ = d.call(context.WithoutCancel(ctx), func(l *loop) { // a daemon that has ended advances nothing
			for _, n := range names {
				if e := l.entries[n]; e != nil {
					e.parked = false
				}
			}
		})
	}
	if len(names) == 0 {
		return func() {}, nil
	}
	for _, n := range names {
		for {
			var busy <-chan struct{}
			if err := d.call(ctx, func(l *loop) { busy = l.park(n) }); err != nil {
				return unpark, err
			}
			if busy == nil {
				break
			}
			select {
			case <-busy:
			case <-d.ended:
				return unpark, errStopped
			case <-ctx.Done():
				return unpark, context.Cause(ctx)
			}
		}
	}
	return unpark, nil
}

// park one credential; what it returns is closed when its worker is done, nil if none has it.
func (l *loop) park(name rotate.Name) <-chan struct{} {
	e := l.entries[name]
	if e == nil {
		return nil
	}
	e.parked = true
	if !e.running {
		return nil
	}
	if e.freed == nil {
		e.freed = make(chan struct{})
	}
	return e.freed
}

// free tells who waits for a parked credential that its worker is done.
func (e *entry) free() {
	if e.freed != nil {
		close(e.freed)
		e.freed = nil
	}
}

// End stops looking after a credential for good: once no worker has it, end is called, and where that
// succeeds nobody advances it any more. The config may still have it: the next reload is to leave it out.
func (d *Daemon) End(ctx context.Context, name rotate.Name, end func(context.Context) error) error {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	unpark, err := d.park(ctx, []rotate.Name{name})
	defer unpark()
	if err != nil {
		return err
	}
	callErr := d.call(ctx, func(l *loop) {
		e := l.entries[name]
		switch {
		case e == nil:
			err = &NotFoundError{Name: name, Known: l.gen.fleet.names()}
		case e.holding || e.record.phase().InCutOver():
			err = fmt.Errorf("credential %s: its rotation is in cut-over (%s)", name, e.record.phase())
		default:
			if err = end(ctx); err != nil {
				return
			}
			l.refuseOrders(e, errGone)
			e.gone, e.home = true, nil // its lane drops it
			delete(l.entries, name)
			l.d.shown.show(l)
		}
	})
	return errors.Join(callErr, err)
}

// left are the places that a credential had and has no more.
func left(was, is *Managed) []string {
	var out []string
	for _, place := range was.Places {
		if !slices.Contains(is.Places, place) {
			out = append(out, string(is.Name)+" is not written to "+place+" any more")
		}
	}
	return out
}
