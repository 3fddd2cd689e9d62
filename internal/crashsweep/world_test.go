package crashsweep

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rotatord/internal/journal"
	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

const day = 24 * time.Hour

// policy of the sweep: days, with looks far enough apart that a run is quick.
func policy() rotate.Policy {
	return rotate.Policy{RenewBefore: 30 * day, Overlap: 3 * day, CriticalBefore: 7 * day, Lifetime: 90 * day, Precision: rotate.PrecisionDay,
		MinInterval: day, MinGain: 2 * day, ProbeEvery: 12 * time.Hour, DeepEvery: 5 * day, OrphanDelay: 3 * day, EffectHorizon: 10 * time.Minute,
		RetryBase: 30 * time.Second, RetryMax: time.Hour, MaxAttempts: 8, DeadProbes: 3, DeadAfter: 10 * time.Minute, DeathsPerHour: 3}
}

// errDied is what a dying process panics with.
var errDied = errors.New("the process dies here")

// world is one credential with everything around it.
type world struct {
	t      *testing.T
	dir    string
	emu    *portaltest.Emulator
	client *portal.Client
	db     *journal.DB
	sinks  []*rotatetest.MemSink
	cred   *rotate.Credential
	other  portaltest.Credential // never adopted
	items  []string              // that the credential has, had or was to have
	lost   map[string]bool       // items of a replacement that only a lost journal knew of
	engine *rotate.Engine
	sess   *rotate.Session
	start  time.Time

	trace  []call // every call so far that a fault could strike
	faults []fault
	struck int // faults that happened
	// next, if set, is asked for each call's fault before faults is.
	next func(call) faultKind
	// advances of the whole run: one that never comes to rest must not run for ever.
	advances int
	check    *checker
	steps    []string
	// lastNote keeps repeats out of steps.
	lastNote string
}

// newWorld makes one; dir is a scratch folder that is emptied first.
func newWorld(t *testing.T, dir string, faults []fault, switches map[string]string) *world {
	t.Helper()
	for _, f := range []string{"j.db", "j.db-wal", "j.db-shm"} {
		_ = os.Remove(filepath.Join(dir, f))
	}
	w := &world{t: t, dir: dir, faults: faults, start: time.Now()}
	sw := map[string]string{"manner": "strict"}
	maps.Copy(sw, switches)
	w.emu = portaltest.New(portaltest.Options{Product: portaltest.Online, Seed: 7, Switches: sw})
	w.other = w.emu.AddCredential(portaltest.CredentialSeed{Title: "never adopted", Minted: true, Expires: [2]time.Time{w.start.Add(200 * day), w.start.Add(200 * day)}})
	cr := w.emu.AddCredential(portaltest.CredentialSeed{Title: "map"})
	w.client, w.items, w.lost = w.newClient(), []string{cr.ItemID}, map[string]bool{}
	for _, name := range []string{"a", "b"} {
		w.sinks = append(w.sinks, rotatetest.NewMemSink(name))
	}
	w.cred = &rotate.Credential{Name: "web", ID: rotate.ID{Portal: "p", Item: rotate.ItemID(cr.ItemID)}, Policy: policy(),
		Mode: rotate.ModeRotate, Portal: w.client}
	for _, s := range w.sinks {
		w.cred.Sinks = append(w.cred.Sinks, s)
	}
	w.check = newChecker(w)
	w.hook()
	w.boot("one")
	return w
}

