package bench

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"rotatord/internal/journal"
	"rotatord/internal/portal"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
)

const many = 10_000

// keyEnd of the i-th credential: ends are spread over 300 days.
func keyEnd(i int) time.Time {
	return time.Now().Add(40*day + time.Duration(i%300)*day).Truncate(time.Second)
}

// BenchmarkSurveyRequests counts what a light survey of one organisation asks.
func BenchmarkSurveyRequests(b *testing.B) {
	for _, row := range []struct {
		name     string
		keys     int
		owner    string
		switches map[string]string
		limit    float64
	}{
		{name: "apiTokens, two keys each", keys: 2, limit: 250},
		{name: "apiTokens, one key each", keys: 1, limit: 250},
		{name: "apiTokens that does not page", keys: 2, switches: map[string]string{portaltest.SwitchAPITokensPaging: "start_ignored"}},
		{name: "no apiTokens, own credentials", keys: 2, switches: map[string]string{portaltest.SwitchAPITokens: "off"}},
		{name: "no apiTokens, another owner's", keys: 2, owner: portaltest.CreatorUser, switches: map[string]string{portaltest.SwitchAPITokens: "off"}},
	} {
		b.Run(row.name, func(b *testing.B) {
			emu := portaltest.New(portaltest.Options{Seed: 1, Switches: row.switches})
			for i := range many {
				seed := portaltest.CredentialSeed{Title: fmt.Sprint("credential ", i), Owner: row.owner, Minted: true, Expires: [2]time.Time{keyEnd(i)}}
				if row.keys == 2 {
					seed.Expires[1] = keyEnd(i + 7)
				}
				emu.AddCredential(seed)
			}
			client := newClient(b, portal.Options{URL: "https://portal.example.com", Transport: emu.Transport(), Limits: portal.Limits{Retries: -1}})
			requests := 0.0 // of the first survey, with its sign-in
			for b.Loop() {
				if got := len(listings(b, client)); got != many {
					b.Fatalf("listed %d credentials, want %d", got, many)
				}
				if requests == 0 {
					requests = float64(total(client))
				}
			}
			b.ReportMetric(requests, "requests")
			claim{name: "survey of 10,000: " + row.name, measured: requests, unit: "requests", limit: row.limit}.report(b)
		})
	}
}

func listings(b *testing.B, c *portal.Client) map[rotate.ItemID]portal.Listing {
	b.Helper()
	out := make(map[rotate.ItemID]portal.Listing, many)
	for l, err := range c.Listings(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		out[l.Item] = l
	}
	return out
}

// BenchmarkSurveyAndPlan surveys 10,000 credentials at a portal in another process, reads
// their records from the journal, compares and decides, as the daemon does.
func BenchmarkSurveyAndPlan(b *testing.B) {
	emu := startEmulator(b, program(b))
	items := emu.add(b, many, [2]time.Time{keyEnd(0), keyEnd(7)})
	client := newClient(b, portal.Options{URL: emu.URL, ProxyURL: "direct"})
	db := idleJournal(b, items, listings(b, client))
	policy := policy()
	policy.RenewBefore = 20 * day
	var surveying, reading, deciding time.Duration
	for b.Loop() {
		start := cpuTime(b)
		seen := listings(b, client)
		surveyed := cpuTime(b)
		records, err := db.List(b.Context())
		if err != nil || len(records) != many || len(seen) != many {
			b.Fatalf("%d records, %d listed, %v", len(records), len(seen), err)
		}
		read := cpuTime(b)
		for _, r := range records {
			listed := seen[r.ID.Item]
			if rotate.Disagrees(r, [3]rotate.ListedKey{1: rotate.ListedKey(listed.Keys[1]), 2: rotate.ListedKey(listed.Keys[2])}) {
				b.Fatalf("%s: the listing disagrees with the journal", r.Name)
			}
			if d := rotate.Decide(plan(r, policy)); d.Blocked != rotate.ReasonNotDue || d.Need != 0 {
				b.Fatalf("%s: %+v", r.Name, d)
			}
		}
		surveying += surveyed - start
		reading += read - surveyed
		deciding += cpuTime(b) - read
	}
	mean := func(d time.Duration) float64 { return d.Seconds() / float64(b.N) }
	all := mean(surveying + reading + deciding)
	b.ReportMetric(all, "cpu-s")
	const name = "survey and plan of 10,000: "
	claim{name: name + "survey over HTTP", measured: mean(surveying), unit: "s of CPU"}.report(b)
	claim{name: name + "read the journal", measured: mean(reading), unit: "s of CPU"}.report(b)
	claim{name: name + "compare and decide", measured: mean(deciding), unit: "s of CPU"}.report(b)
	claim{name: name + "all", measured: all, unit: "s of CPU", limit: 1, quiet: true}.report(b)
}

func plan(r rotate.Record, p rotate.Policy) rotate.In {
	now := time.Now().UTC()
	return rotate.In{Now: now, Portal: now.Add(r.Offset), Record: r, Policy: p, Mode: rotate.ModeRotate, ID: r.ID, Instance: "bench"}
}

// idleRecord of an adopted credential at rest with a key in each slot.
func idleRecord(i int, item rotate.ItemID, fingerprints [2]rotate.Fingerprint, ends [2]time.Time) rotate.Record {
	now := time.Now().UTC().Round(0)
	r := rotate.Record{Name: rotate.Name(fmt.Sprintf("credential-%05d", i)), ID: rotate.ID{Portal: "p", Item: item}, Owner: portaltest.AdminUser,
		AdoptedAt: now, Phase: rotate.PhaseIdle, PromotedAt: now, ProbedAt: now, SurveyedAt: now, NextAt: now.Add(day), Blocked: rotate.ReasonNotDue}
	for slot, use := range map[rotate.Slot]rotate.SlotUse{rotate.Slot1: rotate.UseLive, rotate.Slot2: rotate.UsePrevious} {
		key := rotate.KeyFacts{Slot: slot, Fingerprint: fingerprints[slot-1], Generation: int64(3 - slot), Expires: ends[slot-1], LatestExpiry: ends[slot-1], MintedAt: now}
		r.Slots[slot] = rotate.SlotState{Use: use, Key: key, Since: now, Active: true, Expires: key.Expires, SeenAt: now}
	}
	r.Live, r.Previous, r.TopGeneration = r.Slots[rotate.Slot1].Key, r.Slots[rotate.Slot2].Key, 2
	return r
}

// idleJournal holds a record that agrees with the portal for each credential.
func idleJournal(b *testing.B, items []made, seen map[rotate.ItemID]portal.Listing) *journal.DB {
	b.Helper()
	db, err := journal.Open(b.Context(), journal.Options{Path: filepath.Join(b.TempDir(), "journal.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	next := make(chan int)
	var writers sync.WaitGroup
	for range 100 { // so that they share commits
		writers.Go(func() {
			for i := range next {
				m := items[i]
				keys := seen[rotate.ItemID(m.Item)].Keys
				r := idleRecord(i, rotate.ItemID(m.Item), [2]rotate.Fingerprint{rotate.NewSecret(m.Keys[0]).Fingerprint(), rotate.NewSecret(m.Keys[1]).Fingerprint()},
					[2]time.Time{keys[1].Expires, keys[2].Expires})
				if _, err := db.Save(b.Context(), r); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range items {
		next <- i
	}
	close(next)
	writers.Wait()
	return db
}
