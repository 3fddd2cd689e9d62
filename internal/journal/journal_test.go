package journal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

func TestContract(t *testing.T) {
	rotatetest.RunJournalTests(t, func(t *testing.T) func() rotate.Journal {
		path := tempPath(t)
		return func() rotate.Journal { return open(t, path) }
	})
}

func tempPath(t testing.TB) string { return filepath.Join(t.TempDir(), "journal.db") }

func open(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func save(t testing.TB, db *DB, r rotate.Record, events ...rotate.Event) rotate.Record {
	t.Helper()
	saved, err := db.Save(t.Context(), r, events...)
	if err != nil {
		t.Fatalf("save: %v", err)
	}
	return saved
}

func event(name rotate.Name, kind rotate.EventKind, at time.Time) rotate.Event {
	return rotate.Event{At: at, Name: name, Portal: "esri", Kind: kind}
}

func day(n int) time.Time { return time.Date(2026, 3, n, 12, 0, 0, 0, time.UTC) }

// wantSays fails unless the error contains every text.
func wantSays(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", texts)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

func TestFilesAreOurs(t *testing.T) {
	path := tempPath(t)
	db, err := Open(t.Context(), Options{Path: path, Holder: &Holder{Command: "run"}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	save(t, db, rotate.Record{Name: "maps"})
	if !db.Created() {
		t.Error("a new journal does not say so")
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %#o", filepath.Base(f), info.Mode().Perm()))
	}
	want := []string{"journal.db 0600", "journal.db-shm 0600", "journal.db-wal 0600", "journal.db.lock 0600"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestPathWithOddCharacters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?mode=memory#50%25")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "journal.db")
	save(t, open(t, path), rotate.Record{Name: "maps", Owner: "kept"})
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the journal is not where it was asked for: %v", err)
	}
}

func TestPragmas(t *testing.T) {
	db := open(t, tempPath(t))
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000", "application_id": fmt.Sprint(applicationID),
	} {
		for name, pool := range map[string]*sql.DB{"write": db.write, "read": db.read} {
			var got string
			if err := pool.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %s = %q, %v; want %q", name, pragma, got, err, want)
			}
		}
	}
}

func TestRefusedFiles(t *testing.T) {
	corrupt := func(from, to int) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			db := open(t, path)
			for i := range 50 {
				save(t, db, rotatetest.FullRecord(rotate.Name(fmt.Sprint("c", i))))
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := from; i < to && i < len(body); i++ {
				body[i] = 0xa5
			}
			write(t, path, body, 0o600)
		}
	}
	for _, tt := range []struct {
		name    string
		make    func(t *testing.T, path string)
		damaged bool
		says    []string
	}{
		{"empty file", func(t *testing.T, path string) { write(t, path, nil, 0o600) }, true, []string{"no SQLite file", "rebuilt from the sinks"}},
		{"text file", func(t *testing.T, path string) { write(t, path, []byte(strings.Repeat("hello ", 99)), 0o600) }, true, []string{"no SQLite file"}},
		{"broken first page", corrupt(100, 4096), true, []string{"damaged", "copy a backup"}},
		{"broken page inside", corrupt(5*4096, 9*4096), true, []string{"damaged", "copy a backup"}},
		{"file of another program", otherProgram, false, []string{"another program"}},
		{"others may read", func(t *testing.T, path string) { corrupt(0, 0)(t, path); chmod(t, path, 0o644) }, false, []string{"chmod 0600 "}},
		{"directory", func(t *testing.T, path string) { mkdir(t, path) }, false, []string{"no regular file"}},
		{"newer schema", newerSchema, false, []string{"schema 99", "up to 5", "newer rotatord"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := tempPath(t)
			tt.make(t, path)
			before, _ := os.ReadFile(path)
			_, err := Open(t.Context(), Options{Path: path})
			wantSays(t, err, append(tt.says, path)...)
			if got := IsDamaged(err); got != tt.damaged {
				t.Errorf("IsDamaged(%v) = %v, want %v", err, got, tt.damaged)
			}
			after, _ := os.ReadFile(path)
			if string(before) != string(after) {
				t.Error("the refused file was changed")
			}
		})
	}
}

func write(t *testing.T, path string, body []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, body, mode); err != nil {
		t.Fatal(err)
	}
	chmod(t, path, mode)
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func otherProgram(t *testing.T, path string) {
	write(t, path, nil, 0o600)
	db := connect(path, false, 1)
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE t (x)"); err != nil {
		t.Fatal(err)
	}
}

func newerSchema(t *testing.T, path string) {
	db, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.write.ExecContext(t.Context(), "INSERT INTO schema_version VALUES (99, 'future', '')"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedDirectories(t *testing.T) {
	loose := t.TempDir()
	chmod(t, loose, 0o777)
	_, err := Open(t.Context(), Options{Path: filepath.Join(loose, "journal.db")})
	wantSays(t, err, "others may write", "chmod 0700 "+loose)

	_, err = Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "missing", "journal.db")})
	wantSays(t, err, "install -d")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not ErrNotExist", err)
	}
}

