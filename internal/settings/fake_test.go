package settings

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rotatord/internal/credspec"
	"rotatord/internal/rotate"
)

// fakePortal has one item, and does what a test says.
type fakePortal struct {
	mu    sync.Mutex
	have  credspec.Settings
	found []string // by any search
	reads []time.Time
	edits []string
	// onEdit is asked before an edit; what it returns is the answer. kept tells whether the edit takes effect.
	onEdit func(c credspec.Change) (kept bool, err error)
	fails  error // of every read
}

var errFake = errors.New("the portal is down")

func (p *fakePortal) Read(context.Context, rotate.ItemID) (credspec.Settings, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads = append(p.reads, time.Now())
	return p.have, p.fails
}

func (p *fakePortal) Resolve(_ context.Context, want *credspec.Spec) (*credspec.Spec, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !want.Sourced() {
		return want, nil
	}
	return want.WithItems(p.found), p.fails
}

func (p *fakePortal) Edit(_ context.Context, _ rotate.ItemID, owner string, c credspec.Change) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if owner != "ops" || c.Effect != credspec.EffectHarmless {
		return fmt.Errorf("edited for %s: %+v", owner, c)
	}
	p.edits = append(p.edits, string(c.Field))
	if p.onEdit != nil {
		if kept, err := p.onEdit(c); !kept || err != nil {
			if kept {
				p.put(c)
			}
			return err
		}
	}
	p.put(c)
	return nil
}

func (p *fakePortal) put(c credspec.Change) {
	switch c.Field {
	case credspec.FieldTitle:
		p.have.Title = c.To[0]
	case credspec.FieldSnippet:
		p.have.Snippet = c.To[0]
	case credspec.FieldTags:
		p.have.Tags = c.To
	case credspec.FieldProtect:
		p.have.Protected = c.To[0] == "true"
	default:
	}
}

// person changes something at the portal by hand.
func (p *fakePortal) person(change func(*credspec.Settings)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.have)
}

func (p *fakePortal) edited() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.edits)
}

// fakeStore is a map that outlives runners.
type fakeStore struct {
	mu   sync.Mutex
	rows map[string][]byte
	full bool
}

func (s *fakeStore) Get(_ context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.rows[key]
	return v, ok, nil
}

func (s *fakeStore) Put(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		return errors.New("the disk is full")
	}
	if s.rows == nil {
		s.rows = map[string][]byte{}
	}
	s.rows[key] = value
	return nil
}

// fakeKeys is a history, and a reason to wait.
type fakeKeys struct {
	mu    sync.Mutex
	lines []string
	busy  string
	down  bool
}

func (k *fakeKeys) Busy(context.Context, rotate.Name) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.busy, nil
}

func (k *fakeKeys) Note(_ context.Context, _ rotate.Name, line string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.down {
		return errors.New("the journal is busy")
	}
	k.lines = append(k.lines, line)
	return nil
}

func (k *fakeKeys) count(part string) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.lines {
		if strings.Contains(l, part) {
			n++
		}
	}
	return n
}

type hourly struct{}

func (hourly) Next(t time.Time) time.Time { return t.Truncate(time.Hour).Add(time.Hour) }

// rig is one credential with everything around it.
type rig struct {
	t      *testing.T
	portal *fakePortal
	store  *fakeStore
	keys   *fakeKeys
	spec   credspec.Spec
	options
	runner *Runner
	stop   func()
}

type options struct {
	replace func(context.Context, rotate.Name, credspec.Changes) error
}

// newRig has a portal that is as the config says, but for what change does to it.
func newRig(t *testing.T, policy credspec.Drift, change func(*credspec.Settings)) *rig {
	t.Helper()
	have := credspec.Settings{Owner: "ops", Title: "Trail map", Folder: "/", Tags: []string{"web"}, Privileges: []string{"premium:user:basemaps"},
		Referrers: []string{"https://trails.example.com"}, Protected: true}
	spec := credspec.Spec{Use: credspec.UsePublic, Title: have.Title, Tags: have.Tags, Privileges: have.Privileges, Referrers: have.Referrers, Protect: true, Drift: policy}
	if change != nil {
		change(&have)
	}
	return &rig{t: t, portal: &fakePortal{have: have}, store: &fakeStore{}, keys: &fakeKeys{}, spec: spec}
}

// start a process, as after a restart or a reload.
func (r *rig) start() {
	r.t.Helper()
	if r.stop != nil {
		r.stop()
	}
	spec := r.spec
	run, err := New(Options{Targets: []Target{{Name: "map", ID: rotate.ID{Portal: "here", Item: "aa11"}, Spec: &spec, Portal: r.portal}},
		Store: r.store, Keys: r.keys, Replace: r.replace, Schedule: hourly{}, Jitter: func() float64 { return 0 }})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = run.Run(ctx)
	}()
	r.runner = run
	r.stop = func() {
		cancel()
		<-done
	}
}

func (r *rig) finding() Finding {
	f, _ := r.runner.Finding("map")
	return f
}

func fields(cs credspec.Changes) string {
	var out []string
	for _, c := range cs {
		out = append(out, string(c.Field))
	}
	return strings.Join(out, " ")
}

// writable says whether the store and the history are.
func (r *rig) writable(store, history bool) {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	r.keys.mu.Lock()
	defer r.keys.mu.Unlock()
	r.store.full, r.keys.down = !store, !history
}
