package bench

import (
	"testing"
	"time"

	"rotatord/internal/journal"
	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

func restingRecord(i int) rotate.Record {
	end := time.Now().Add(90 * day).UTC().Truncate(time.Second)
	return idleRecord(i, "0123456789abcdef0123456789abcdef", [2]rotate.Fingerprint{"AT1_H4JC97kO-1a2b3c4d", "AT2_H4JC97kO-1a2b3c4d"}, [2]time.Time{end, end})
}

// BenchmarkDecide is the plan of a credential with nothing to do.
func BenchmarkDecide(b *testing.B) {
	in := plan(restingRecord(0), policy())
	b.ReportAllocs()
	for b.Loop() {
		if d := rotate.Decide(in); d.Blocked != rotate.ReasonNotDue {
			b.Fatalf("%+v", d)
		}
	}
	claim{name: "decide about a resting credential", measured: nsPerOp(b), unit: "ns"}.report(b)
}

// BenchmarkIdleAdvance is one call of the engine for a credential with nothing to do: a
// record read from the journal on disk, and a decision.
func BenchmarkIdleAdvance(b *testing.B) {
	db := idleJournal(b, nil, nil)
	c := &rotate.Credential{Name: "credential-00000", ID: restingRecord(0).ID, Policy: policy(), Mode: rotate.ModeRotate,
		Sinks: []rotate.Sink{rotatetest.NewMemSink("memory")}}
	engine, s := restingEngine(b, db), &rotate.Session{}
	if res := engine.Advance(b.Context(), c, s); res.Err != nil { // journals when to come back
		b.Fatal(res.Err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if res := engine.Advance(b.Context(), c, s); res.Blocked != rotate.ReasonNotDue || res.Step != rotate.StepNone || res.Err != nil {
			b.Fatalf("%+v", res)
		}
	}
	claim{name: "advance of a resting credential", measured: nsPerOp(b) / 1000, unit: "us"}.report(b)
}

func restingEngine(b *testing.B, db *journal.DB) *rotate.Engine {
	b.Helper()
	if _, err := db.Save(b.Context(), restingRecord(0)); err != nil {
		b.Fatal(err)
	}
	engine, err := rotate.New(rotate.Options{Journal: db, Instance: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	return engine
}

func nsPerOp(b *testing.B) float64 { return float64(b.Elapsed().Nanoseconds()) / float64(b.N) }
