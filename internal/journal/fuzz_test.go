package journal

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"rotatord/internal/rotate"
)

// A row is read as a whole or refused: what is read is written again without a change.
func FuzzDecodeRecord(f *testing.F) {
	f.Add(1, []byte(`{"name":"maps","id":{"portal":"p","item":"i"},"epoch":1,"phase":"idle","slots":[{},{},{}]}`))
	f.Add(2, []byte(`{}`))
	f.Add(1, []byte(`{"slots":[1]}`))
	f.Add(1, []byte(`{"name":"a"}{"name":"b"}`))
	f.Fuzz(func(t *testing.T, format int, body []byte) {
		roundTrip[rotate.Record](t, "record", format, recordFormat, body)
	})
}

// FuzzDecodeEvent is the same for a row of the history.
func FuzzDecodeEvent(f *testing.F) {
	f.Add(1, []byte(`{"at":"2026-03-01T12:00:00Z","name":"maps","kind":"effect","effect":"mint","result":"ok","slot":1,"took_ns":5}`))
	f.Add(1, []byte(`{"at":"2026-03-01T12:00:00Z","name":"maps","kind":"held","detail":"\u003c\u2028\ud800"}`))
	f.Add(1, []byte(`{"at":1}`))
	f.Fuzz(func(t *testing.T, format int, body []byte) {
		roundTrip[rotate.Event](t, "event", format, eventFormat, body)
	})
}

func roundTrip[T any](t *testing.T, what string, format, known int, body []byte) {
	t.Helper()
	var got, again T
	err := decode(what, format, known, body, &got)
	if err != nil {
		if text := err.Error(); len(text) > 300+len(body) || !strings.HasPrefix(text, "decode "+what) {
			t.Errorf("error %q", text)
		}
		return
	}
	if format != known {
		t.Errorf("format %d was read as %+v", format, got)
	}
	raw, err := json.Marshal(got)
	if err != nil {
		return // a time beyond the year 9999 can be read and not written: no Save lets it in
	}
	if err := decode(what, format, known, raw, &again); err != nil {
		t.Fatalf("%s is refused: %v", raw, err)
	}
	if second, err := json.Marshal(again); err != nil || !bytes.Equal(raw, second) {
		t.Errorf("%s became %s, %v", raw, second, err)
	}
}

// No single edit of a whole export changes an event unseen, and an outsider comes to the
// same verdict.
func FuzzExportEdit(f *testing.F) {
	whole := exported(f, twoHistories(f), "", Filter{})
	f.Add(300, 1, []byte("x"))
	f.Add(0, 1, []byte(""))
	f.Add(500, 0, []byte("\n"))
	f.Add(len(whole)-1, 1, []byte(""))
	f.Add(40, 30, []byte("2001-01-01T00:00:00Z"))
	f.Fuzz(func(t *testing.T, at, remove int, insert []byte) {
		if at < 0 || at > len(whole) || remove < 0 || at+remove > len(whole) {
			return
		}
		edited := whole[:at] + string(insert) + whole[at+remove:]
		got, err := VerifyExport(strings.NewReader(edited))
		if err != nil {
			if len(err.Error()) > 1000+len(edited) {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if err := outsider(strings.ReplaceAll(edited, "\r\n", "\n")); err != nil {
			t.Errorf("an outsider says %v", err)
		}
		was, is := events(whole), events(edited)
		if len(is) == len(was) && !slices.Equal(is, was) && !got.Part {
			t.Errorf("passes for whole with %q at %d instead of %q", insert, at, whole[at:at+remove])
		}
	})
}

// events of an export. That a credential is left out, or an end with its head set back, is
// what docs/journal.md says a file alone cannot show.
func events(export string) (lines []string) {
	for line := range strings.Lines(export) {
		if strings.Contains(line, `,"event":`) {
			lines = append(lines, strings.TrimRight(line, "\r\n"))
		}
	}
	return lines
}

// FuzzVerifyExport reads anything: no export of nothing passes for a history.
func FuzzVerifyExport(f *testing.F) {
	f.Add([]byte(exported(f, twoHistories(f), "", Filter{})))
	f.Add([]byte(exported(f, twoHistories(f), "maps", Filter{Since: day(2), Until: day(4)})))
	f.Add([]byte(`{"rotatord_history":1,"exported_at":"2026-03-01T00:00:00Z","credentials":-1}`))
	f.Add([]byte(`{"rotatord_history":1,"exported_at":"2026-03-01T00:00:00Z","credentials":9000000000000000000}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := VerifyExport(bytes.NewReader(text))
		if err != nil {
			return
		}
		var events int64
		for _, c := range got.Credentials {
			events += c.Events
		}
		if lines := int64(bytes.Count(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))) + 1; lines != 1+int64(len(got.Credentials))+events {
			t.Errorf("%d lines and %+v", lines, got)
		}
	})
}

// Damage to the file is found, or is where no data were: what is read without an error
// and verifies is what was written.
func FuzzDamagedFile(f *testing.F) {
	db := twoHistories(f)
	source := filepath.Join(f.TempDir(), "copy.db")
	if err := db.Backup(f.Context(), source); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(source)
	if err != nil {
		f.Fatal(err)
	}
	want := historyOf(f, db)
	for _, at := range []int{0, 16, 18, 24, 28, 60, 100, 105, 4096, 4100, 8192, 12288, 20000, len(good) - 10} {
		f.Add(at, []byte{0xff, 0x01})
	}
	path := filepath.Join(f.TempDir(), "journal.db")
	f.Fuzz(func(t *testing.T, at int, damage []byte) {
		if at < 0 || at >= len(good) || len(damage) > 512 {
			return
		}
		bad := bytes.Clone(good)
		for i := range min(len(damage), len(bad)-at) {
			bad[at+i] ^= damage[i]
		}
		for _, suffix := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(path + suffix)
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := Open(t.Context(), Options{Path: path, ReadOnly: true})
		if err != nil {
			return
		}
		defer db.Close()
		for _, name := range []rotate.Name{"maps", "tiles"} {
			if _, err := db.Verify(t.Context(), name); err != nil {
				return
			}
			if _, err := db.Load(t.Context(), name); err != nil {
				return
			}
		}
		var out bytes.Buffer
		if err := db.Export(t.Context(), &out, "", Filter{}); err != nil {
			return
		}
		if _, err := VerifyExport(&out); err != nil {
			return
		}
		entries, err := db.History(t.Context(), "maps", Filter{})
		if err != nil || len(entries) == 0 {
			return // a damaged index finds nothing, or the record and its head are gone with the events
		}
		if got := historyOf(t, db); !reflect.DeepEqual(got, want) {
			t.Errorf("damage at %d goes unseen: %+v", at, got)
		}
	})
}

func historyOf(t testing.TB, db *DB) []Entry {
	t.Helper()
	entries, err := db.History(t.Context(), "maps", Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}
