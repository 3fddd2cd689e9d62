package bench

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/robfig/cron/v3"

	"rotatord/internal/daemon"
	"rotatord/internal/journal"
	"rotatord/internal/portal"
	"rotatord/internal/rotate"
	"rotatord/internal/sinks"
)

const (
	fleetSize = 1000
	latency   = 50 * time.Millisecond
	atOnce    = 20
	// workers of the daemon: more than the portal takes at once, so that journal and sinks
	// are written while others wait for the portal.
	workers = 3 * atOnce
)

// BenchmarkThroughput rotates 1,000 credentials through daemon, engine, journal on disk, file
// sinks and portal client, against a portal in another process that takes 50 ms a request
// and refuses the 21st at once.
func BenchmarkThroughput(b *testing.B) {
	emu := startEmulator(b, program(b), "--latency", latency.String(), "--max-in-flight", fmt.Sprint(atOnce), "--manner", "strict")
	var busy atomic.Int64 // nanoseconds of requests under way
	client := newClient(b, portal.Options{URL: emu.URL, ProxyURL: "direct", Limits: portal.Limits{AtOnce: atOnce, Retries: -1},
		OnRequest: func(_ string, _ rotate.Purpose, _ rotate.Result, took time.Duration) { busy.Add(int64(took)) }})
	db, err := journal.Open(b.Context(), journal.Options{Path: filepath.Join(b.TempDir(), "journal.db")})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	f := &fleet{b: b, db: db, client: client, dir: b.TempDir()}
	for i, m := range emu.add(b, fleetSize, [2]time.Time{time.Now().Add(20 * day)}) {
		f.add(i, m)
	}
	policy := policy()
	policy.RenewBefore, policy.Overlap = 10*day, latency
	f.run(policy) // adopts; nothing is due
	bare := bareShare(b, client)
	f.check(1)
	policy.RenewBefore = 30 * day
	for b.Loop() {
		busy.Store(0)
		before, began, cpu := total(client), time.Now(), cpuTime(b)
		f.run(policy)
		took := time.Since(began)
		cpu = cpuTime(b) - cpu
		f.check(2)
		requests := total(client) - before
		share := 100 * float64(requests) * latency.Seconds() / (atOnce * took.Seconds())
		b.ReportMetric(share, "%limit")
		b.ReportMetric(fleetSize/took.Seconds(), "rotations/s")
		claim{name: "throughput: share of the portal's limit", measured: share, unit: "%", limit: 95, atLeast: true, quiet: true}.report(b)
		claim{name: "throughput: the 20 requests at once in use", measured: 100 * float64(busy.Load()) / float64(atOnce*took), unit: "% of the time", limit: 95, atLeast: true, quiet: true}.report(b)
		claim{name: "throughput: mean request", measured: float64(busy.Load()) / float64(requests) / 1e6, unit: "ms"}.report(b)
		claim{name: "throughput: the same, by a bare loop of 20 callers", measured: bare, unit: "%"}.report(b)
		claim{name: "throughput: CPU of a rotation", measured: float64(cpu.Microseconds()) / 1000 / fleetSize, unit: "ms"}.report(b)
		claim{name: "throughput: rotations", measured: fleetSize / took.Seconds(), unit: "a second"}.report(b)
		claim{name: "throughput: portal requests a rotation", measured: float64(requests) / fleetSize, unit: "requests"}.report(b)
	}
}

// bareShare is what this machine reaches, as it is loaded now, with callers that do nothing
// but ask the portal.
func bareShare(b *testing.B, c *portal.Client) float64 {
	b.Helper()
	const each = 100
	began := time.Now()
	var callers sync.WaitGroup
	for range atOnce {
		callers.Go(func() {
			for range each {
				if err := c.Control(b.Context()); err != nil {
					b.Error(err)
				}
			}
		})
	}
	callers.Wait()
	return 100 * each * latency.Seconds() / time.Since(began).Seconds()
}

func total(c *portal.Client) (n int) {
	for _, m := range c.Counts() {
		n += m
	}
	return n
}

// fleet is what the daemon looks after.
type fleet struct {
	b           *testing.B
	db          *journal.DB
	client      *portal.Client
	dir         string
	credentials []daemon.Managed
}

func (f *fleet) add(i int, m made) {
	f.b.Helper()
	name := rotate.Name(fmt.Sprintf("credential-%04d", i))
	path := filepath.Join(f.dir, string(name))
	if err := os.WriteFile(path, []byte(m.Keys[0]), 0o600); err != nil {
		f.b.Fatal(err)
	}
	sink, err := sinks.NewFile(sinks.FileOptions{Name: "file", Path: path, Format: sinks.FormatBare, KeepPrevious: 1})
	if err != nil {
		f.b.Fatal(err)
	}
	f.credentials = append(f.credentials, daemon.Managed{Credential: &rotate.Credential{Name: name,
		ID: rotate.ID{Portal: "p", Item: rotate.ItemID(m.Item)}, Mode: rotate.ModeRotate, Portal: f.client, Sinks: []rotate.Sink{sink}}})
}

// run the daemon's own loop, lanes and workers until every credential waits.
func (f *fleet) run(p rotate.Policy) {
	f.b.Helper()
	for _, m := range f.credentials {
		m.Policy = p
	}
	elapsed, err := daemon.Elapsed()
	if err != nil {
		f.b.Fatal(err)
	}
	engine, err := rotate.New(rotate.Options{Journal: f.db, Instance: "bench", Elapsed: elapsed})
	if err != nil {
		f.b.Fatal(err)
	}
	d, err := daemon.New(daemon.Options{Engine: engine, Journal: f.db, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Fleet: &daemon.Fleet{Portals: []daemon.Portal{{ID: "p", Workers: workers}}, Credentials: f.credentials, Tick: cron.Every(time.Minute)}})
	if err != nil {
		f.b.Fatal(err)
	}
	if err := d.Once(f.b.Context()); err != nil {
		f.b.Fatal(err)
	}
}

// check that every credential is at rest with a key of that generation, at its first try.
func (f *fleet) check(generation int64) {
	f.b.Helper()
	records, err := f.db.List(f.b.Context())
	if err != nil || len(records) != fleetSize {
		f.b.Fatalf("%d records, %v", len(records), err)
	}
	for _, r := range records {
		if r.Phase != rotate.PhaseIdle || r.Live.Generation != generation || r.LastError != "" || r.Slots[3-r.Live.Slot].Active {
			f.b.Fatalf("%s is not at rest in generation %d: %+v", r.Name, generation, r)
		}
	}
}
