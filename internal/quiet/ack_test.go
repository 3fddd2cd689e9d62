package quiet

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

// canary looks like a key, and must never show up anywhere.
const canary = "AAPTxy8BH1VEsoebNVZXo8HurCanaryCanaryCanaryAT1_abcdefgh"

var (
	liveKey     = facts(rotate.Slot1, 7, "AT1_abcdefgh-00000007")
	previousKey = facts(rotate.Slot2, 6, "AT2_abcdefgh-00000006")
	nextKey     = facts(rotate.Slot2, 8, "AT2_abcdefgh-00000008")
)

func facts(slot rotate.Slot, generation int64, f rotate.Fingerprint) rotate.KeyFacts {
	return rotate.KeyFacts{Slot: slot, Generation: generation, Fingerprint: f}
}

func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func asked() rotate.Quiet {
	return rotate.Quiet{Name: "web", ID: rotate.ID{Portal: "online", Item: "4f"}, Live: liveKey, Previous: previousKey, RetireAt: noon(), Now: noon()}
}

// memLedger is a ledger in memory; the journal's own is tested there, and both together in cmd.
type memLedger struct {
	mu  sync.Mutex
	all []Ack
	err error
}

func (m *memLedger) Put(_ context.Context, a Ack) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(slices.DeleteFunc(m.all, func(o Ack) bool { return o.Name == a.Name && o.Consumer == a.Consumer }), a)
	return m.err
}

func (m *memLedger) Latest(_ context.Context, name rotate.Name) ([]Ack, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.all), func(a Ack) bool { return a.Name != name }), m.err
}

func acked(consumer string, generation int64, f rotate.Fingerprint) Ack {
	return Ack{Name: "web", Consumer: consumer, Generation: generation, Fingerprint: f, At: noon(), By: "test"}
}

func TestAcksGate(t *testing.T) {
	for _, tt := range []struct {
		name  string
		said  []Ack
		quiet bool
		says  string
	}{
		{"nobody", nil, false, "shop has acknowledged nothing yet; app has acknowledged nothing yet"},
		{"both", []Ack{acked("shop", 7, liveKey.Fingerprint), acked("app", 7, liveKey.Fingerprint)}, true, "all of shop, app run generation 7"},
		{"by fingerprint alone", []Ack{acked("shop", 0, liveKey.Fingerprint), acked("app", 7, liveKey.Fingerprint)}, true, "generation 7"},
		{"one on the previous key", []Ack{acked("shop", 7, liveKey.Fingerprint), acked("app", 6, previousKey.Fingerprint)}, false,
			"app said 2026-03-01T12:00:00Z that it runs the previous key (generation 6, AT2_abcdefgh-00000006)"},
		{"one never", []Ack{acked("shop", 7, liveKey.Fingerprint)}, false, "app has acknowledged nothing yet"},
		{"a generation that nobody knew", []Ack{acked("shop", 7, liveKey.Fingerprint), acked("app", 7, "")}, false, "app said"},
		{"right number, other key", []Ack{acked("shop", 7, liveKey.Fingerprint), acked("app", 7, nextKey.Fingerprint)}, false,
			"generation 7 with another fingerprint (AT2_abcdefgh-00000008)"},
		{"right key, other number", []Ack{acked("shop", 7, liveKey.Fingerprint), acked("app", 5, liveKey.Fingerprint)}, false,
			"the live key as generation 5, which is 7"},
		{"others do not count", []Ack{acked("stranger", 7, liveKey.Fingerprint)}, false, "shop has acknowledged nothing yet"},
		{"of another credential", []Ack{{Name: "tiles", Consumer: "shop", Generation: 7, Fingerprint: liveKey.Fingerprint},
			{Name: "tiles", Consumer: "app", Generation: 7, Fingerprint: liveKey.Fingerprint}}, false, "nothing yet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := NewAcks(&memLedger{all: tt.said}, []string{"shop", "app"})
			if err != nil {
				t.Fatal(err)
			}
			got, err := g.Ask(t.Context(), asked())
			if err != nil || got.Quiet != tt.quiet || !strings.Contains(got.Detail, tt.says) {
				t.Errorf("answer = %+v, %v, want quiet %v and %q", got, err, tt.quiet, tt.says)
			}
		})
	}
}

func TestAcksGateUnknown(t *testing.T) {
	g, err := NewAcks(&memLedger{err: errors.New("disk gone")}, []string{"shop"})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := g.Ask(t.Context(), asked()); err == nil || a.Quiet {
		t.Errorf("without a ledger the answer is %+v, %v; want unknown", a, err)
	}
	g.ledger = &memLedger{all: []Ack{acked("shop", 0, "")}}
	q := asked()
	q.Live.Fingerprint = ""
	if a, err := g.Ask(t.Context(), q); err == nil || a.Quiet {
		t.Errorf("for a live key without fingerprint the answer is %+v, %v; want unknown", a, err)
	}
}

func TestAcksGateNamesSome(t *testing.T) {
	var many []string
	for _, c := range "abcdefgh" {
		many = append(many, string(c))
	}
	g, err := NewAcks(&memLedger{}, many)
	if err != nil {
		t.Fatal(err)
	}
	got, err := g.Ask(t.Context(), asked())
	if err != nil || !strings.Contains(got.Detail, "e has acknowledged") || strings.Contains(got.Detail, "f has") || !strings.HasSuffix(got.Detail, "and 3 more") {
		t.Errorf("answer = %+v, %v", got, err)
	}
}

func TestNewAcksRefuses(t *testing.T) {
	for _, bad := range [][]string{nil, {"shop", "shop"}, {"Shop"}, {""}} {
		if _, err := NewAcks(&memLedger{}, bad); err == nil {
			t.Errorf("consumers %q were taken", bad)
		}
	}
}

