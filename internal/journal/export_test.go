package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

// twoHistories is a journal of "maps" with four events and "tiles" with one.
func twoHistories(t testing.TB) *DB {
	db := open(t, tempPath(t))
	r := save(t, db, rotate.Record{Name: "maps"}, event("maps", rotate.EventHeld, day(1)), event("maps", rotate.EventResumed, day(2)))
	odd := event("maps", rotate.EventDrift, day(3))
	odd.Detail = `a <b> & "quoted","event":{} \ ünïcödé ` + "\u2028\x00\xff"
	save(t, db, r, odd, event("maps", rotate.EventDriftCleared, day(4)))
	save(t, db, rotate.Record{Name: "tiles"}, event("tiles", rotate.EventHeld, day(2)))
	save(t, db, rotate.Record{Name: "void"})
	return db
}

func exported(t testing.TB, db *DB, name rotate.Name, f Filter) string {
	t.Helper()
	var b bytes.Buffer
	if err := db.Export(t.Context(), &b, name, f); err != nil {
		t.Fatalf("export: %v", err)
	}
	return b.String()
}

// outsider is the recipe of docs/journal.md, by somebody who has only the file: no type
// and no function of this package.
func outsider(export string) error {
	prev, last := map[string][]byte{}, map[string]string{}
	for line := range strings.Lines(export) {
		var l struct{ Name, Hash, Head string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			return err
		}
		_, event, found := strings.Cut(strings.TrimSuffix(line, "}\n"), `,"event":`)
		if !found {
			prev[l.Name], last[l.Name] = make([]byte, 32), l.Head
			continue
		}
		sum := sha256.Sum256(append(prev[l.Name], event...))
		if prev[l.Name] = sum[:]; hex.EncodeToString(sum[:]) != l.Hash {
			return fmt.Errorf("changed: %s", line)
		}
	}
	for name, head := range last {
		if hex.EncodeToString(prev[name]) != head && name != "" {
			return fmt.Errorf("%s does not end at its head", name)
		}
	}
	return nil
}

func TestExport(t *testing.T) {
	db := twoHistories(t)
	all := exported(t, db, "", Filter{})
	if again := exported(t, db, "", Filter{}); strings.SplitN(all, "\n", 2)[1] != strings.SplitN(again, "\n", 2)[1] {
		t.Error("two exports of one journal differ")
	}
	if err := outsider(all); err != nil {
		t.Errorf("by the recipe: %v", err)
	}
	got, err := VerifyExport(strings.NewReader(all))
	if err != nil {
		t.Fatal(err)
	}
	if got.Part || len(got.Credentials) != 3 || got.Credentials[0].Events != 4 || got.Credentials[1].Name != "tiles" || got.Credentials[2].Events != 0 {
		t.Errorf("VerifyExport = %+v", got)
	}
	const second = `{"name":"maps","last_seq":4,"head":"`
	lines := strings.Split(all, "\n")
	if !strings.HasPrefix(lines[0], `{"rotatord_history":1,"exported_at":"`) || !strings.HasPrefix(lines[1], second) ||
		!strings.HasPrefix(lines[2], `{"name":"maps","seq":1,"prev":"`+strings.Repeat("0", 64)+`","hash":"`) {
		t.Errorf("the first lines are\n%s", strings.Join(lines[:3], "\n"))
	}
	one, err := VerifyExport(strings.NewReader(exported(t, db, "tiles", Filter{})))
	if err != nil || len(one.Credentials) != 1 || one.Credentials[0].Name != "tiles" {
		t.Errorf("of one credential: %+v, %v", one, err)
	}
	none, err := VerifyExport(strings.NewReader(exported(t, db, "roads", Filter{})))
	if err != nil || len(none.Credentials) != 0 {
		t.Errorf("of an unknown credential: %+v, %v", none, err)
	}
}

