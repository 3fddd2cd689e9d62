package rotate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// fault is what a fake does instead of, or after, one call.
type fault struct {
	err   error
	after bool // the effect happens, and then the error
	delay time.Duration
}

// faults are queued by operation; each is used once.
type faults map[string][]fault

func (f faults) next(op string) fault {
	q := f[op]
	if len(q) == 0 {
		return fault{}
	}
	f[op] = q[1:]
	time.Sleep(q[0].delay)
	return q[0]
}

type fakeKey struct {
	secret  Secret
	expires time.Time
	usable  time.Time
	revoked bool
}

// fakePortal is one credential at a portal: two slots, flags, dates, keys.
type fakePortal struct {
	calls []string
	fail  faults
	keys  []*fakeKey
	slots [3]*fakeKey
	dates [3]time.Time
	seq   int

	privileges  []string // of the app
	granted     []string // of keys from the grantedFrom-th on; nil: as the app's
	grantedFrom int
	slow        time.Duration // until a new key works
	mintLie     func(Slot) Secret
	revokeLie   bool
	skew        time.Duration

	client string // "" is clientID
	id     ItemID // "" is testItem
	gone   bool   // the item was deleted
}

func (p *fakePortal) call(ctx context.Context, format string, args ...any) fault {
	op := fmt.Sprintf(format, args...)
	p.calls = append(p.calls, op)
	if err := ctx.Err(); err != nil {
		return fault{err: err}
	}
	name, _, _ := strings.Cut(op, " ")
	return p.fail.next(name)
}

// effects are the calls that change something.
func (p *fakePortal) effects() []string {
	return slices.DeleteFunc(slices.Clone(p.calls), func(c string) bool {
		op, _, _ := strings.Cut(c, " ")
		return op != "date" && op != "mint" && op != "revoke" && op != "remove"
	})
}

func (p *fakePortal) count(op string) int {
	n := 0
	for _, c := range p.calls {
		if name, _, _ := strings.Cut(c, " "); name == op {
			n++
		}
	}
	return n
}

func (p *fakePortal) date() time.Time { return time.Now().UTC().Add(p.skew).Truncate(time.Second) }

func (p *fakePortal) App(ctx context.Context, _ ID, _ string) (App, error) {
	if f := p.call(ctx, "app"); f.err != nil {
		return App{}, f.err
	}
	if err := p.missing(); err != nil {
		return App{}, err
	}
	a := App{ClientID: p.clientID(), ClientSecret: NewSecret("client-" + testBody), Privileges: p.privileges, Referrers: []string{"https://*.example.com"}, Date: p.date()}
	for _, s := range Slots() {
		a.Active[s] = p.slots[s] != nil
	}
	return a, nil
}

func (p *fakePortal) Item(ctx context.Context, _ ID) (Item, error) {
	if f := p.call(ctx, "item"); f.err != nil {
		return Item{}, f.err
	}
	if err := p.missing(); err != nil {
		return Item{}, err
	}
	return Item{Owner: "ops", Title: "maps", Expires: p.dates, Date: p.date()}, nil
}

func (p *fakePortal) SetExpiry(ctx context.Context, _ ID, _ string, slot Slot, at time.Time) error {
	f := p.call(ctx, "date %s", slot)
	if f.err == nil || f.after {
		p.dates[slot] = at
	}
	return f.err
}

func (p *fakePortal) Mint(ctx context.Context, _ ID, _ App, slot Slot) (Minted, error) {
	f := p.call(ctx, "mint %s", slot)
	if f.err != nil && !f.after {
		return Minted{}, f.err
	}
	if p.mintLie != nil {
		return Minted{Key: p.mintLie(slot), Date: p.date()}, f.err
	}
	k := p.put(slot, p.dates[slot])
	k.usable = time.Now().Add(p.slow)
	if f.err != nil {
		return Minted{}, f.err
	}
	return Minted{Key: k.secret, Expires: k.expires, Date: p.date()}, nil
}

