package notifytest

import (
	"context"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/rotate"
)

// Told is what the engine tells of each condition, in the order of alert.Conditions: of
// things as they happen, and by a clock that stands at 2000-01-01, so that it is the same
// each time.
func Told(t *testing.T) []alert.Notice {
	t.Helper()
	scenes := scenes()
	var out []alert.Notice
	for _, c := range alert.Conditions() {
		scene := scenes[c]
		if scene == nil {
			t.Errorf("%s: there is no scene of it; add one to notifytest/told.go", c)
			continue
		}
		out = append(out, toldOf(t, func(n alert.Notice) bool { return n.Message.Condition == c }, scene))
	}
	return out
}

// ToldOfMany is what it tells when the same happens to several at once, and what it tells
// when that has ended.
func ToldOfMany(t *testing.T) (opened, over alert.Notice) {
	t.Helper()
	many := func(now time.Time, s *alert.Scene) {
		s.Credentials = nil
		for _, name := range []rotate.Name{"field-maps", "geocoder", "mobile-app", "routing", "store-locator", "trail-map", "web-shop"} {
			v := view(now)
			v.Name, v.Record.Name = name, name
			v.Record.Drift, v.Record.DriftSince = rotate.DriftSinkForeign, now.Add(-10*time.Minute)
			s.Credentials = append(s.Credentials, v)
		}
	}
	opened = toldOf(t, func(n alert.Notice) bool { return len(n.Message.Others) > 0 }, many)
	over = opened
	over.State, over.Message.Resolved, over.Message.Severity, over.Message.Command = alert.StateResolved, true, alert.SeverityInfo, ""
	over.Message.Title = "7 credentials: resolved, no longer drift"
	return opened, over
}

// toldOf a scene, the first notice that fits.
func toldOf(t *testing.T, fits func(alert.Notice) bool, change func(now time.Time, s *alert.Scene)) (out alert.Notice) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UTC()
		const day = 24 * time.Hour
		way := &listener{}
		a, err := alert.New(alert.Options{Store: &shelf{values: map[string][]byte{}}, Notifiers: []alert.Notifier{way}, RepeatEvery: 30 * day, Owner: "Platform",
			WarnBefore: []time.Duration{30 * day, 14 * day, 7 * day, 3 * day, day}, Links: alert.Links{Runbook: "https://wiki.acme.example/keys",
				Always: []alert.Link{{Text: "Dashboard", URL: "https://grafana.acme.example/d/rotatord"}, {Text: "Status page", URL: "https://rotatord.acme.example"}}}})
		if err != nil {
			t.Fatal(err)
		}
		s := alert.Scene{Credentials: []alert.View{view(now)}}
		change(now, &s)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		a.Check(now, s)
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		for _, wait := range []time.Duration{time.Minute, time.Hour, day} { // a little more than each waiting time that there is
			waited := time.NewTimer(wait + time.Minute)
			<-waited.C
			synctest.Wait()
			for _, n := range way.heard() {
				if n.Loud && fits(n) {
					out = n
					return
				}
			}
		}
		t.Error("nothing that fits was told")
	})
	return out
}

// listener keeps what it is told.
type listener struct {
	mu  sync.Mutex
	all []alert.Notice
}

func (l *listener) Name() string                { return "listener" }
func (l *listener) Check(context.Context) error { return nil }

func (l *listener) Tell(_ context.Context, n alert.Notice) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, n)
	return "1", nil
}

func (l *listener) heard() []alert.Notice {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

// shelf is a store.
type shelf struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (s *shelf) Values(context.Context) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.values), nil
}

func (s *shelf) Put(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[key] = value
	return nil
}

func (s *shelf) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.values, key)
	return nil
}
