package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

// TestTorture: ROTATORD_KILLS and ROTATORD_SEED set how long and which; "make
// torture" runs at least a thousand kills.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("short")
	}
	kills := envInt("ROTATORD_KILLS", 20)
	seed := uint64(envInt("ROTATORD_SEED", int(time.Now().UnixNano()%1_000_000)))
	t.Logf("seed %d, %d kills", seed, kills)
	w := newWorld(t, 50)
	rng := rand.New(rand.NewPCG(seed, 1))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()

	p := w.start(w.config)
	w.awaitAll(p, "the first keys", time.Minute, func(key string) bool { return key != "" })
	c := w.consume(ctx)
	p = w.mayhem(ctx, rng, p, kills)
	w.emu.ClearFaults()
	w.settle(ctx, &p)
	stop()
	c.wg.Wait()
	p.signal(syscall.SIGTERM)
	<-p.done
	w.verdict(c, kills)
}

func envInt(name string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return def
}

// after waits for d or until p ends by itself, which it never should.
func (w *world) after(p *process, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.done:
		<-timer.C
	}
}

// awaitAll waits until the served key of every credential is as wanted.
func (w *world) awaitAll(p *process, what string, limit time.Duration, ok func(key string) bool) {
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
		w.after(p, 200*time.Millisecond)
	}
}

// mayhem kills the daemon so many times, with a trouble before every few of them.
func (w *world) mayhem(ctx context.Context, rng *rand.Rand, p *process, kills int) *process {
	for n := range kills {
		w.trouble(ctx, rng, p, n)
		w.vaultWell(p)
		w.after(p, time.Duration(rng.IntN(900))*time.Millisecond)
		p.kill()
		w.mu.Lock()
		w.interval++
		w.mu.Unlock()
		p = w.start(w.config)
		if n%100 == 99 {
			w.t.Logf("%d kills", n+1)
		}
	}
	return p
}

// trouble breaks something for a while.
func (w *world) trouble(ctx context.Context, rng *rand.Rand, p *process, n int) {
	short := time.Duration(200+rng.IntN(1800)) * time.Millisecond
	switch kind := rng.IntN(24); {
	case kind < 8:
		w.portalFault(rng)
	case kind == 8:
		w.vault.Seal()
		w.after(p, short)
		w.vault.Unseal()
	case kind == 9 && n%3 == 0:
		w.vault.Kill()
		w.after(p, short/2)
		w.vault.Start()
	case kind == 10 && n%3 == 0:
		snapshot := w.vault.Snapshot()
		w.after(p, short)
		w.vault.Restore(snapshot)
	case kind == 11:
		w.vault.Pause()
		w.after(p, short)
		w.vault.Resume()
	case kind == 12:
		p.signal(syscall.SIGSTOP)
		w.after(p, 3*short)
		p.signal(syscall.SIGCONT)
	case kind == 13 && n%5 == 0:
		second := w.start(w.writeConfig("state2"))
		w.after(p, 2*short)
		second.kill()
	case kind == 14:
		p.signal(syscall.SIGTERM)
		w.after(p, short)
	}
}

