package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/journal"
	"rotatord/internal/metrics"
	"rotatord/internal/rotate"
)

// What the journal does is counted, and a lost race is no failure of it.
func TestTheJournalIsCounted(t *testing.T) {
	t.Parallel()
	db, err := journal.Open(t.Context(), journal.Options{Path: filepath.Join(t.TempDir(), "journal.db")})
	if err != nil {
		t.Fatal(err)
	}
	m := metrics.New(metrics.Options{})
	a := app{db: db, metrics: m}
	j := a.journal()
	first, err := j.Load(t.Context(), "maps")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Save(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Save(t.Context(), first); rotate.KindOf(err) != rotate.KindConflict {
		t.Fatalf("saved twice from one reading: %v, want a conflict", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Save(t.Context(), first); err == nil {
		t.Fatal("a closed journal was written")
	}
	_, err = j.List(t.Context())
	_, err2 := j.Deaths(t.Context(), "esri", time.Now())
	if err == nil || err2 == nil {
		t.Fatal("a closed journal was read")
	}
	var shown strings.Builder
	if err := m.WriteText(&shown); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`{operation="read",result="ok"} 1`, `{operation="read",result="failed"} 2`, `{operation="read",result="conflict"} 0`,
		`{operation="write",result="ok"} 1`, `{operation="write",result="conflict"} 1`, `{operation="write",result="failed"} 1`} {
		if !strings.Contains(shown.String(), "rotatord_journal_operations_total"+want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}