func TestExportOfASpan(t *testing.T) {
	db := open(t, tempPath(t))
	r := rotate.Record{Name: "maps"}
	for _, d := range []int{1, 2, 9, 3, 4} { // the clock was put back after the third
		r = save(t, db, r, event("maps", rotate.EventEffect, day(d)))
	}
	text := exported(t, db, "maps", Filter{Since: day(2), Until: day(4)})
	got, err := VerifyExport(strings.NewReader(text))
	if err != nil || !got.Part || got.Credentials[0].Events != 2 || got.Credentials[0].LastSeq != 5 {
		t.Errorf("VerifyExport = %+v, %v; want events 2 and 4 of 5", got, err)
	}
	for _, edit := range [][2]string{{day(2).Format(time.RFC3339), day(3).Format(time.RFC3339)}, {`"seq":4`, `"seq":2`}, {`"events":2`, `"events":3`}, {`"last_seq":5`, `"last_seq":3`}} {
		edited := strings.Replace(text, edit[0]+`","name`, edit[1]+`","name`, 1)
		if edited == text {
			edited = strings.Replace(text, edit[0], edit[1], 1)
		}
		if _, err := VerifyExport(strings.NewReader(edited)); err == nil || edited == text {
			t.Errorf("%s for %s is not found", edit[1], edit[0])
		}
	}
}

// The script of docs/journal.md says what the recipe in Go says.
func TestScriptOfTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/journal.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "    import hashlib")
	code, _, found := strings.Cut(rest, "\n\n")
	if !found {
		t.Fatal("docs/journal.md has no script")
	}
	dir := t.TempDir()
	script, good, bad := filepath.Join(dir, "verify.py"), filepath.Join(dir, "good.jsonl"), filepath.Join(dir, "bad.jsonl")
	whole := exported(t, twoHistories(t), "", Filter{})
	for path, text := range map[string]string{
		script: "import hashlib" + strings.ReplaceAll(code, "\n    ", "\n"),
		good:   whole,
		bad:    strings.Replace(whole, "resumed", "drift", 1),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	python, err := exec.LookPath("python3")
	testkit.Need(t, err == nil, "python3", "make setup")
	if out, err := exec.Command(python, script, good).CombinedOutput(); err != nil {
		t.Errorf("a whole export: %v\n%s", err, out)
	}
	if out, err := exec.Command(python, script, bad).CombinedOutput(); err == nil || !strings.Contains(string(out), "changed: maps 2") {
		t.Errorf("an edited export: %v\n%s", err, out)
	}
}

// reseal is a forger who knows the recipe: it makes every hash after an edit fit again.
func reseal(t *testing.T, lines []string) {
	t.Helper()
	hash := make([]byte, 32)
	for i := 2; i < 6; i++ {
		head, text, _ := strings.Cut(strings.TrimSuffix(lines[i], "}"), `,"event":`)
		prev := hex.EncodeToString(hash)
		hash = next(hash, []byte(text))
		var l exportEvent
		if err := json.Unmarshal([]byte(head+"}"), &l); err != nil {
			t.Fatal(err)
		}
		lines[i] = fmt.Sprintf(`{"name":%q,"seq":%d,"prev":"%s","hash":"%x","event":%s}`, l.Name, l.Seq, prev, hash, text)
	}
}

