package grafana

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"rotatord/internal/testkit"
)

var update = flag.Bool("update", false, "write deploy/grafana anew")

// TestFilesAreWhatTheCodeBuilds: what people import is what the other tests looked at.
func TestFilesAreWhatTheCodeBuilds(t *testing.T) {
	dir := filepath.Join(testkit.Root(t), "deploy", "grafana")
	want := map[string]bool{}
	for _, d := range All() {
		var built bytes.Buffer
		enc := json.NewEncoder(&built)
		enc.SetEscapeHTML(false) // queries have < and > in them, and people read them
		enc.SetIndent("", "  ")
		if err := enc.Encode(d); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, d.UID+".json")
		want[file] = true
		if *update {
			if err := os.WriteFile(file, built.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		found, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(found, built.Bytes()) {
			t.Errorf("%s is not what the code builds (%v); go test ./test/grafana -run Files -update", file, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !want[f] {
			t.Errorf("%s is built by nothing", f)
		}
	}
}