// put a new key into a slot, whatever was there.
func (p *fakePortal) put(slot Slot, expires time.Time) *fakeKey {
	p.seq++
	k := &fakeKey{secret: keyOf(p.clientID(), slot, "n"+strconv.Itoa(p.seq)), expires: expires}
	p.kill(slot)
	p.keys, p.slots[slot], p.dates[slot] = append(p.keys, k), k, expires
	return k
}

func (p *fakePortal) kill(slot Slot) {
	if k := p.slots[slot]; k != nil {
		k.revoked = true
	}
	p.slots[slot] = nil
}

func (p *fakePortal) Revoke(ctx context.Context, _ ID, _ App, slot Slot) error {
	f := p.call(ctx, "revoke %s", slot)
	if (f.err == nil || f.after) && !p.revokeLie {
		p.kill(slot)
	}
	return f.err
}

func (p *fakePortal) Prove(ctx context.Context, key Secret, _ string) (Proof, error) {
	if f := p.call(ctx, "prove %s", key.Fingerprint()); f.err != nil {
		return Proof{}, f.err
	}
	for i, k := range p.keys {
		if now := time.Now(); k.secret.Equal(key) && !k.revoked && now.Before(k.expires) && !now.Before(k.usable) {
			granted := p.granted
			if granted == nil || i < p.grantedFrom {
				granted = p.privileges
			}
			return Proof{Valid: true, ClientID: p.clientID(), Item: p.item(), Expires: k.expires, Privileges: granted, Date: p.date()}, nil
		}
	}
	return Proof{Date: p.date()}, nil
}

func (p *fakePortal) Remove(ctx context.Context, _ ID, _ string) error {
	f := p.call(ctx, "remove")
	if f.err == nil || f.after {
		p.gone = true
		p.kill(Slot1)
		p.kill(Slot2)
	}
	return f.err
}

func (p *fakePortal) Control(ctx context.Context) error { return p.call(ctx, "control").err }

// fakeSink keeps versions; Write is a compare-and-swap.
type fakeSink struct {
	name     string
	versions []Entry
	writes   int
	fail     faults
}

func (s *fakeSink) Name() string { return s.name }

func (s *fakeSink) current() Entry {
	if len(s.versions) == 0 {
		return Entry{}
	}
	return s.versions[len(s.versions)-1]
}

func (s *fakeSink) Read(context.Context) (Entry, error) {
	if f := s.fail.next("read"); f.err != nil {
		return Entry{}, f.err
	}
	return s.current(), nil
}

func (s *fakeSink) Write(_ context.Context, e Entry, cas Version) (Version, error) {
	s.writes++
	f := s.fail.next("write")
	if f.err != nil && !f.after {
		return "", f.err
	}
	if s.current().Version != cas {
		return "", &Error{Op: "write " + s.name, Kind: KindConflict}
	}
	m := *e.Meta
	v := Version(strconv.Itoa(len(s.versions) + 1))
	s.versions = append(s.versions, Entry{Version: v, Ever: true, Key: e.Key, Meta: &m})
	return v, f.err
}

func (s *fakeSink) Earlier(context.Context) ([]Entry, error) {
	if len(s.versions) < 2 {
		return nil, nil
	}
	old := slices.Clone(s.versions[:len(s.versions)-1])
	slices.Reverse(old)
	return old, nil
}

// fakeJournal keeps records as JSON, as a real one does.
type fakeJournal struct {
	records map[Name][]byte
	epochs  map[Name]int64
	events  []Event
	saves   int
	// before, if set, may refuse a save.
	before func(Record) error
	loads  error
}

