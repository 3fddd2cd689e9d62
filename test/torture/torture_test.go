package torture

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rotatord/internal/portal/portaltest"
)

// TestTorture: ROTATORD_KILLS and ROTATORD_SEED set how long and which; "make
// torture" runs at least a thousand kills.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	kills := envInt("ROTATORD_KILLS", deckSize)
	seed := uint64(envInt("ROTATORD_SEED", int(time.Now().UnixNano()%1_000_000)))
	t.Logf("ROTATORD_SEED=%d ROTATORD_KILLS=%d repeats this plan", seed, kills)
	w := newWorld(t, 50)
	t.Logf("the daemon's state is on %s", w.disk.kind)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()

	w.daemon = w.start(w.config)
	w.awaitAll("the first keys", time.Minute, func(key string) bool { return key != "" })
	c := w.consume(ctx)
	w.remember()
	w.mayhem(ctx, makePlan(seed, kills))
	w.settle(ctx)
	stop()
	c.wg.Wait()
	w.watches.Wait()
	w.daemon.stop()
	<-w.daemon.done
	w.verdict(c, seed)
}

func envInt(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}

// awaitAll waits until the served key of every credential is as wanted.
func (w *world) awaitAll(what string, limit time.Duration, ok func(key string) bool) {
	w.t.Helper()
	end := time.Now().Add(limit)
	for {
		missing := ""
		for _, n := range w.names {
			if !ok(w.served(w.t.Context(), n)) {
				missing = n
				break
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("%s: %s not within %s\n%s", what, missing, limit, w.logTail())
		}
		w.after(200 * time.Millisecond)
	}
}

// mayhem carries out the plan.
func (w *world) mayhem(ctx context.Context, plan []deed) {
	for n, d := range plan {
		w.t.Logf("%6.1fs %d: %s", time.Since(w.began).Seconds(), n+1, d)
		w.do(ctx, d)
		w.vaultWell()
		if n%4 == 3 {
			w.remember()
		}
		w.after(d.after)
		if d.what == daemonStopped {
			w.stopped()
		}
		w.kill()
		w.done[d.what]++
		if w.t.Failed() {
			w.t.Fatalf("given up after %d kills\n%s", n+1, w.logTail())
		}
	}
}

// do breaks something for a while.
func (w *world) do(ctx context.Context, d deed) {
	w.t.Helper()
	switch d.what {
	case quiet:
	case portalFault:
		w.mu.Lock()
		w.armed = append(w.armed, d.strike)
		w.mu.Unlock()
	case vaultSealed:
		w.vault.Seal()
		w.after(d.lasts)
		w.vault.Unseal()
	case vaultRestart:
		w.vault.Kill()
		w.after(d.lasts)
		w.vault.Start() // sealed: vaultWell opens it
	case vaultPaused:
		w.vault.Pause()
		w.after(d.lasts)
		w.vault.Resume()
	case vaultReadOnly:
		w.readOnly()
		w.after(d.lasts)
		w.writable()
	case vaultBack:
		s := w.remember()
		w.after(d.lasts)
		w.restore(ctx, s, false)
	case vaultFarBack:
		r := w.restore(ctx, w.olderThan(d.age), d.waits)
		if d.waits {
			w.waitFor(r)
		}
	case daemonPaused:
		w.daemon.signal(syscall.SIGSTOP)
		w.after(d.lasts)
		w.daemon.signal(syscall.SIGCONT)
	case daemonStopped:
		w.daemon.stop()
		w.after(d.lasts)
	case second:
		w.beside(d.lasts)
	case secondInPause:
		w.daemon.signal(syscall.SIGSTOP)
		w.beside(d.lasts)
		w.daemon.signal(syscall.SIGCONT)
	case diskFull:
		w.fillDisk(d)
	}
}

// beside runs a second daemon with a journal of its own, on the same credentials.
func (w *world) beside(lasts time.Duration) {
	w.t.Helper()
	p := w.start(w.other)
	w.after(lasts)
	if p.ended() {
		w.t.Errorf("the second daemon ended by itself: %v\n%s", p.err, w.logTail())
	}
	p.kill()
}

func (w *world) fillDisk(d deed) {
	w.t.Helper()
	if !w.disk.small {
		w.after(d.lasts)
		return
	}
	free, err := w.disk.fill(d.spare)
	w.must(err)
	w.full = true
	if d.across {
		w.after(d.lasts / 2)
		w.kill()
		w.full = true
	}
	w.after(d.lasts)
	w.must(free())
}

// waitFor the repair of a restore.
func (w *world) waitFor(r *restore) {
	w.t.Helper()
	for {
		select {
		case <-r.settled:
			return
		default:
			w.after(100 * time.Millisecond)
		}
	}
}

// vaultWell waits until Vault answers unsealed: a restored snapshot or a restart may
// leave it sealed, and nobody else would open it.
func (w *world) vaultWell() {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; w.after(50 * time.Millisecond) {
		a, err := w.vault.Try(w.t.Context(), w.vault.Token, http.MethodGet, "sys/seal-status", nil)
		switch {
		case err == nil && a.Body["sealed"] == false:
			return
		case err == nil && a.Body["sealed"] == true:
			w.vault.Unseal()
		case time.Now().After(end):
			w.t.Fatalf("vault is not well again: %v", err)
		}
	}
}

// settle lets the daemon come to rest: keys live longer from now on, so that after
// the next rotation nothing is due, and old keys and orphans are retired.
func (w *world) settle(ctx context.Context) {
	w.t.Helper()
	w.emu.SetHook(nil)
	text, err := os.ReadFile(w.config)
	w.must(err)
	calm := strings.ReplaceAll(string(text), "lifetime: 65s", "lifetime: 10m")
	w.must(os.WriteFile(w.config, []byte(calm), 0o600))
	w.kill()
	end := time.Now().Add(2 * time.Minute)
	for time.Now().Before(end) && ctx.Err() == nil {
		if w.restlessness() == "" {
			return
		}
		w.after(500 * time.Millisecond)
	}
	w.t.Errorf("not at rest two minutes after the last trouble:\n%s%s", w.restlessness(), w.stories(strings.Split(w.restlessness(), "\n")))
}

// restlessness: what is missing for one valid key a credential, served by every
// sink, with minutes to live.
func (w *world) restlessness() string {
	var b strings.Builder
	now := w.emu.Now()
	valid := map[string][]portaltest.KeyInfo{}
	for _, k := range w.emu.Keys() {
		if k.Valid(now) {
			valid[k.ItemID] = append(valid[k.ItemID], k)
		}
	}
	for i, n := range w.names {
		keys, served := valid[w.items[n]], w.served(w.t.Context(), n)
		file := served
		if w.hasFile(i) {
			file = w.fileKey(n)
		}
		if len(keys) != 1 || keys[0].Secret != served || file != served || keys[0].Expires.Sub(now) < 3*time.Minute {
			fmt.Fprintf(&b, "%s: %d valid keys, Vault serves %s, the file %s\n", n, len(keys), fingerprint(served), fingerprint(file))
		}
	}
	return b.String()
}
