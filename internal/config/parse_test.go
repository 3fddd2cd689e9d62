package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/rotate"
)

var update = flag.Bool("update", false, "write golden files")

// golden compares with a file, or writes it under -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got), run with -update if it is meant:\n%s", path, diff)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func minimal(t *testing.T, replace ...string) *Config {
	t.Helper()
	src := string(read(t, "testdata/minimal.yaml"))
	for i := 0; i+1 < len(replace); i += 2 {
		if strings.Count(src, replace[i]) != 1 {
			t.Fatalf("minimal.yaml holds %q %d times", replace[i], strings.Count(src, replace[i]))
		}
		src = strings.Replace(src, replace[i], replace[i+1], 1)
	}
	c, err := Parse("minimal.yaml", []byte(src))
	if err != nil {
		t.Fatalf("parse:\n%v", err)
	}
	return c
}

func TestBadConfigs(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 70 {
		t.Fatalf("found %d files, err %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			_, err := Parse(filepath.Base(file), read(t, file))
			if err == nil {
				t.Fatal("no problem was found")
			}
			got := err.Error()
			if strings.Contains(got, "correct-horse") || strings.Contains(got, "CorrectHorse") {
				t.Errorf("a literal secret is repeated:\n%s", got)
			}
			golden(t, "testdata/bad/"+name+".want", got+"\n")
		})
	}
}

func TestMinimalDefaults(t *testing.T) {
	c := minimal(t)
	cr := c.Credentials[0]
	if cr.Portal != "main" || cr.Mode != "rotate" || cr.Adopt != "manual" || len(cr.Sinks) != 1 {
		t.Errorf("inherited %+v", cr)
	}
	p := c.Portals["main"]
	if p.Timeout.Std() != 30*time.Second || p.Limits.AtOnce != 8 || p.Limits.PerSecond != 10 || p.Breaker.OpenFor.Std() != time.Minute {
		t.Errorf("portal defaults %+v", p)
	}
	if p.IdentityStore.File != "/var/lib/rotatord/identities/main.json" || p.Referer != "https://www.arcgis.com" {
		t.Errorf("identity store %q, referer %q", p.IdentityStore.File, p.Referer)
	}
	if c.HTTP.Listen != "127.0.0.1:9805" || c.State.Dir != "/var/lib/rotatord" || c.Admin.Socket != "/run/rotatord/admin.sock" ||
		c.Admin.Group != "rotatord-ops" || c.Workers != 8 || c.Schedules.Tick != "* * * * *" || c.Alerts.Slack != nil || c.Heartbeat != nil {
		t.Errorf("defaults %+v", c)
	}
	want := []Target{{Sink: "kv", Vault: c.Sinks["kv"].Vault, Path: "keys/alpha"}}
	if diff := cmp.Diff(want, cr.Targets()); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

func TestRotatePolicy(t *testing.T) {
	const day = 24 * time.Hour
	c := minimal(t, "renew_before: 30d", "renew_before: 40%\n    max_attempts: 0\n    spread: 2d",
		"  - name: alpha", "  - name: alpha\n    spare: expendable\n    adopt: auto\n    policy: {overlap: 1d12h, orphan_delay: 3d}")
	got := c.RotatePolicy(c.Credentials[0])
	want := rotate.Policy{RenewBeforeShare: 0.4, Overlap: 36 * time.Hour, CriticalBefore: 5 * day, Lifetime: 90 * day, Spread: 2 * day,
		Precision: rotate.PrecisionDay, MinInterval: day, MinGain: 2 * day, ProbeEvery: 15 * time.Minute, DeepEvery: day, OrphanDelay: 3 * day,
		EffectHorizon: 10 * time.Minute, RetryBase: 30 * time.Second, RetryMax: time.Hour, MaxAttempts: 0, DeadProbes: 3,
		DeadAfter: 10 * time.Minute, DeathsPerHour: 3, SpareExpendable: true, AutoAdopt: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	if err := got.Validate(); err != nil {
		t.Errorf("validate: %v", err)
	}
}

// Nothing that can end a key's life has a default.
func TestNoDestructiveDefaults(t *testing.T) {
	c := minimal(t, "  mode: rotate\n", "  mode: watch\n", "    lifetime: 90d\n    renew_before: 30d\n    overlap: 7d\n    critical_before: 5d\n", "    probe_every: 1m\n")
	p := c.RotatePolicy(c.Credentials[0])
	for name, d := range map[string]time.Duration{"renew_before": p.RenewBefore, "max_age": p.MaxAge, "overlap": p.Overlap,
		"critical_before": p.CriticalBefore, "lifetime": p.Lifetime, "orphan_delay": p.OrphanDelay} {
		if d != 0 {
			t.Errorf("%s has the default %v", name, d)
		}
	}
	if p.RenewBeforeShare != 0 || p.SpareExpendable || p.AutoAdopt {
		t.Errorf("defaults %+v", p)
	}
}

func TestExplicitZero(t *testing.T) {
	c := minimal(t, "    vault:\n      mount: kv\n      path: keys/{{.Name}}",
		"    file:\n      path: /run/{{.Name}}\n      keep_previous: 0\n      after_write: {reload_unit: a.service}")
	f := c.Sinks["kv"].File
	if f.KeepPrevious != 0 || f.AfterWrite.Attempts != 3 || f.Mode != 0o600 || f.Format != "bare" || f.AfterWrite.Timeout.Std() != 30*time.Second {
		t.Errorf("file sink %+v %+v", f, f.AfterWrite)
	}
}

func TestLoadMissing(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

// Ten thousand credentials with a mistake each are read and reported quickly
// enough for an editor's check on save.
func BenchmarkParse10000(b *testing.B) {
	base, err := os.ReadFile("testdata/minimal.yaml")
	if err != nil {
		b.Fatal(err)
	}
	good, bad := bytes.NewBuffer(bytes.Clone(base)), bytes.NewBuffer(bytes.Clone(base))
	for i := range 10000 {
		fmt.Fprintf(good, "  - name: c%d\n    item: %032x\n    environment: production\n    consumers: [a, b]\n    policy: {overlap: 5d}\n", i, i)
		fmt.Fprintf(bad, "  - name: c%d\n    itm: %032x\n    policy: {overlap: 5}\n    sinks: [kw]\n", i, i)
	}
	b.Run("good", func(b *testing.B) {
		for b.Loop() {
			if _, err := Parse("x", good.Bytes()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bad", func(b *testing.B) {
		for b.Loop() {
			if _, err := Parse("x", bad.Bytes()); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}