// vaultWell waits until Vault answers unsealed: a restored snapshot or a restart may
// leave it sealed, and nobody else would open it.
func (w *world) vaultWell(p *process) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; w.after(p, 50*time.Millisecond) {
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

// portalFault breaks one coming request in one way.
func (w *world) portalFault(rng *rand.Rand) {
	faults := []portaltest.Fault{
		{Op: portaltest.OpMint, Kind: portaltest.LoseReply}, {Op: portaltest.OpMint, Kind: portaltest.FailBefore},
		{Op: portaltest.OpMint, Kind: portaltest.LateEffect, LateFor: 2 * time.Second}, {Op: portaltest.OpMint, Kind: portaltest.ServerErrorHTML},
		{Op: portaltest.OpRevoke, Kind: portaltest.LoseReply}, {Op: portaltest.OpRevoke, Kind: portaltest.LateEffect, LateFor: 2 * time.Second},
		{Op: portaltest.OpRevoke, Kind: portaltest.FailAfter}, {Op: portaltest.OpSetDate, Kind: portaltest.LoseReply},
		{Op: portaltest.OpSetDate, Kind: portaltest.HTMLPage}, {Op: portaltest.OpAppInfo, Kind: portaltest.ServerError, Count: 5},
		{Op: portaltest.OpAppInfo, Kind: portaltest.RateLimited, RetryAfter: time.Second, Count: 3}, {Op: portaltest.OpItem, Kind: portaltest.TruncatedJSON},
		{Op: portaltest.OpSignIn, Kind: portaltest.ServerErrorHTML}, {Op: portaltest.OpAppInfo, Kind: portaltest.DelayReply, Delay: time.Second, Count: 10},
	}
	f := faults[rng.IntN(len(faults))]
	if f.Op == portaltest.OpMint {
		w.mu.Lock()
		w.lied[w.interval]++
		w.mu.Unlock()
	}
	if _, err := w.emu.Inject(f); err != nil {
		w.t.Error(err)
	}
}

// settle lets the daemon come to rest: every credential is told not to start
// anything new, and old keys and orphans are retired.
func (w *world) settle(ctx context.Context, p **process) {
	w.t.Helper()
	(*p).kill()
	text, err := os.ReadFile(w.config)
	w.must(err)
	calm := strings.ReplaceAll(string(text), "renew_before: 40s", "renew_before: 2m")
	calm = strings.ReplaceAll(calm, "lifetime: 60s", "lifetime: 10m")
	w.must(os.WriteFile(w.config, []byte(calm), 0o600))
	*p = w.start(w.config)
	end := time.Now().Add(2 * time.Minute)
	for time.Now().Before(end) {
		if w.atRest(ctx) {
			return
		}
		w.after(*p, 500*time.Millisecond)
	}
	w.t.Errorf("not at rest two minutes after the last trouble:\n%s", w.restlessness())
}

// atRest: one valid key a credential, served by every sink, with minutes to live.
func (w *world) atRest(ctx context.Context) bool { return w.restlessness() == "" && ctx.Err() == nil }

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
		if i%2 == 0 {
			raw, _ := os.ReadFile(filepath.Join(w.dir, "keys", n))
			file = strings.TrimSpace(string(raw))
		}
		if len(keys) != 1 || keys[0].Secret != served || file != served || keys[0].Expires.Sub(now) < 3*time.Minute {
			fmt.Fprintf(&b, "%s: %d valid keys, Vault serves %s, the file %s\n", n, len(keys), fingerprint(served), fingerprint(file))
		}
	}
	return b.String()
}

// verdict prints the tally and fails on what must not be.
func (w *world) verdict(c *consumers, kills int) {
	w.t.Helper()
	promoted, rotations := w.promoted()
	lost, orphans := 0, 0
	perCrash := map[string]int{}
	now := w.emu.Now()
	for _, k := range w.emu.Keys() {
		if promoted[fingerprint(k.Secret)] {
			continue
		}
		w.mu.Lock()
		interval := w.mintedIn[k.Secret]
		lied := w.lied[interval]
		w.mu.Unlock()
		if lied == 0 {
			perCrash[k.ItemID+" "+strconv.Itoa(interval)]++
		}
		if k.Valid(now) {
			orphans++
		}
	}
	for _, n := range w.names {
		if ok, _ := w.emu.KeyValid(w.served(w.t.Context(), n)); !ok {
			lost++
		}
	}
	worst := 0
	for _, extra := range perCrash {
		worst = max(worst, extra)
	}
	fmt.Printf("kills: %d, rotations: %d, consumer requests: %d, consumer failures: %d, keys lost: %d, orphans left at the end: %d, worst extra mints a crash: %d\n",
		kills, rotations, c.requests.Load(), len(c.failures), lost, orphans, worst)
	if len(c.failures) > 0 || lost > 0 || orphans > 0 || worst > 1 || c.requests.Load() == 0 {
		w.t.Errorf("consumer failures:\n%s\n%s", strings.Join(c.failures[:min(len(c.failures), 20)], "\n"), w.logTail())
	}
}

// promoted reads from the history which keys every sink served at some time.
func (w *world) promoted() (keys map[rotate.Fingerprint]bool, rotations int) {
	w.t.Helper()
	keys = map[rotate.Fingerprint]bool{}
	for _, n := range w.names {
		out, err := exec.CommandContext(context.Background(), w.binary, "--config", w.config, "--json", "history", n, "--limit", "0").Output()
		if err != nil {
			w.t.Fatalf("history %s: %v", n, err)
		}
		var events []rotate.Event
		w.must(json.Unmarshal(out, &events))
		for _, e := range events {
			if e.Kind == rotate.EventPromoted || (e.Effect == rotate.EffectPublish && e.Result == rotate.ResultOK) {
				keys[e.Fingerprint] = true
			}
			if e.Kind == rotate.EventPromoted {
				rotations++
			}
		}
	}
	return keys, rotations
}

func (w *world) logTail() string {
	raw, _ := os.ReadFile(filepath.Join(w.dir, "daemon.log"))
	lines := strings.Split(string(raw), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}