// A rotation in which generation 8 is on its way.
func underWay() rotate.Record {
	next := nextKey
	next.Generation = 0 // set when it is published
	return rotate.Record{Name: "web", Live: liveKey, Previous: previousKey, Rotation: &rotate.Rotation{Generation: 8, New: next}}
}

func TestAccept(t *testing.T) {
	for _, tt := range []struct {
		name        string
		generation  int64
		fingerprint rotate.Fingerprint
		state       State
		bound       rotate.Fingerprint
	}{
		{"live by number", 7, "", StateLive, liveKey.Fingerprint},
		{"live by fingerprint", 0, liveKey.Fingerprint, StateLive, liveKey.Fingerprint},
		{"live by both", 7, liveKey.Fingerprint, StateLive, liveKey.Fingerprint},
		{"next by number", 8, "", StateNext, nextKey.Fingerprint},
		{"next by fingerprint", 0, nextKey.Fingerprint, StateNext, nextKey.Fingerprint},
		{"previous", 6, "", StatePrevious, previousKey.Fingerprint},
		{"mixed", 7, previousKey.Fingerprint, StateMismatch, previousKey.Fingerprint},
		{"known number, unknown key", 7, "AT1_abcdefgh-ffffffff", StateMismatch, "AT1_abcdefgh-ffffffff"},
		{"unknown number", 99, "", StateUnknown, ""},
		{"unknown key", 0, "AT1_abcdefgh-ffffffff", StateUnknown, "AT1_abcdefgh-ffffffff"},
		{"long ago", 2, "AT1_abcdefgh-00000002", StateOlder, "AT1_abcdefgh-00000002"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := &memLedger{}
			gate, err := NewAcks(l, []string{"shop", "app"})
			if err != nil {
				t.Fatal(err)
			}
			a := acked("shop", tt.generation, tt.fingerprint)
			got, err := Accept(t.Context(), l, a, underWay(), []rotate.Gate{gate})
			if err != nil {
				t.Fatal(err)
			}
			a.Fingerprint = tt.bound
			want := Receipt{Ack: a, State: tt.state, Expected: true, Missing: []string{"shop", "app"}, Changed: true}
			if tt.state == StateLive {
				want.Missing = []string{"app"}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("receipt (-want +got):\n%s", diff)
			}
			if len(l.all) != 1 || l.all[0] != a {
				t.Errorf("stored %+v, want %+v", l.all, a)
			}
			if again, err := Accept(t.Context(), l, a, underWay(), nil); err != nil || again.Changed {
				t.Errorf("said again: %+v, %v, want nothing new", again, err)
			}
		})
	}
}

// An acknowledgement of what was on its way counts once that is live, and one of a number alone does
// not move to the key that gets the number later.
func TestAcceptBinds(t *testing.T) {
	l := &memLedger{}
	gate, err := NewAcks(l, []string{"shop"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Accept(t.Context(), l, acked("shop", 8, ""), underWay(), nil); err != nil {
		t.Fatal(err)
	}
	q := asked()
	q.Live, q.Previous = nextKey, liveKey
	if a, err := gate.Ask(t.Context(), q); err != nil || !a.Quiet {
		t.Errorf("answer = %+v, %v, want quiet", a, err)
	}
	q.Live.Fingerprint = "AT2_abcdefgh-99999999" // the mint of 8 was lost, and another one has its number
	if a, err := gate.Ask(t.Context(), q); err != nil || a.Quiet {
		t.Errorf("answer about another key of the same number = %+v, %v, want not quiet", a, err)
	}
}

func TestAcceptRefuses(t *testing.T) {
	l := &memLedger{}
	for name, a := range map[string]Ack{
		"no credential": {Consumer: "shop", Generation: 1}, "no consumer": {Name: "web", Generation: 1},
		"odd consumer": {Name: "web", Consumer: "a\nb", Generation: 1}, "nothing": {Name: "web", Consumer: "shop"},
		"negative": {Name: "web", Consumer: "shop", Generation: -1}, "a key": {Name: "web", Consumer: "shop", Fingerprint: canary},
	} {
		_, err := Accept(t.Context(), l, a, underWay(), nil)
		if _, ok := errors.AsType[*FormError](err); !ok {
			t.Errorf("%s: error %v, want a FormError", name, err)
		} else if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error repeats the key", name)
		}
	}
	if len(l.all) > 0 {
		t.Errorf("stored %+v", l.all)
	}
	l.err = errors.New("disk full")
	if _, err := Accept(t.Context(), l, acked("shop", 7, ""), underWay(), nil); !errors.Is(err, l.err) {
		t.Errorf("error %v, want the ledger's", err)
	}
}

func TestStandings(t *testing.T) {
	l := &memLedger{all: []Ack{acked("shop", 7, liveKey.Fingerprint), acked("stranger", 3, "AT1_abcdefgh-00000003")}}
	gate, err := NewAcks(l, []string{"app", "shop"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Standings(t.Context(), l, underWay(), []rotate.Gate{gate})
	if err != nil {
		t.Fatal(err)
	}
	want := []Standing{{Consumer: "app", Expected: true, State: StateNever},
		{Consumer: "shop", Expected: true, State: StateLive, Fingerprint: liveKey.Fingerprint, Generation: 7, At: noon(), By: "test"},
		{Consumer: "stranger", State: StateOlder, Fingerprint: "AT1_abcdefgh-00000003", Generation: 3, At: noon(), By: "test"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("standings (-want +got):\n%s", diff)
	}
}
