package journal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"rotatord/internal/rotate"
	"rotatord/internal/rotate/rotatetest"
)

// TestRandomSaves: whatever two handles save in whatever order, a save succeeds
// exactly when its epoch is the current one, and the last success is what is read.
func TestRandomSaves(t *testing.T) {
	path := tempPath(t)
	handles := [2]*DB{open(t, path), open(t, path)}
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++ // every run has credentials of its own
		names := []rotate.Name{rotate.Name(fmt.Sprint("a", run)), rotate.Name(fmt.Sprint("b", run))}
		held := map[string]rotate.Record{} // what each handle loaded last
		truth := map[rotate.Name]rotate.Record{}
		events := map[rotate.Name]int64{}
		rt.Repeat(map[string]func(*rapid.T){
			"load": func(rt *rapid.T) {
				h, name := rapid.IntRange(0, 1).Draw(rt, "handle"), rapid.SampledFrom(names).Draw(rt, "name")
				r, err := handles[h].Load(t.Context(), name)
				if err != nil {
					rt.Fatal(err)
				}
				if r.Epoch != truth[name].Epoch || r.Owner != truth[name].Owner {
					rt.Fatalf("handle %d reads %s at epoch %d by %q, want %d by %q", h, name, r.Epoch, r.Owner, truth[name].Epoch, truth[name].Owner)
				}
				held[fmt.Sprint(h, name)] = r
			},
			"save": func(rt *rapid.T) {
				h, name := rapid.IntRange(0, 1).Draw(rt, "handle"), rapid.SampledFrom(names).Draw(rt, "name")
				r := held[fmt.Sprint(h, name)]
				r.Name = name
				r.Owner = rapid.StringMatching(`[a-z]{1,8}`).Draw(rt, "owner")
				n := rapid.IntRange(0, 3).Draw(rt, "events")
				var add []rotate.Event
				for i := range n {
					add = append(add, event(name, rotate.EventEffect, day(i+1)))
				}
				saved, err := handles[h].Save(t.Context(), r, add...)
				if won := r.Epoch == truth[name].Epoch; won != (err == nil) {
					rt.Fatalf("save of %s at epoch %d, where the journal has %d: %v", name, r.Epoch, truth[name].Epoch, err)
				}
				if err != nil {
					if rotate.KindOf(err) != rotate.KindConflict {
						rt.Fatalf("save: %v", err)
					}
					return
				}
				truth[name], held[fmt.Sprint(h, name)] = saved, saved
				events[name] += int64(n)
			},
		})
		for _, name := range names {
			if n, err := handles[0].Verify(t.Context(), name); n != events[name] || err != nil {
				rt.Fatalf("history of %s: %d events, %v; want %d", name, n, err, events[name])
			}
		}
	})
}

// childEnv makes this test binary a writer that is to be killed.
const childEnv = "JOURNAL_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		fmt.Fprintln(os.Stderr, writeUntilKilled(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeUntilKilled counts a record up and acknowledges each number on standard
// output after Save returned it.
func writeUntilKilled(path string) error {
	ctx := context.Background()
	db, err := Open(ctx, Options{Path: path, Holder: &Holder{Command: "child"}})
	if err != nil {
		return err
	}
	for {
		r, err := db.Load(ctx, "maps")
		if err != nil {
			return err
		}
		r.Attempts++
		if r, err = db.Save(ctx, r, event("maps", rotate.EventEffect, day(1))); err != nil {
			return err
		}
		if _, err := fmt.Println(r.Attempts); err != nil {
			return err
		}
	}
}

// TestKilledWriter kills a writing process at random moments. What it acknowledged
// is there, record and history agree, and the next one starts.
func TestKilledWriter(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes for seconds; not under -short")
	}
	path := tempPath(t)
	for round := range 12 {
		acked := killAfter(t, path, 1+rand.IntN(60))
		db, err := Open(t.Context(), Options{Path: path, Holder: &Holder{Command: "check"}})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		r, err := db.Load(t.Context(), "maps")
		if err != nil {
			t.Fatal(err)
		}
		// One save may be on disk that the kill kept from being acknowledged.
		if r.Attempts < acked || r.Attempts > acked+1 {
			t.Errorf("round %d: the child acknowledged %d, the journal has %d", round, acked, r.Attempts)
		}
		if n, err := db.Verify(t.Context(), "maps"); n != int64(r.Attempts) || err != nil {
			t.Errorf("round %d: history has %d events, %v; want %d", round, n, err, r.Attempts)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter runs a child, kills it once it acknowledged so many saves, and returns
// the last number that it acknowledged.
func killAfter(t *testing.T, path string, saves int) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last, seen := 0, 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if last, err = strconv.Atoi(lines.Text()); err != nil {
			t.Fatalf("the child said %q", lines.Text())
		}
		if seen++; seen == saves {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v: %s", err, stderr.String())
	}
	return last
}

// TestNoPlaceForAKey: the types that the journal stores reach no Secret, and the
// strings that people and adapters may fill in are the only free text.
func TestNoPlaceForAKey(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[rotate.Record](), reflect.TypeFor[rotate.Event]()} {
		walk(t, typ, typ.Name(), map[reflect.Type]bool{})
	}
}

func walk(t *testing.T, typ reflect.Type, path string, seen map[reflect.Type]bool) {
	if seen[typ] || typ.PkgPath() == "time" {
		return
	}
	seen[typ] = true
	switch typ.Kind() {
	case reflect.Struct:
		if typ == reflect.TypeFor[rotate.Secret]() {
			t.Errorf("%s can hold a key", path)
		}
		for f := range typ.Fields() {
			if !f.IsExported() {
				t.Errorf("%s.%s is stored by nobody and hides from this test", path, f.Name)
			}
			walk(t, f.Type, path+"."+f.Name, seen)
		}
	case reflect.Pointer, reflect.Slice, reflect.Array:
		walk(t, typ.Elem(), path+"[]", seen)
	case reflect.Interface, reflect.Map, reflect.Func, reflect.Chan, reflect.UnsafePointer:
		t.Errorf("%s is a %s: anything could be in it", path, typ.Kind())
	}
}

// TestNoKeyInTheFile writes what a rotation writes about a key and looks for the key
// in every byte that is on disk.
func TestNoKeyInTheFile(t *testing.T) {
	const canary = "AAPTxy8BH1VEsoebNVZXo8HurCaNaRyCaNaRyCaNaRyCaNaRy..AT1_H4JC97kO"
	key := rotate.NewSecret(canary)
	path := tempPath(t)
	db := open(t, path)
	r, e := rotatetest.FullRecord("maps"), rotatetest.FullEvent("maps")
	r.Live.Fingerprint, e.Fingerprint = key.Fingerprint(), key.Fingerprint()
	r.LastError = fmt.Sprintf("prove %v %+v %#v: %s", key, key, key, &rotate.Error{Op: "prove", Err: fmt.Errorf("key %v", key)})
	e.Error, e.Detail = r.LastError, fmt.Sprint(struct{ Key rotate.Secret }{key})
	save(t, db, r, e)
	if err := db.Backup(t.Context(), filepath.Join(filepath.Dir(path), "copy.db")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("files: %v, %v", files, err)
	}
	found := false
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		found = found || bytes.Contains(body, []byte(key.Fingerprint()))
		for _, part := range []string{canary, canary[:30], canary[20:48], strings.ToLower(canary)} {
			if bytes.Contains(body, []byte(part)) {
				t.Errorf("%s holds %q of the key", filepath.Base(f), part)
			}
		}
	}
	if !found {
		t.Error("the fingerprint is in no file: this test looks in the wrong place")
	}
}
