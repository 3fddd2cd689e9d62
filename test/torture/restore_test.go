package torture

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"rotatord/internal/portal/portaltest"
)

// What a restore may break, and what it may not.
//
// A restored Vault serves what it served then. Where that key is still valid nobody
// may notice: rotatord keeps both keys for one overlap (rule 9), whichever of them a
// consumer holds. Where it was retired since, or is retired in the very moment of the
// restore, consumers read a dead key, and nobody but the restorer could have avoided
// that: the outage has begun before rotatord can know of it. It is rotatord's from
// then on: it has to serve a working key again within repairWithin, say so in its
// history, and mint at most once for it.
//
// The same goes for a key that is alive and about to expire: the newer one that would
// have outlived it is gone from Vault, and a new one takes a rotation, in the same time.
//
// A refused request is therefore excused only if all of this holds (see excused):
// the key was read after that restore began; Vault served that very key when the
// snapshot was taken; it ended before the restore was over or within inFlight of it
// and was read from Vault, or it reached its own date; and repairWithin is not over.
// Everything else that is refused is a failure, such as a key that the restore brought
// back alive and rotatord revoked under the eyes of its consumers, or the newer key of
// one who read it just before.
const (
	// repairWithin is long because the daemon is killed every second of it: a
	// rotation that loses its key in a kill waits for the effect horizon.
	repairWithin = 45 * time.Second
	// repairCalm is the same while nothing else happens: two looks that agree, the
	// effect horizon of a request cut off before, one rotation.
	repairCalm = 20 * time.Second
	// inFlight: a revocation that was decided before the restore may be on its way,
	// and a paused or slow portal holds it up.
	inFlight = 2 * time.Second
)

// snapshot is a state of Vault and what each credential was served by it.
type snapshot struct {
	at   time.Time
	raw  []byte
	keys map[string][]string // two where one was published in that moment
}

// restore is one restore of a snapshot, and how long the keys took that it broke.
type restore struct {
	began, done time.Time
	age         time.Duration // of the snapshot
	keys        map[string][]string
	calm        bool // nothing else happened until all was repaired
	settled     chan struct{}

	mu    sync.Mutex
	took  map[string]time.Duration // by name: from the restore to a working key; only where there was none
	stuck []string                 // not repaired in time
}

// remember takes a snapshot, and forgets those that no plan asks for any more.
func (w *world) remember() snapshot {
	w.t.Helper()
	s := snapshot{at: time.Now(), keys: w.servedNow(nil)}
	s.raw = w.vault.Snapshot()
	w.servedNow(s.keys)
	w.snapshots = append(w.snapshots, s)
	if n := len(w.snapshots); n > 30 {
		w.snapshots = slices.Delete(w.snapshots, 0, n-30)
	}
	return s
}

// servedNow adds what Vault serves now to what is known by name.
func (w *world) servedNow(into map[string][]string) map[string][]string {
	if into == nil {
		into = map[string][]string{}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for part := range slices.Chunk(w.names, 10) {
		wg.Go(func() {
			for _, n := range part {
				key := w.served(w.t.Context(), n)
				mu.Lock()
				if key != "" && !slices.Contains(into[n], key) {
					into[n] = append(into[n], key)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return into
}

// olderThan is the youngest snapshot of that age; it waits until there is one.
func (w *world) olderThan(age time.Duration) snapshot {
	for {
		for _, s := range slices.Backward(w.snapshots) {
			if time.Since(s.at) >= age {
				return s
			}
		}
		w.after(time.Until(w.snapshots[0].at.Add(age)))
	}
}

// restore puts a snapshot back and watches what comes of it; nil if the run was
// over before.
func (w *world) restore(ctx context.Context, s snapshot, calm bool) *restore {
	w.t.Helper()
	r := &restore{began: time.Now(), age: time.Since(s.at).Round(time.Millisecond), keys: s.keys, calm: calm,
		settled: make(chan struct{}), took: map[string]time.Duration{}}
	w.mu.Lock()
	w.restores = append(w.restores, r)
	w.mu.Unlock()
	w.vault.Restore(s.raw)
	w.mu.Lock()
	r.done = time.Now()
	w.mu.Unlock()
	w.watches.Go(func() { w.watch(ctx, r) })
	return r
}

// watch waits until Vault serves a working key of each credential that the restore
// left with a dead one. A later restore ends it: that one has its own.
func (w *world) watch(ctx context.Context, r *restore) {
	defer close(r.settled)
	broken := map[string]bool{}
	for name, keys := range r.keys {
		// Of two that were read around the snapshot nobody knows which one it holds.
		broken[name] = !slices.ContainsFunc(keys, func(key string) bool { ok, _ := w.emu.KeyValid(key); return ok })
	}
	limit := repairWithin
	if r.calm {
		limit = repairCalm
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for len(broken) > 0 {
		for name, was := range broken {
			if ok, _ := w.emu.KeyValid(w.served(ctx, name)); !was || ok {
				delete(broken, name)
				if took := time.Since(r.done); was {
					r.mu.Lock()
					r.took[name] = took
					r.mu.Unlock()
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if w.lastRestore() != r {
			return
		}
		if time.Since(r.done) > limit {
			r.mu.Lock()
			for name := range broken {
				r.stuck = append(r.stuck, name)
			}
			r.mu.Unlock()
			return
		}
	}
}

func (w *world) lastRestore() *restore {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.restores[len(w.restores)-1]
}

// excused tells whether the restorer is to blame for a refused key: see above.
func (w *world) excused(name, key string, fromVault bool, answered time.Time) bool {
	k, ok := w.keyInfo(key)
	if !ok {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.restores {
		limit := repairWithin
		if r.calm {
			limit = repairCalm
		}
		end := endOf(k)
		done := r.done
		if done.IsZero() {
			done = time.Now() // under way
		}
		theirs := fromVault && end.Before(done.Add(inFlight)) || end.Equal(k.Expires) && end.Before(done.Add(limit))
		if theirs && slices.Contains(r.keys[name], key) && !answered.Before(r.began) && time.Since(done) < limit {
			return true
		}
	}
	return false
}

// endOf a key: what ended it, or its date if that came first.
func endOf(k portaltest.KeyInfo) time.Time {
	if k.Ended.IsZero() || k.Expires.Before(k.Ended) {
		return k.Expires
	}
	return k.Ended
}

func (w *world) keyInfo(secret string) (portaltest.KeyInfo, bool) {
	keys := w.emu.Keys()
	i := slices.IndexFunc(keys, func(k portaltest.KeyInfo) bool { return k.Secret == secret })
	if i < 0 {
		return portaltest.KeyInfo{}, false
	}
	return keys[i], true
}

// readOnly takes the right to write from the daemon's token, as somebody who edits
// a policy does: reads go on, and every write is refused with 403.
func (w *world) readOnly() {
	w.t.Helper()
	w.vault.Policy("rotatord", strings.NewReplacer(`"create", `, "", `"update", "read"`, `"read"`, `"read", "patch"`, `"read"`).Replace(w.policy))
}

func (w *world) writable() {
	w.t.Helper()
	w.vault.Policy("rotatord", w.policy)
}
