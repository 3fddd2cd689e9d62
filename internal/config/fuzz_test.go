package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Parse never panics, puts every problem inside the file, and is deterministic; what
// it accepts it accepts again after masking.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "testdata/minimal.yaml", "../../config.example.yaml") {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 64<<10 {
			return
		}
		start := time.Now()
		c, err := Parse("f.yaml", src)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %s", took)
		}
		if err != nil && len(err.Error()) > 1<<20 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
		_, again := Parse("f.yaml", src)
		if fmt.Sprint(err) != fmt.Sprint(again) {
			t.Fatalf("two answers:\n%v\n%v", err, again)
		}
		if err == nil {
			m, err := c.Masked()
			if err != nil {
				t.Fatalf("mask: %v", err)
			}
			if strings.Contains(string(m), hiddenText) {
				return
			}
			if _, err := Parse("masked.yaml", m); err != nil {
				t.Fatalf("the effective config is refused:\n%v\n%s", err, m)
			}
			return
		}
		ps, ok := errors.AsType[Problems](err)
		if !ok || len(ps) == 0 {
			t.Fatalf("error %T %v", err, err)
		}
		lines := strings.Count(string(src), "\n") + 1
		for _, p := range ps {
			if p.Line < 1 || p.Line > lines+1 || p.Column < 1 || p.Message == "" {
				t.Errorf("problem %+v in %d lines", p, lines)
			}
			if !utf8.ValidString(p.Text()) && utf8.Valid(src) {
				t.Errorf("problem is no text: %q", p.Text())
			}
		}
		if _, err := json.Marshal(ps); err != nil {
			t.Errorf("encode problems: %v", err)
		}
	})
}

// A secret that somebody writes into the config instead of a reference is refused, and
// stands in no error, excerpt or JSON of it; nor does a masked config have it.
func FuzzLiteralSecret(f *testing.F) {
	for _, s := range []string{"correct horse battery staple", "https://hooks.slack.example/services/T0/B0/abcdefgh", "file", "env:lower case", "a: b\nc: [", "\"'\\\u2028 #"} {
		f.Add(s)
	}
	const text = "portals:\n  online: {url: https://x.example, product: online, identity: {username: u, password: %[1]s}}\n" +
		"alerts: {slack: {webhook: %[1]s}}\nheartbeat: {url: %[1]s}\nvault: {address: https://v.example, auth: {approle: {role_id: r, secret_id: %[1]s}}}\n"
	f.Fuzz(func(t *testing.T, value string) {
		const shortest = 12 // less stands in the file anyhow
		var ref SecretRef
		if len(value) < shortest || ref.UnmarshalText([]byte(value)) == nil {
			return
		}
		if err := ref.UnmarshalText([]byte(value)); strings.Contains(err.Error(), value) {
			t.Errorf("repeated: %v", err)
		}
		quoted, err := json.Marshal(value) // a JSON string is a YAML one
		if err != nil {
			t.Fatal(err)
		}
		src := fmt.Sprintf(text, quoted)
		if strings.Contains(fmt.Sprintf(text, ""), value) {
			return
		}
		c, err := Parse("f.yaml", []byte(src))
		if err == nil {
			t.Fatalf("taken: %+v", c)
		}
		var shown strings.Builder
		shown.WriteString(err.Error())
		ps, ok := errors.AsType[Problems](err)
		if !ok {
			t.Fatalf("error %T %v", err, err)
		}
		for _, p := range ps {
			shown.WriteString(p.Text())
		}
		raw, err := json.Marshal(ps)
		if err != nil {
			t.Fatal(err)
		}
		inner := strings.Trim(string(quoted), `"`)
		if shown.WriteString(string(raw)); strings.Contains(shown.String(), value) || strings.Contains(shown.String(), inner) {
			t.Errorf("%q is shown:\n%s", value, shown.String())
		}
	})
}