func (w *world) newClient() *portal.Client {
	w.t.Helper()
	c, err := portal.New(portal.Options{URL: "https://portal.example.com" + w.emu.Root(), Transport: w.emu.Transport(),
		Referer: "https://rotatord.example.com", Limits: portal.Limits{Retries: -1, BreakerAfter: -1},
		Identity: portal.Identity{Password: &portal.PasswordIdentity{Username: portaltest.AdminUser,
			Password: func(context.Context) (rotate.Secret, error) {
				return rotate.NewSecret(portaltest.StandardPassword), nil
			}}}})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// heir is another item that may take over.
func (w *world) heir() rotate.ID {
	cr := w.emu.AddCredential(portaltest.CredentialSeed{Title: "map, with other rights"})
	w.items = append(w.items, cr.ItemID)
	return rotate.ID{Portal: w.cred.ID.Portal, Item: rotate.ItemID(cr.ItemID)}
}

// replace orders that another item takes over.
func (w *world) replace() {
	_ = w.try(rotate.Command{Kind: rotate.CommandReplace, Heir: &rotate.Heir{ID: w.heir(), Made: true}})
}

// boot starts the program anew on the same disk: nothing in memory survives.
func (w *world) boot(instance string) {
	w.t.Helper()
	if w.db != nil {
		_ = w.db.Close()
	}
	db, err := journal.Open(context.Background(), journal.Options{Path: filepath.Join(w.dir, "j.db")})
	if err != nil {
		w.t.Fatal(err)
	}
	w.db = db
	w.engine, err = rotate.New(rotate.Options{Journal: &dyingJournal{DB: db, w: w}, Instance: instance})
	if err != nil {
		w.t.Fatal(err)
	}
	w.sess = &rotate.Session{}
}

func (w *world) close() { _ = w.db.Close() }

// order gives a command and fails the test if it is refused.
func (w *world) order(cmd rotate.Command) {
	w.t.Helper()
	if err := w.try(cmd); err != nil {
		w.t.Fatalf("%s: %v", cmd.Kind, err)
	}
}

// try gives a command; where the process dies under it, the person repeats it.
func (w *world) try(cmd rotate.Command) (err error) {
	cmd.By = "ann"
	for range 3 {
		died := w.dies(func() { _, err = w.engine.Command(context.Background(), w.cred, cmd) })
		if !died {
			break
		}
	}
	return err
}

// dies runs f and tells whether the process died in it; it is started anew then.
func (w *world) dies(f func()) (died bool) {
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, errDied) {
				panic(p)
			}
			w.note("process died")
			w.boot("one")
			died = true
		}
	}()
	f()
	return false
}

// record as journalled.
func (w *world) record() rotate.Record {
	w.t.Helper()
	r, err := w.db.Load(context.Background(), w.cred.Name)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// advance is one step of the driver; a death in it is a restart after a minute.
func (w *world) advance() (res rotate.AdvanceResult) {
	if w.dies(func() { res = w.engine.Advance(context.Background(), w.cred, w.sess) }) {
		return rotate.AdvanceResult{Next: time.Now().Add(time.Minute)}
	}
	if res.Step != rotate.StepNone {
		w.note("%s %s/%s due=%s blocked=%s %s err=%v", res.Record.Phase, res.Step, res.Effect, res.Due, res.Blocked, res.Detail, res.Err)
	}
	return res
}

func (w *world) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if text == w.lastNote {
		return
	}
	w.lastNote = text
	w.steps = append(w.steps, fmt.Sprintf("%12s ", time.Since(w.start))+text)
}

// run drives until stop says so or the time is up; it reports whether stop said so.
func (w *world) run(limit time.Duration, stop func(rotate.AdvanceResult) bool) bool {
	w.t.Helper()
	end := time.Now().Add(limit)
	spins := 0
	for time.Now().Before(end) {
		if w.advances++; w.advances > 3000 {
			w.check.fail("more than 3000 calls of Advance")
			return false
		}
		res := w.advance()
		w.check.now("advance")
		if stop != nil && stop(res) {
			return true
		}
		wait := min(max(time.Until(res.Next), 0), day)
		if wait == 0 {
			if spins++; spins > 400 {
				w.check.fail("the engine spins: 400 calls of Advance at once")
				return false
			}
			continue
		}
		spins = 0
		pause(wait)
	}
	return false
}

// pause lets fake time pass.
func pause(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

// idle says that nothing is under way and nothing is wrong.
func (w *world) idle(res rotate.AdvanceResult) bool {
	r := res.Record
	return r.Phase == rotate.PhaseIdle && r.Rotation == nil && r.Request == nil && res.Due == "" && res.Step == rotate.StepNone
}

// dyingJournal is the journal of a process that a fault may kill around a save.
type dyingJournal struct {
	*journal.DB
	w *world
}

func (j *dyingJournal) Save(ctx context.Context, r rotate.Record, ev ...rotate.Event) (rotate.Record, error) {
	f := j.w.strike(call{kind: callSave})
	if f == dieBefore {
		panic(errDied)
	}
	saved, err := j.DB.Save(ctx, r, ev...)
	if f == dieAfter {
		panic(errDied)
	}
	return saved, err
}