func TestReadOnly(t *testing.T) {
	path := tempPath(t)
	if _, err := Open(t.Context(), Options{Path: path, ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("reading a missing journal gave %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("reading a missing journal made one")
	}
	w := open(t, path)
	save(t, w, rotate.Record{Name: "maps", Owner: "before"})
	r, err := Open(t.Context(), Options{Path: path, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	save(t, w, rotate.Record{Name: "tiles", Owner: "after"})
	got, err := r.List(t.Context())
	if err != nil || len(got) != 2 {
		t.Errorf("the reader sees %d records, %v; want 2", len(got), err)
	}
	if _, err := r.Save(t.Context(), rotate.Record{Name: "roads"}); !errors.Is(err, errReadOnly) {
		t.Errorf("saving through a reader gave %v", err)
	}
	if err := r.AlertState().Put(t.Context(), "k", []byte("1")); !errors.Is(err, errReadOnly) {
		t.Errorf("putting through a reader gave %v", err)
	}
}

func TestStrictDecoding(t *testing.T) {
	for _, tt := range []struct{ name, set, says string }{
		{"unknown field", `body = json_set(body, '$.surprise', 1)`, `unknown field "surprise"`},
		{"newer format", `format = 2`, "it has format 2"},
		{"no JSON", `body = 'x'`, "invalid character"},
		{"two values", `body = body || '{}'`, "more than one value"},
		{"another epoch", `body = json_set(body, '$.epoch', 7)`, "its body has epoch 7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := open(t, tempPath(t))
			save(t, db, rotate.Record{Name: "maps"})
			if _, err := db.write.ExecContext(t.Context(), "UPDATE records SET "+tt.set); err != nil {
				t.Fatal(err)
			}
			_, err := db.Load(t.Context(), "maps")
			wantSays(t, err, "load record of maps", tt.says)
			_, err = db.List(t.Context())
			wantSays(t, err, tt.says)
		})
	}
}

// TestInBubble: the crash sweep runs on this journal in fake time.
func TestInBubble(t *testing.T) {
	path := tempPath(t)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		db, err := Open(t.Context(), Options{Path: path, Holder: &Holder{Command: "run"}})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		done := make(chan error)
		for i := range 4 {
			go func() {
				_, err := db.Save(ctx, rotate.Record{Name: rotate.Name(fmt.Sprint("c", i))})
				done <- err
			}()
		}
		for range 4 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if got, err := db.List(ctx); err != nil || len(got) != 4 {
			t.Errorf("list: %d records, %v", len(got), err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("the journal let %s of fake time pass", took)
		}
	})
}

func TestState(t *testing.T) {
	path := tempPath(t)
	db := open(t, path)
	ctx := t.Context()
	for _, s := range []State{db.AlertState(), db.PortalState()} {
		for _, kv := range [][2]string{{"b", `{"n":1}`}, {"a", `[]`}, {"b", `{"n":2}`}} {
			if err := s.Put(ctx, kv[0], []byte(kv[1])); err != nil {
				t.Fatal(err)
			}
		}
		wantSays(t, s.Put(ctx, "a", []byte("no json")), "JSON value")
	}
	if err := db.AlertState().Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	for _, tt := range []struct {
		state State
		want  []string
	}{{again.AlertState(), []string{`b={"n":2}`}}, {again.PortalState(), []string{`a=[]`, `b={"n":2}`}}} {
		rows, err := tt.state.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range rows {
			got = append(got, e.Key+"="+string(e.Value))
			if age := time.Since(e.Updated); age < 0 || age > time.Hour {
				t.Errorf("%s was updated %s ago", e.Key, age)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.state.table, diff)
		}
	}
	if _, found, err := again.AlertState().Get(ctx, "a"); found || err != nil {
		t.Errorf("a deleted key: found %v, %v", found, err)
	}
	values, err := again.PortalState().Values(ctx)
	if diff := cmp.Diff(map[string][]byte{"a": []byte(`[]`), "b": []byte(`{"n":2}`)}, values); diff != "" || err != nil {
		t.Errorf("values (-want +got): %v\n%s", err, diff)
	}
	if v, found, err := again.AlertState().Get(ctx, "b"); string(v) != `{"n":2}` || !found || err != nil {
		t.Errorf("get = %s, %v, %v", v, found, err)
	}
}

func TestDue(t *testing.T) {
	db := open(t, tempPath(t))
	for name, next := range map[rotate.Name]time.Time{"later": day(9), "now": day(5), "overdue": day(1), "never": {}} {
		save(t, db, rotate.Record{Name: name, NextAt: next})
	}
	records, err := db.Due(t.Context(), day(5))
	if err != nil {
		t.Fatal(err)
	}
	var got []rotate.Name
	for _, r := range records {
		got = append(got, r.Name)
	}
	if diff := cmp.Diff([]rotate.Name{"overdue", "now"}, got); diff != "" {
		t.Errorf("due (-want +got):\n%s", diff)
	}
}
