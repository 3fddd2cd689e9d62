package daemon

import (
	"context"
	"testing"

	"rotatord/internal/rotate"
)

// obeying is a journal that stops reading when it is told to.
type obeying struct{ *fakeEngine }

func (j obeying) List(ctx context.Context) ([]rotate.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return j.fakeEngine.List(ctx)
}

// A SIGTERM that comes before the journal was read is a clean stop.
func TestStoppedBeforeItsFirstLook(t *testing.T) {
	e := newFakeEngine(t)
	d, err := New(Options{Fleet: fleetOf(map[rotate.PortalID]int{"a": 1}), Engine: e, Journal: obeying{e}, Monitor: &fakeMonitor{}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := d.Run(ctx); err != nil {
		t.Errorf("run = %v, want a clean stop", err)
	}
}
