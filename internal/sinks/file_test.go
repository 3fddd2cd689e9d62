package sinks

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

// testKey number n has the form of a real key; canary marks it for searches.
const canary = "Canary"

func testKey(n int) rotate.Secret {
	return rotate.NewSecret(fmt.Sprintf("AAPT%s%032d..AT%d_H4JC97kO", canary, n, 2-n%2))
}

func testEntry(n int) rotate.Entry {
	key := testKey(n)
	return rotate.Entry{Key: key, Meta: &rotate.Meta{
		Format: rotate.MetaFormat, Portal: "prod", Item: "0123456789abcdef0123456789abcdef", Instance: "i1",
		RotationID: fmt.Sprintf("01J%d", n),
		Key:        rotate.KeyFacts{Slot: key.Fingerprint().Slot(), Fingerprint: key.Fingerprint(), Generation: int64(n), Expires: time.Date(2027, 1, n, 23, 59, 59, 0, time.UTC)},
	}}
}

func mustFile(t testing.TB, opt FileOptions) *File {
	t.Helper()
	opt.Name = "file"
	f, err := NewFile(opt)
	if err != nil {
		t.Fatalf("new file sink: %v", err)
	}
	return f
}

func put(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func content(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func mustWrite(t testing.TB, s rotate.Sink, e rotate.Entry, cas rotate.Version) rotate.Version {
	t.Helper()
	v, err := s.Write(t.Context(), e, cas)
	if err != nil {
		t.Fatalf("write on version %q: %v", cas, err)
	}
	return v
}

func mustRead(t testing.TB, s rotate.Sink) rotate.Entry {
	t.Helper()
	e, err := s.Read(t.Context())
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return e
}

func sameEntry(a, b rotate.Entry) bool { return a.Key.Equal(b.Key) && cmp.Equal(a.Meta, b.Meta) }

func TestFileContract(t *testing.T) {
	for _, format := range []FileFormat{FormatDotenv, FormatJSON, FormatBare} {
		t.Run(string(format), func(t *testing.T) {
			rotatetest.RunSinkTests(t, func(t *testing.T) rotatetest.SinkFixture { return fileFixture(t, format) })
		})
	}
}

func fileFixture(t *testing.T, format FileFormat) rotatetest.SinkFixture {
	path := filepath.Join(t.TempDir(), "key")
	f := rotatetest.SinkFixture{
		Open: func() rotate.Sink {
			return mustFile(t, FileOptions{Path: path, Format: format, KeepPrevious: 5})
		},
		EditKey: func(t *testing.T, key string) {
			e := mustRead(t, mustFile(t, FileOptions{Path: path, Format: format}))
			put(t, path, strings.Replace(content(t, path), e.Key.Reveal(), key, 1))
		},
		Delete: func(t *testing.T) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	}
	switch format {
	case FormatDotenv:
		f.SetForeign = func(t *testing.T, value string) { setLine(t, path, "THEIRS=", value) }
		f.Foreign = func(t *testing.T) string { return line(content(t, path), "THEIRS=") }
		f.BreakKey = func(t *testing.T) { put(t, path, DefaultVariable+"=\"two words\"\n") }
	case FormatJSON:
		f.SetForeign = func(t *testing.T, value string) { setJSON(t, path, "theirs", value) }
		f.Foreign = func(t *testing.T) string { return fmt.Sprint(object(t, path)["theirs"]) }
		f.BreakKey = func(t *testing.T) { put(t, path, `{"api_key": 12345678901234567890}`) }
	case FormatBare:
		f.BreakKey = func(t *testing.T) { put(t, path, "two words") }
	}
	return f
}

func line(text, prefix string) string {
	for l := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(l, prefix); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func setLine(t *testing.T, path, prefix, value string) {
	t.Helper()
	var kept strings.Builder
	if _, err := os.Stat(path); err == nil {
		for l := range strings.Lines(content(t, path)) {
			if !strings.HasPrefix(l, prefix) {
				kept.WriteString(l)
			}
		}
	}
	put(t, path, prefix+value+"\n"+kept.String())
}

func object(t *testing.T, path string) map[string]any {
	t.Helper()
	o := map[string]any{}
	if _, err := os.Stat(path); err == nil {
		if err := json.Unmarshal([]byte(content(t, path)), &o); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func setJSON(t *testing.T, path, field, value string) {
	t.Helper()
	o := object(t, path)
	o[field] = value
	raw, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	put(t, path, string(raw))
}

var errCrash = errors.New("crash")

// crashPoints are all points of one write, by a dry run.
func crashPoints(t *testing.T, e rotate.Entry, prepare func(t *testing.T) (FileOptions, rotate.Version)) []string {
	t.Helper()
	opt, v := prepare(t)
	f := mustFile(t, opt)
	var points []string
	f.crash = func(point string) error { points = append(points, point); return nil }
	mustWrite(t, f, e, v)
	return points
}

// A crash at any point of any write leaves exactly the old or the new state, a version
// that can be written on, and nothing that looks like somebody else's doing.
func TestFileCrash(t *testing.T) {
	for _, tt := range []struct {
		name    string
		entry   func() rotate.Entry
		least   int // crash points
		content string
		before  int // writes before
	}{
		{"new key", func() rotate.Entry { return testEntry(3) }, 12, "", 2},
		{"first write", func() rotate.Entry { return testEntry(3) }, 9, "", 0},
		{"first write into a foreign file", func() rotate.Entry { return testEntry(3) }, 9, "OTHER=1\n", 0},
		{"first write over a foreign key", func() rotate.Entry { return testEntry(3) }, 12, DefaultVariable + "=abc\n", 0},
		{"claim", func() rotate.Entry { e := testEntry(2); e.Meta.Claim = &rotate.Claim{Instance: "i1"}; return e }, 3, "", 2},
		{"key taken away", func() rotate.Entry { e := testEntry(3); e.Key.Forget(); return e }, 12, "", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			prepare := func(t *testing.T) (FileOptions, rotate.Version) {
				opt := FileOptions{Path: filepath.Join(t.TempDir(), "key"), Format: FormatDotenv, KeepPrevious: 3}
				if tt.content != "" {
					put(t, opt.Path, tt.content)
				}
				f := mustFile(t, opt)
				v := mustRead(t, f).Version
				for n := 1; n <= tt.before; n++ {
					v = mustWrite(t, f, testEntry(n), v)
				}
				return opt, v
			}
			points := crashPoints(t, tt.entry(), prepare)
			if len(points) < tt.least {
				t.Fatalf("got the points %v, want at least %d", points, tt.least)
			}
			for _, point := range points {
				t.Run(point, func(t *testing.T) {
					t.Parallel()
					opt, v := prepare(t)
					crashAt(t, opt, v, tt.entry(), point)
				})
			}
		})
	}
}

func crashAt(t *testing.T, opt FileOptions, v rotate.Version, e rotate.Entry, point string) {
	old := mustRead(t, mustFile(t, opt))
	f := mustFile(t, opt)
	f.crash = func(at string) error {
		if at == point {
			return errCrash
		}
		return nil
	}
	if _, err := f.Write(t.Context(), e, v); !errors.Is(err, errCrash) {
		t.Fatalf("got %v, want the crash", err)
	}
	after := mustFile(t, opt)
	got := mustRead(t, after)
	committed := slices.Contains([]string{"key_renamed", "key_synced", "sidecar_renamed", "sidecar_synced"}, point) ||
		strings.HasPrefix(point, "sidecar_staged") && !got.Key.Equal(old.Key)
	want := old
	if committed {
		want = e
	}
	if !sameEntry(got, want) {
		t.Fatalf("got %s %+v, want %s %+v", got.Key.Fingerprint(), got.Meta, want.Key.Fingerprint(), want.Meta)
	}
	if !committed && (got.Version != old.Version || got.Ever != old.Ever) {
		t.Errorf("got version %q, ever %v, want the old %q, %v", got.Version, got.Ever, old.Version, old.Ever)
	}
	earlier, err := after.Earlier(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range earlier {
		if p.Key.Equal(got.Key) {
			t.Errorf("the current key is among the earlier ones")
		}
	}
	next := mustWrite(t, after, testEntry(9), got.Version)
	if got := mustRead(t, after); got.Version != next || !sameEntry(got, testEntry(9)) {
		t.Errorf("got version %q, want %q and what was written last", got.Version, next)
	}
	noTemporaries(t, filepath.Dir(opt.Path))
}

func noTemporaries(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tmp") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

// An edit of another line after a crash between the commit and the last step does not
// hide that the new key stands in the file.
func TestFileEditAfterCrash(t *testing.T) {
	opt := FileOptions{Path: filepath.Join(t.TempDir(), "key"), Format: FormatDotenv}
	f := mustFile(t, opt)
	v := mustWrite(t, f, testEntry(1), "")
	f.crash = func(at string) error {
		if at == "key_synced" {
			return errCrash
		}
		return nil
	}
	if _, err := f.Write(t.Context(), testEntry(2), v); !errors.Is(err, errCrash) {
		t.Fatalf("got %v, want the crash", err)
	}
	put(t, opt.Path, "# a remark\n"+content(t, opt.Path))
	if got := mustRead(t, mustFile(t, opt)); !sameEntry(got, testEntry(2)) {
		t.Errorf("got %s, want the new key with its metadata", got.Key.Fingerprint())
	}
}

func TestFileModes(t *testing.T) {
	opt := FileOptions{Path: filepath.Join(t.TempDir(), "key"), Format: FormatDotenv, Mode: 0o640, KeepPrevious: 1, Group: "0"}
	f := mustFile(t, opt)
	mustWrite(t, f, testEntry(2), mustWrite(t, f, testEntry(1), ""))
	want := map[string]fs.FileMode{"key": 0o640, "key.meta.json": 0o600, "key.previous.1.json": 0o600, "key.lock": 0o600}
	got := map[string]fs.FileMode{}
	entries, err := os.ReadDir(filepath.Dir(opt.Path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = info.Mode()
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestFileKeepsNoMorePreviousThanAsked(t *testing.T) {
	for _, keep := range []int{0, 1, 2} {
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			f := mustFile(t, FileOptions{Path: filepath.Join(t.TempDir(), "key"), Format: FormatBare, KeepPrevious: keep})
			var v rotate.Version
			for n := 1; n <= 5; n++ {
				v = mustWrite(t, f, testEntry(n), v)
			}
			earlier, err := f.Earlier(t.Context())
			if err != nil || len(earlier) != keep {
				t.Fatalf("got %d earlier keys and %v, want %d", len(earlier), err, keep)
			}
			for i, e := range earlier {
				if !sameEntry(e, testEntry(4-i)) {
					t.Errorf("earlier key %d is %s", i, e.Key.Fingerprint())
				}
			}
		})
	}
}
