package testkit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recorder is a testing.TB that notes how the code under test ended it.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper()                    {}
func (r *recorder) Skip(args ...any)           { r.skipped = args[0].(string) }
func (r *recorder) Fatalf(f string, a ...any)  { r.failed = f; panic(r) }
func (r *recorder) run(f func(t testing.TB))   { defer func() { _ = recover() }(); f(r) }
func (r *recorder) outcome() (skip, fail bool) { return r.skipped != "", r.failed != "" }

func TestNeed(t *testing.T) {
	for _, tc := range []struct {
		name       string
		ok         bool
		all        string
		skip, fail bool
	}{
		{name: "there", ok: true},
		{name: "there under ALL", ok: true, all: "1"},
		{name: "missing", skip: true},
		{name: "missing under ALL", all: "1", fail: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv(AllEnv, tc.all)
			var r recorder
			r.run(func(tb testing.TB) { Need(tb, tc.ok, "a thing", "make thing") })
			if skip, fail := r.outcome(); skip != tc.skip || fail != tc.fail {
				t.Errorf("skip %v, fail %v; want %v, %v", skip, fail, tc.skip, tc.fail)
			}
			if r.skipped != "" && !strings.Contains(r.skipped, "make thing") {
				t.Errorf("skip message %q does not say the cure", r.skipped)
			}
		})
	}
}

func TestRoot(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(Root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(b), "module rotatord\n") {
		t.Errorf("the module at %s is not rotatord", Root(t))
	}
}
