package journal

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

// BenchmarkSave is one durable step: the record and one event.
func BenchmarkSave(b *testing.B) {
	db := open(b, tempPath(b))
	r := rotatetest.FullRecord("maps")
	e := rotatetest.FullEvent("maps")
	for b.Loop() {
		r = save(b, db, r, e)
	}
}

// BenchmarkSaveTogether is twenty workers on a credential each: saves a second are
// what bounds the effects a second of a pool.
func BenchmarkSaveTogether(b *testing.B) {
	db := open(b, tempPath(b))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var workers atomic.Int64
	b.SetParallelism(10) // times the two processors that this was measured on
	b.RunParallel(func(pb *testing.PB) {
		name := rotate.Name(fmt.Sprint("c", workers.Add(1)))
		r := idleRecord(name, now)
		for pb.Next() {
			saved, err := db.Save(b.Context(), r, event(name, rotate.EventEffect, now))
			if err != nil {
				b.Error(err)
				return
			}
			r = saved
		}
	})
}

func BenchmarkList10000(b *testing.B) {
	db := open(b, tempPath(b))
	fillJournal(b, db, 10_000)
	for b.Loop() {
		if got, err := db.List(b.Context()); err != nil || len(got) != 10_000 {
			b.Fatalf("list: %d, %v", len(got), err)
		}
	}
}

// BenchmarkOpen10000 is a start with 10,000 credentials and 100,000 events: most of
// it is the check of the file.
func BenchmarkOpen10000(b *testing.B) {
	path := tempPath(b)
	db, err := Open(b.Context(), Options{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	fillJournal(b, db, 10_000)
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		db, err := Open(b.Context(), Options{Path: path})
		if err != nil {
			b.Fatal(err)
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// fillJournal writes records of an idle credential with ten events each, in one
// transaction.
func fillJournal(b *testing.B, db *DB, n int) {
	b.Helper()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	err := db.update(b.Context(), func(ctx context.Context, tx *sql.Tx) error {
		for i := range n {
			r := idleRecord(rotate.Name(fmt.Sprintf("credential-%05d", i)), now)
			events := make([]rotate.Event, 10)
			for j := range events {
				events[j] = rotate.Event{At: now.Add(time.Duration(j) * time.Hour), Name: r.Name, Portal: "esri", Kind: rotate.EventEffect,
					Effect: rotate.EffectProbe, Result: rotate.ResultOK}
			}
			if _, err := saveRecord(ctx, tx, r, events); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}

// idleRecord is what most records are most of the time.
func idleRecord(name rotate.Name, now time.Time) rotate.Record {
	key := rotate.KeyFacts{Slot: rotate.Slot1, Fingerprint: "AT1_H4JC97kO-1a2b3c4d", Generation: 7, Expires: now.AddDate(0, 11, 0),
		LatestExpiry: now.AddDate(0, 11, 0), MintedAt: now}
	return rotate.Record{
		Name: name, ID: rotate.ID{Portal: "esri", Item: "0123456789abcdef0123456789abcdef"}, Owner: "maps_admin", ClientID: "aaaabbbbH4JC97kO",
		AdoptedAt: now, Phase: rotate.PhaseIdle, Live: key, PromotedAt: now, ProbedAt: now, SurveyedAt: now,
		Blocked: rotate.ReasonNotDue, NextAt: now.AddDate(0, 10, 0),
		Slots: [3]rotate.SlotState{1: {Use: rotate.UseLive, Key: key, Asked: now, Since: now, Active: true, Expires: key.Expires, SeenAt: now},
			2: {Use: rotate.UseEmpty, Since: now, SeenAt: now}},
	}
}
