package alert

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

// memory is a store that outlives an Alerter.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (m *memory) Values(context.Context) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.values), nil
}

func (m *memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key] = value
	return nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, key)
	return nil
}

// channel records what was said; fail, if set, decides about a message.
type channel struct {
	name    string
	mu      sync.Mutex
	notices []Notice
	got     []Message
	at      []time.Time
	refs    int
	refOf   map[string]string // by key, as it was returned last
	fail    func(Message) error
}

func (c *channel) Name() string { return cmp.Or(c.name, "chat") }

func (c *channel) Check(context.Context) error { return nil }

// Tell records what asks for attention as got, and everything as notices.
func (c *channel) Tell(_ context.Context, n Notice) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		if err := c.fail(n.Message); err != nil {
			return "", err
		}
	}
	c.notices = append(c.notices, n)
	if n.Loud || n.Kind == NoticeRoutine {
		c.got = append(c.got, n.Message)
		c.at = append(c.at, time.Now())
	}
	if n.Ref == "" {
		c.refs++
		n.Ref = fmt.Sprint(c.refs)
	}
	if c.refOf == nil {
		c.refOf = map[string]string{}
	}
	c.refOf[n.Key] = n.Ref
	return n.Ref, nil
}

func (c *channel) failWith(fail func(Message) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = fail
}

// take returns the titles since the last call.
func (c *channel) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, m := range c.got {
		out = append(out, m.Title)
	}
	c.got = nil
	return out
}

// rig is an alerter that runs, in a bubble.
type rig struct {
	t       *testing.T
	store   *memory
	channel *channel
	alerter *Alerter
	counts  map[Delivery]int
	change  func(*Options) // at each start
	stop    func()
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, store: &memory{values: map[string][]byte{}}, channel: &channel{}, counts: map[Delivery]int{}}
	r.start()
	return r
}

func options(store Store, to ...Notifier) Options {
	const day = 24 * time.Hour
	return Options{Store: store, Notifiers: to, Links: Links{Runbook: "https://wiki.example/keys"}, RepeatEvery: day,
		WarnBefore: []time.Duration{14 * day, 7 * day, 3 * day, day}}
}

func (r *rig) start() {
	o := options(r.store, r.channel)
	o.OnDelivery = func(d Delivery) { r.counts[d]++ }
	if r.change != nil {
		r.change(&o)
	}
	a, err := New(o)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	r.alerter = a
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("run: %v", err)
		}
	}
	synctest.Wait()
}

func (r *rig) restart() {
	r.stop()
	r.start()
}

// check shows the views and lets the alerter say what it has to.
func (r *rig) check(views ...View) { r.show(Scene{Credentials: views}) }

func (r *rig) show(s Scene) {
	r.alerter.Check(time.Now(), s)
	r.settle(30 * time.Second) // for the pace of the channel
}

// settle lets so much of the bubble's time pass and everything be done that is due.
func (r *rig) settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) want(titles ...string) {
	r.t.Helper()
	if diff := gocmp.Diff(titles, r.channel.take()); diff != "" {
		r.t.Errorf("said (-want +got):\n%s", diff)
	}
}

func bubble(t *testing.T, run func(t *testing.T, r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		run(t, r)
		r.stop()
	})
}

// healthy is a credential about which there is nothing to say.
func healthy(name rotate.Name) View {
	now := time.Now()
	return View{Name: name, Portal: "esri", Owner: "Team Maps", Environment: "prod", Mode: rotate.ModeRotate, DueAt: now.AddDate(0, 10, 0),
		Record: rotate.Record{Name: name, AdoptedAt: now.AddDate(-1, 0, 0), Phase: rotate.PhaseIdle,
			Live: rotate.KeyFacts{Slot: rotate.Slot1, Generation: 3, Expires: now.AddDate(0, 11, 0)}}}
}

func dead(name rotate.Name) View {
	v := healthy(name)
	v.Record.DeadAt = time.Now()
	return v
}