func TestVerifyExportFindsTampering(t *testing.T) {
	whole := exported(t, twoHistories(t), "", Filter{})
	for _, tt := range []struct {
		name string
		edit func(l []string) []string
		says string
	}{
		{"untouched", func(l []string) []string { return l }, ""},
		{"line ends of Windows", func(l []string) []string { return strings.Split(strings.Join(l, "\r\n"), "\n") }, ""},
		{"event changed", func(l []string) []string { l[3] = strings.Replace(l[3], "resumed", "drift", 1); return l }, "line 4: event 2 of maps was changed"},
		{"event removed", func(l []string) []string { return append(l[:3], l[4:]...) }, "line 4: event 2 of maps is missing"},
		{"events swapped", func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }, "line 4: event 2 of maps is missing"},
		{"event twice", func(l []string) []string { l[4] = l[3]; return l }, "line 5: event 2 of maps comes after event 2"},
		{"event of another", func(l []string) []string { l[3] = l[7]; return l }, "line 4: an event of another credential"},
		{"resealed without the head", func(l []string) []string { l[3] = strings.Replace(l[3], "resumed", "drift", 1); reseal(t, l); return l }, "line 6: the last event of maps has another hash"},
		{"one hash resealed", func(l []string) []string {
			l[3] = strings.Replace(l[3], "resumed", "drift", 1)
			own := append([]string(nil), l...)
			reseal(t, own)
			l[3] = own[3]
			return l
		}, "line 5: event 3 of maps does not follow event 2"},
		{"head changed", func(l []string) []string { l[1] = strings.Replace(l[1], `"head":"`, `"head":"0`, 1); return l }, "another hash than the head"},
		{"end removed", func(l []string) []string { return append(l[:5], l[6:]...) }, "line 6: this is no line of an export"},
		{"end removed and counted", func(l []string) []string {
			l[1] = strings.Replace(l[1], `"events":4`, `"events":3`, 1)
			return append(l[:5], l[6:]...)
		}, "ends at event 3 and should end at 4"},
		{"credential removed", func(l []string) []string { return append(l[:6], l[8:]...) }, "it was cut off"},
		{"credentials swapped", func(l []string) []string { return append(append(l[:1:1], l[6:8]...), append(l[1:6:6], l[8:]...)...) }, "not in their order"},
		{"line added", func(l []string) []string { return append(l[:len(l)-1], l[2]) }, "something was added"},
		{"field added", func(l []string) []string { l[2] = `{"x":1,` + l[2][1:]; return l }, "line 3: this is no line of an export"},
		{"said twice", func(l []string) []string { l[2] = `{"seq":1,` + l[2][1:]; return l }, "line 3: this line is not as rotatord writes it"},
		{"reformatted", func(l []string) []string { l[2] = strings.Replace(l[2], `,"`, `, "`, 1); return l }, "reformatted"},
		{"newer format", func(l []string) []string { l[0] = strings.Replace(l[0], `history":1`, `history":2`, 1); return l }, "format 2 and this rotatord knows 1"},
		{"empty", func([]string) []string { return nil }, "line 1: the export ends here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := VerifyExport(strings.NewReader(strings.Join(tt.edit(strings.Split(whole, "\n")), "\n")))
			if tt.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantSays(t, err, "verify exported history", tt.says)
		})
	}
}

// A file that stops early was cut off, wherever: only its last line end may be gone.
func TestVerifyExportFindsEveryCut(t *testing.T) {
	whole := exported(t, twoHistories(t), "", Filter{})
	for n := range len(whole) - 1 {
		if _, err := VerifyExport(strings.NewReader(whole[:n])); err == nil {
			t.Fatalf("the first %d of %d bytes pass for whole", n, len(whole))
		}
	}
}

// What was edited in the journal shows in its export.
func TestExportOfAnEditedJournal(t *testing.T) {
	for _, tt := range []struct{ sql, says string }{
		{"UPDATE events SET body = json_set(body, '$.detail', 'nothing happened') WHERE seq = 2", "event 2 of maps was changed"},
		{"UPDATE events SET body = replace(body, ',', ', ') WHERE seq = 2", "line 4: this line is not as rotatord writes it"},
		{"DELETE FROM events WHERE seq = 4", "ends at event 3 and should end at 4"},
		{"DELETE FROM events WHERE seq = 2", "event 2 of maps is missing"},
	} {
		db := twoHistories(t)
		if _, err := db.write.ExecContext(t.Context(), "DROP TRIGGER events_no_update; DROP TRIGGER events_no_delete; "+tt.sql); err != nil {
			t.Fatal(err)
		}
		_, err := VerifyExport(strings.NewReader(exported(t, db, "maps", Filter{})))
		wantSays(t, err, tt.says)
	}
}
