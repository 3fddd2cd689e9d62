package daemon

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/quiet"
	"rotatord/internal/rotate"
)

func TestAdminAcks(t *testing.T) {
	c, _ := serve(t, &fakeService{})
	got, err := c.Ack(t.Context(), quiet.Ack{Name: "somebody", Consumer: "shop", Generation: 7, By: "the queen"})
	if err != nil || got.State != quiet.StateLive || got.By != Actor() {
		t.Errorf("ack = %+v, %v, want the kernel's word for who acknowledged", got, err)
	}
	_, err = c.Ack(t.Context(), quiet.Ack{Name: "somebody", Consumer: "shop", Fingerprint: "AAPTnot-a-fingerprint"})
	if e, ok := errors.AsType[*RemoteError](err); !ok || e.Status != 400 || strings.Contains(e.Text, "AAPT") {
		t.Errorf("ack with a key = %v, want a refusal that does not repeat it", err)
	}
	all, err := c.Acks(t.Context(), "somebody")
	if err != nil || all.Name != "somebody" || all.Consumers[0].Consumer != "shop" {
		t.Errorf("acks = %+v, %v", all, err)
	}
	_, err = c.Acks(t.Context(), "nobody")
	if _, ok := errors.AsType[*NotFoundError](err); !ok {
		t.Errorf("acks of nobody = %v", err)
	}
}

// ledger in memory.
type ledger struct {
	mu  sync.Mutex
	all map[string]quiet.Ack
}

func (l *ledger) Put(_ context.Context, a quiet.Ack) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[a.Consumer] = a
	return nil
}

func (l *ledger) Latest(context.Context, rotate.Name) ([]quiet.Ack, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []quiet.Ack
	for _, a := range l.all {
		out = append(out, a)
	}
	return out, nil
}

// secretGate is asked by the engine alone.
type secretGate struct{ t *testing.T }

func (secretGate) Name() string { return "command x" }
func (g secretGate) Ask(context.Context, rotate.Quiet) (rotate.QuietAnswer, error) {
	g.t.Error("a gate that runs a program was asked by somebody who may only read")
	return rotate.QuietAnswer{}, nil
}

// Every new acknowledgement is ordered into the history, after which the credential is looked at; a repeated one is not.
func TestANewAckIsOrdered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFakeEngine(t)
		live := rotate.KeyFacts{Generation: 7, Fingerprint: "AT1_abcdefgh-00000007"}
		e.advance = func(_ context.Context, _ *rotate.Credential, r rotate.Record) rotate.AdvanceResult {
			r.Live = live
			return rotate.AdvanceResult{Record: r, Next: time.Now().Add(24 * time.Hour), Healthy: true}
		}
		l := &ledger{all: map[string]quiet.Ack{}}
		gate, err := quiet.NewAcks(l, []string{"shop", "app"})
		if err != nil {
			t.Fatal(err)
		}
		f := fleetOf(map[rotate.PortalID]int{"a": 1})
		name := f.Credentials[0].Name
		f.Credentials[0].Gates = []rotate.Gate{gate, secretGate{t}}
		d := startDaemon(t, e, Options{Fleet: f})
		v := &Verbs{Daemon: d.Daemon, Journal: e, Ledger: l}
		synctest.Wait()
		before := len(e.called(name))
		say := func(consumer string, want int, missing ...string) {
			t.Helper()
			got, err := v.Ack(t.Context(), quiet.Ack{Name: name, Consumer: consumer, Generation: 7, By: "test"})
			if err != nil || strings.Join(got.Missing, " ") != strings.Join(missing, " ") || got.At.IsZero() {
				t.Errorf("%s: receipt %+v, %v, want missing %q", consumer, got, err, missing)
			}
			synctest.Wait()
			if n := len(e.called(name)) - before; n != want {
				t.Errorf("%s: %d calls, want %d", consumer, n, want)
			}
		}
		say("shop", 2, "app") // the order, and the look after it
		say("stranger", 4, "app")
		say("app", 6)
		say("app", 6) // nothing new
		for _, c := range e.called(name) {
			if c.what != "advance" && c.what != string(rotate.CommandAck) {
				t.Errorf("ordered %s", c.what)
			}
		}
		all, err := v.Acks(t.Context(), name)
		if err != nil || len(all.Consumers) != 3 || len(all.Gates) != 2 || !all.Gates[0].Quiet || all.Gates[1].Asked || all.Live != live {
			t.Errorf("acks = %+v, %v", all, err)
		}
		if _, err := v.Ack(t.Context(), quiet.Ack{Name: "nobody", Consumer: "shop", Generation: 7}); !errors.As(err, new(*NotFoundError)) {
			t.Errorf("ack of nobody = %v", err)
		}
		d.end(t)
	})
}

func TestAcksWithoutJournal(t *testing.T) {
	f := fleetOf(map[rotate.PortalID]int{"a": 1})
	v := &Verbs{Fleet: f, Journal: newFakeEngine(t)}
	if _, err := v.Acks(t.Context(), f.Credentials[0].Name); !errors.Is(err, errNoLedger) {
		t.Errorf("acks without a journal = %v", err)
	}
}