func (j *fakeJournal) Load(_ context.Context, name Name) (Record, error) {
	r := Record{Name: name}
	if j.loads != nil {
		return r, j.loads
	}
	if b, ok := j.records[name]; ok {
		if err := json.Unmarshal(b, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (j *fakeJournal) Save(_ context.Context, r Record, events ...Event) (Record, error) {
	if j.before != nil {
		if err := j.before(r); err != nil {
			return Record{}, err
		}
	}
	if r.Epoch != j.epochs[r.Name] {
		return Record{}, &Error{Op: "save " + string(r.Name), Kind: KindConflict}
	}
	r.Epoch++
	b, err := json.Marshal(r)
	if err != nil {
		return Record{}, err
	}
	j.records[r.Name], j.epochs[r.Name] = b, r.Epoch
	j.events = append(j.events, events...)
	j.saves++
	return j.Load(context.Background(), r.Name)
}

func (j *fakeJournal) List(context.Context) ([]Record, error) { return nil, errors.ErrUnsupported }

func (j *fakeJournal) Deaths(_ context.Context, portal PortalID, since time.Time) (int, error) {
	n := 0
	for _, e := range j.events {
		if e.Kind == EventKeyDead && e.Actor == "" && e.Portal == portal && !e.At.Before(since) {
			n++
		}
	}
	return n, nil
}

func (j *fakeJournal) told(k EventKind) (n int) {
	for _, e := range j.events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// rig is one credential with fakes around it. It lives in a synctest bubble.
type rig struct {
	t       *testing.T
	portal  *fakePortal
	vault   *fakeSink
	file    *fakeSink
	journal *fakeJournal
	engine  *Engine
	cred    *Credential
	session *Session
	steps   []Step
	each    func(AdvanceResult) // after each Advance
}

func newRig(t *testing.T) *rig {
	t.Helper()
	g := &rig{t: t, portal: &fakePortal{fail: faults{}, privileges: []string{"premium:user:basemaps"}}, vault: &fakeSink{name: "vault", fail: faults{}},
		file: &fakeSink{name: "file", fail: faults{}}, journal: &fakeJournal{records: map[Name][]byte{}, epochs: map[Name]int64{}}, session: &Session{}}
	p := testPolicy()
	p.AutoAdopt = true
	g.cred = &Credential{Name: "maps", ID: testID(), Policy: p, Mode: ModeRotate, Portal: g.portal, Sinks: []Sink{g.vault, g.file}}
	g.restart()
	return g
}

// restart forgets everything that is in memory only.
func (g *rig) restart() {
	g.t.Helper()
	ids := 0
	e, err := New(Options{Journal: g.journal, Instance: "here", NewID: func(time.Time) string { ids++; return "R" + strconv.Itoa(ids) }})
	if err != nil {
		g.t.Fatal(err)
	}
	g.engine, g.session = e, &Session{}
}

func (g *rig) record() Record {
	g.t.Helper()
	r, err := g.journal.Load(g.t.Context(), "maps")
	if err != nil {
		g.t.Fatal(err)
	}
	return r
}

func (g *rig) advance() AdvanceResult {
	g.t.Helper()
	res := g.engine.Advance(g.t.Context(), g.cred, g.session)
	g.steps = append(g.steps, res.Step)
	if g.each != nil {
		g.each(res)
	}
	return res
}

// until advances, sleeping as long as each result says, until ok or for too long.
func (g *rig) until(what string, ok func(AdvanceResult) bool) AdvanceResult {
	g.t.Helper()
	var res AdvanceResult
	for range 5000 {
		if res = g.advance(); ok(res) {
			return res
		}
		if wait := time.Until(res.Next); wait > 0 {
			time.Sleep(wait)
		}
	}
	g.t.Fatalf("never came to %s; last: %+v", what, res)
	return res
}

func (g *rig) untilPhase(p Phase) AdvanceResult {
	g.t.Helper()
	return g.until("phase "+string(p), func(r AdvanceResult) bool { return r.Err == nil && r.Record.Phase == p })
}

// bootstrapped has its first key in both sinks.
func bootstrapped(t *testing.T) *rig {
	t.Helper()
	g := newRig(t)
	g.until("bootstrap", func(r AdvanceResult) bool { return r.Step == StepPromote })
	g.steps, g.portal.calls = nil, nil
	return g
}

// at is a bootstrapped credential whose first scheduled rotation is in that phase.
func at(t *testing.T, p Phase) *rig {
	t.Helper()
	g := bootstrapped(t)
	g.untilPhase(p)
	g.steps, g.portal.calls = nil, nil
	return g
}
