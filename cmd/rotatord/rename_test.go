package main

import (
	"os"
	"strings"
	"testing"
)

// renamed checks that everything goes on under the new name, and that consumers find the same key in the same place.
func (w *applyWorld) renamed(t *testing.T, key, actor string) {
	t.Helper()
	if now := w.served(t); now != key {
		t.Error("the sink serves another key")
	}
	w.says(t, exitOK, []string{"history", "path-map"}, "adopted", "its name is path-map now", "its name was trail-map", actor)
	w.says(t, exitOK, []string{"history", "--verify"}, "none changed or removed")
	w.says(t, exitOK, []string{"status", "path-map"}, "path-map")
	w.says(t, exitUsage, []string{"status", "trail-map"}, "no credential trail-map")
	if _, err := os.Stat(strings.Replace(w.keyFile(), "trail-map", "path-map", 1)); err == nil {
		t.Error("a second key file was made")
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	w := newMadeWorld(t)
	key := w.served(t)
	w.says(t, exitUsage, []string{"rename", "nobody", "any"}, "no credential nobody")
	w.says(t, exitUsage, []string{"rename", "trail-map", "a b"}, "name")
	w.says(t, exitOK, []string{"rename", "trail-map", "path-map", "--dry-run"}, "would be named path-map")
	w.says(t, exitOK, []string{"rename", "trail-map", "path-map"}, "trail-map is named path-map; its sinks stay as they are (path_name: trail-map)")
	w.renamed(t, key, "root (uid 0)")
	w.says(t, exitOK, []string{"once"}, "path-map") // nothing is due: it is not taken for a new one
	w.renamed(t, key, "")
	w.says(t, exitOK, []string{"rotate", "path-map"}, "rotate done")
	if w.served(t) == key {
		t.Error("the next key did not reach its consumers")
	}
}

// A name that was changed by hand is followed by whoever next has the journal's lock.
func TestRenameByHand(t *testing.T) {
	t.Parallel()
	w := newMadeWorld(t)
	key := w.served(t)
	w.edit(t, "- name: trail-map # to be made\n", "- name: path-map\n    path_name: trail-map\n")
	w.says(t, exitOK, []string{"once"}, "path-map")
	w.renamed(t, key, "")
}

// A running daemon does it at a reload, and what it refuses leaves the config as it was.
func TestRenameBesideADaemon(t *testing.T) {
	t.Parallel()
	w := newMadeWorld(t)
	key := w.served(t)
	p := w.daemon(t)
	w.says(t, exitOK, []string{"rename", "trail-map", "path-map"}, "trail-map is named path-map")
	w.renamed(t, key, "root (uid 0)")
	all, err := p.client.Status(t.Context())
	if err != nil || len(all) != 1 || all[0].Name != "path-map" || all[0].AdoptedAt.IsZero() || all[0].Live.Generation != 1 {
		t.Errorf("the daemon looks after %+v, %v", all, err)
	}
	before, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	w.edit(t, "url: ", "url : ") // something else in the file that the daemon will not take
	w.edit(t, "product: online", "product: none")
	w.says(t, exitUsage, []string{"rename", "path-map", "third"})
	if err := os.WriteFile(w.config, before, 0o600); err != nil {
		t.Fatal(err)
	}
	w.says(t, exitOK, []string{"reload"}, "1 credential")
	w.renamed(t, key, "root (uid 0)")
	p.terminate(t)
}
