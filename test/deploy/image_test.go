package deploy

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestTheImagesBuilderGetsEveryPackage: .dockerignore leaves out all that it does not
// name, and a package in a new folder would be missing only where the image is built.
func TestTheImagesBuilderGetsEveryPackage(t *testing.T) {
	var kept []string
	for line := range strings.Lines(read(t, ".dockerignore")) {
		if folder, ok := strings.CutPrefix(strings.TrimSpace(line), "!"); ok {
			kept = append(kept, folder)
		}
	}
	cmd := exec.Command("go", "list", "-deps", "rotatord/cmd/rotatord")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range strings.Lines(string(out)) {
		path, ours := strings.CutPrefix(strings.TrimSpace(pkg), "rotatord/")
		if folder, _, _ := strings.Cut(path, "/"); ours && !slices.Contains(kept, folder) {
			t.Errorf(".dockerignore does not let %s through", path)
		}
	}
}
