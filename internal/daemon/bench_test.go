package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"rotatord/internal/journal"
	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

// The portal of the benchmark: what it takes for a call, and how many calls it bears at once.
const (
	benchLatency = 50 * time.Millisecond
	benchAtOnce  = 20
	benchWorkers = 2 * benchAtOnce // some of them write the journal meanwhile
)

// BenchmarkRotations adopts and rotates 1,000 credentials and tells how much of the portal's limit was used.
func BenchmarkRotations(b *testing.B) {
	for b.Loop() {
		const credentials = 1000
		em := portaltest.New(portaltest.Options{Latency: benchLatency, MaxInFlight: benchAtOnce})
		d, db := benchDaemon(b, em, credentials)
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		began := time.Now()
		go func() { ended <- d.Run(ctx) }()
		awaitPromoted(b, d, credentials)
		took := time.Since(began)
		requests, peak := em.Requests()
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		if err := db.Close(); err != nil {
			b.Error(err)
		}
		limit := float64(benchAtOnce) / benchLatency.Seconds()
		b.ReportMetric(float64(credentials)/took.Seconds(), "rotations/s")
		b.ReportMetric(100*float64(requests)/took.Seconds()/limit, "%limit")
		b.ReportMetric(float64(requests)/credentials, "requests/rotation")
		b.ReportMetric(float64(peak), "peak")
	}
}

// benchDaemon has credentials whose keys are due, in sinks in memory.
func benchDaemon(b *testing.B, em *portaltest.Emulator, credentials int) (*Daemon, *journal.DB) {
	b.Helper()
	password := func(context.Context) (rotate.Secret, error) {
		return rotate.NewSecret(portaltest.StandardPassword), nil
	}
	client, err := portal.New(portal.Options{URL: "https://portal.example.com", Transport: em.Transport(), Limits: portal.Limits{AtOnce: benchAtOnce},
		Identity: portal.Identity{Password: &portal.PasswordIdentity{Username: portaltest.AdminUser, Password: password}}})
	if err != nil {
		b.Fatal(err)
	}
	fleet := &Fleet{Tick: everyMinute(), Portals: []Portal{{ID: "p", Workers: benchWorkers}}}
	for i := range credentials {
		m := managed("p", i)
		made := em.AddCredential(portaltest.CredentialSeed{Title: fmt.Sprint(i), Minted: true, Expires: [2]time.Time{time.Now().Add(10 * 24 * time.Hour)}})
		m.ID.Item = rotate.ItemID(made.ItemID)
		sink := rotatetest.NewMemSink("memory")
		if _, err := sink.Write(b.Context(), rotate.Entry{Key: rotate.NewSecret(made.Keys[0])}, ""); err != nil {
			b.Fatal(err)
		}
		m.Policy, m.Portal, m.Sinks = yearPolicy(), client, []rotate.Sink{sink}
		fleet.Credentials = append(fleet.Credentials, m)
	}
	db, err := journal.Open(b.Context(), journal.Options{Path: filepath.Join(b.TempDir(), "journal.db")})
	if err != nil {
		b.Fatal(err)
	}
	engine, err := rotate.New(rotate.Options{Journal: db, Instance: "0123456789abcdef0123456789abcdef"})
	if err != nil {
		b.Fatal(err)
	}
	d, err := New(Options{Engine: engine, Journal: db, Fleet: fleet})
	if err != nil {
		b.Fatal(err)
	}
	return d, db
}

// awaitPromoted waits until every credential serves its second key.
func awaitPromoted(b *testing.B, d *Daemon, credentials int) {
	b.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(10 * time.Minute)
	defer limit.Stop()
	for {
		done := 0
		for _, v := range d.Views() {
			if v.Record.Phase == rotate.PhaseOverlap {
				done++
			}
		}
		if done == credentials {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			b.Fatalf("%d of %d credentials were rotated in 10 minutes", done, credentials)
		}
	}
}
