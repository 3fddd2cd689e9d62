package crashsweep

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"rotatord/internal/journal"
	"rotatord/internal/rotate"
)

// TestNoKeyIsEverOnDiskOrInAnEvent goes through crashes, a roll-back and a
// compromise, and then looks for every key ever minted in the journal's files, in
// the record, in the history and in what the sinks' metadata say.
func TestNoKeyIsEverOnDiskOrInAnEvent(t *testing.T) {
	inWorld(t, func(w *world) {
		rotateToOverlap(w)
		w.order(rotate.Command{Kind: rotate.CommandRollback})
		w.run(day, nil)
		w.order(rotate.Command{Kind: rotate.CommandResume})
		w.wantRested()
		for _, s := range w.sinks {
			w.check.excused[s.Served().Key.Reveal()] = true
		}
		w.order(rotate.Command{Kind: rotate.CommandCompromised})
		w.wantRested()
		var seen bytes.Buffer
		files, err := filepath.Glob(filepath.Join(w.dir, "*"))
		if err != nil || len(files) == 0 {
			w.t.Fatalf("no journal files: %v", err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				w.t.Fatal(err)
			}
			seen.Write(b)
		}
		history, err := w.db.History(w.t.Context(), w.cred.Name, journal.Filter{})
		if err != nil {
			w.t.Fatal(err)
		}
		fmt.Fprintf(&seen, "%+v %#v %+v %+v", w.record(), w.record(), history, w.steps)
		for _, s := range w.sinks {
			fmt.Fprintf(&seen, "%+v %+v %+v", s.Served(), s.Served().Meta, w.sess)
		}
		keys := w.emu.Keys()
		if len(keys) < 3 || !bytes.Contains(seen.Bytes(), []byte(keys[len(keys)-1].Tail)) {
			w.t.Fatalf("the search would find nothing: %d keys", len(keys))
		}
		for _, k := range keys {
			if bytes.Contains(seen.Bytes(), []byte(k.Secret)) || bytes.Contains(seen.Bytes(), []byte(k.Secret[:40])) {
				w.t.Errorf("key %s stands in clear", rotate.NewSecret(k.Secret).Fingerprint())
			}
		}
	})
}
