package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
		c, err := Parse("f.yaml", src)
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
