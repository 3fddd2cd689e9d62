package rotate

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// shownBy renders a value in the ways that logs, errors, pages and dumps have.
func shownBy(t *testing.T, v any) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "v", v)
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "v", v)
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b.String() + string(raw) + fmt.Sprintf("%v %+v", []any{v}, struct{ v any }{v})
}

// Whatever a secret is, no rendering shows eight characters of it in a row, and its
// fingerprint shows its public tail alone, and that only if it is a key.
func FuzzSecret(f *testing.F) {
	f.Add("AAPTq8dZkfPzW0r1LJm5xT9bYh.AT1_H4JC97kO")
	f.Add("AAPTq8dZkfPzW0r1LJm5xT9bYhAT2_H4JC97kO")
	f.Add("AT1_H4JC97kO")
	f.Add("\x00\xff%s%!v(PANIC")
	f.Fuzz(func(t *testing.T, text string) {
		s := NewSecret(text)
		if s.Reveal() != text || s.IsZero() != (text == "") || !s.Equal(NewSecret(text)) || s.Equal(NewSecret(text+"x")) {
			t.Fatal("the secret is another one")
		}
		fp := s.Fingerprint()
		if fp != NewSecret(text).Fingerprint() || len(fp) > tailLen+1+8 || (fp == "") != (text == "") {
			t.Fatalf("fingerprint %q", fp)
		}
		key := keyForm.MatchString(text)
		if key && (!strings.HasPrefix(string(fp), text[len(text)-tailLen:]) || fp.Slot() == NoSlot || !strings.HasSuffix(text, fp.ClientTail())) {
			t.Errorf("%q does not name its key", fp)
		}
		if !key && text != "" && (fp.Slot() != NoSlot || fp.ClientTail() != "" || !strings.HasPrefix(string(fp), "foreign-")) {
			t.Errorf("%q shows what is no key", fp)
		}
		const visible = 8
		plain := shownBy(t, struct{ S, Other Secret }{Other: NewSecret("another value")}) + "0x000000c000123456" // what stands there anyhow
		shown := shownBy(t, struct{ S Secret }{s}) + shownBy(t, s) + shownBy(t, &s) + shownBy(t, map[string]Secret{"k": s})
		for i := range max(0, len(text)-visible+1) {
			if part := text[i : i+visible]; strings.Contains(shown, part) && !strings.Contains(plain, part) && !strings.Contains(shownBy(t, struct{ S Secret }{}), part) &&
				!strings.Contains(shownBy(t, map[string]Secret{"k": NewSecret("another value")}), part) {
				t.Fatalf("characters %d to %d are shown", i, i+visible)
			}
		}
	})
}

// A fingerprint is typed by people: what is none has no slot, and nothing breaks.
func FuzzFingerprint(f *testing.F) {
	for _, s := range []string{"", "AT1_H4JC97kO-1a2b3c4d", "AT3_H4JC97kO-1a2b3c4d", "AT1", "foreign-1a2b3c4d", "AT2_\xff\xff\xff\xff\xff\xff\xff\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		fp := Fingerprint(text)
		switch slot, tail := fp.Slot(), fp.ClientTail(); {
		case slot == NoSlot && tail != "":
			t.Errorf("%q has no slot and a client %q", text, tail)
		case slot != NoSlot && (!slot.Valid() || len(tail) != tailLen-4 || !strings.HasPrefix(text, "AT"+slot.String())):
			t.Errorf("%q has slot %s and client %q", text, slot, tail)
		}
	})
}
