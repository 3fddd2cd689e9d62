package rotate

import (
	"bytes"
	"encoding"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
)

type holder struct {
	Public  Secret
	private Secret
	nested  struct{ deep *Secret }
	list    []Secret
	byName  map[string]Secret
	any     any
}

func newHolder(s Secret) holder {
	h := holder{Public: s, private: s, list: []Secret{s}, byName: map[string]Secret{"k": s}, any: s}
	h.nested.deep = &s
	return h
}

// clean fails if the text holds the key, or enough of it to guess at.
func clean(t *testing.T, how, text string) {
	t.Helper()
	for _, part := range []string{testBody, "CANARY", fmt.Sprintf("%x", testBody), fmt.Sprintf("%X", testBody), fmt.Sprint([]byte(testBody))} {
		if strings.Contains(text, part) {
			t.Errorf("%s shows the key: %s", how, text)
			return
		}
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	key := liveKey()
	h := newHolder(key)
	values := map[string]any{"secret": key, "pointer": &key, "holder": h, "pointer to holder": &h, "slice": []Secret{key},
		"map": map[string]any{"k": key}, "array": [1]Secret{key}, "entry": Entry{Key: key}, "app": App{ClientSecret: key},
		"minted": Minted{Key: key}, "session": Session{minted: key, old: key}, "pointer to session": &Session{minted: key, old: key}}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "% x", "%o", "%c", "%10.3s", "%t"} {
			clean(t, name+" by "+verb, fmt.Sprintf(verb, v))
		}
		clean(t, name+" by Sprint", fmt.Sprint(v))
		clean(t, name+" in an error", fmt.Errorf("publish %v: %w", v, &Error{Op: fmt.Sprint(v)}).Error())
		b, err := json.Marshal(v)
		if err == nil {
			clean(t, name+" as JSON", string(b))
		}
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelError} {
			var out bytes.Buffer
			o := &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}
			for _, handler := range []slog.Handler{slog.NewTextHandler(&out, o), slog.NewJSONHandler(&out, o)} {
				log := slog.New(handler).With("with", v)
				log.Log(t.Context(), level, "a message", "v", v, slog.Group("g", "v", v), slog.Any("list", []any{v}))
			}
			if out.Len() == 0 {
				t.Fatal("nothing was logged")
			}
			clean(t, name+" in slog", out.String())
		}
	}
}

func TestSecretMarshallers(t *testing.T) {
	var _ encoding.TextMarshaler = Secret{}
	key := liveKey()
	text, err := key.MarshalText() // what YAML and map keys use
	if err != nil || string(text) != redacted {
		t.Errorf("MarshalText = %q, %v; want %q", text, err, redacted)
	}
	type doc struct{ Key Secret }
	x, err := xml.Marshal(doc{key})
	if err != nil || !strings.Contains(string(x), redacted) {
		t.Errorf("XML = %q, %v", x, err)
	}
	j, err := json.Marshal(map[string]Secret{"full": key, "zero": {}})
	if want := `{"full":"[redacted]","zero":""}`; err != nil || string(j) != want {
		t.Errorf("JSON = %s, %v; want %s", j, err, want)
	}
	if got := key.GoString() + key.String() + key.LogValue().String(); got != strings.Repeat(redacted, 3) {
		t.Errorf("GoString, String and LogValue = %q", got)
	}
	if got := fmt.Sprintf("%v|%s", Secret{}, Secret{}); got != "|" {
		t.Errorf("the zero Secret prints %q", got)
	}
}

func TestSecretInAPanic(t *testing.T) {
	for _, v := range []any{liveKey(), newHolder(liveKey()), &Error{Op: fmt.Sprint(liveKey())}} {
		func() {
			defer func() { clean(t, "panic", fmt.Sprintf("%v %+v %#v", v, recover(), v)) }()
			panic(v)
		}()
	}
}

func TestSecretBasics(t *testing.T) {
	a, b, same := testKey(Slot1, "a"), testKey(Slot1, "b"), testKey(Slot1, "a")
	if !a.Equal(same) || a.Equal(b) || a.Equal(Secret{}) || !(Secret{}).Equal(NewSecret("")) {
		t.Error("Equal does not compare values")
	}
	if !NewSecret("").IsZero() || a.IsZero() || (Secret{}).Reveal() != "" || NewSecret("s").Reveal() != "s" {
		t.Error("zero and value are mixed up")
	}
	c := a
	c.Forget()
	if !c.IsZero() || a.IsZero() {
		t.Error("Forget must drop its own reference alone")
	}
}

func TestFingerprintForms(t *testing.T) {
	body := strings.Repeat("b", 24)
	for _, tt := range []struct {
		name, value, prefix string
		slot                Slot
		tail                string
	}{
		{"nothing", "", "", NoSlot, ""},
		{"slot 1", "AAPT" + body + "AT1_H4JC97kO", "AT1_H4JC97kO-", Slot1, "H4JC97kO"},
		{"slot 2", "AAPT" + body + "AT2_H4JC97kO", "AT2_H4JC97kO-", Slot2, "H4JC97kO"},
		{"slot 3 does not exist", "AAPT" + body + "AT3_H4JC97kO", "foreign-", NoSlot, ""},
		{"legacy key", "AAPK" + body + "AT1_H4JC97kO", "foreign-", NoSlot, ""},
		{"short body", "AAPTxAT1_H4JC97kO", "foreign-", NoSlot, ""},
		{"short client tail", "AAPT" + body + "AT1_H4JC97k", "foreign-", NoSlot, ""},
		{"trailing newline", "AAPT" + body + "AT1_H4JC97kO\n", "foreign-", NoSlot, ""},
		{"leading blank", " AAPT" + body + "AT1_H4JC97kO", "foreign-", NoSlot, ""},
		{"odd characters", "AAPT" + body + "é" + "AT1_H4JC97kO", "foreign-", NoSlot, ""},
		{"somebody's password", "AT1_" + "password", "foreign-", NoSlot, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fp := NewSecret(tt.value).Fingerprint()
			if tt.value == "" {
				if fp != "" {
					t.Fatalf("fingerprint of nothing = %q", fp)
				}
				return
			}
			hash, ok := strings.CutPrefix(string(fp), tt.prefix)
			if !ok || len(hash) != 8 || strings.Trim(hash, "0123456789abcdef") != "" {
				t.Errorf("fingerprint = %q, want %s and eight hex digits", fp, tt.prefix)
			}
			if fp.Slot() != tt.slot || fp.ClientTail() != tt.tail {
				t.Errorf("slot %s, tail %q; want %s, %q", fp.Slot(), fp.ClientTail(), tt.slot, tt.tail)
			}
		})
	}
	if a, b := testKey(Slot1, "a").Fingerprint(), testKey(Slot1, "b").Fingerprint(); a == b {
		t.Errorf("two keys of one slot have the fingerprint %s", a)
	}
}

// TestNoFieldHoldsAKey walks everything that is journalled, sent to people or put
// beside the key, and finds no type that a key could sit in unseen.
func TestNoFieldHoldsAKey(t *testing.T) {
	for _, v := range []any{Record{}, Event{}, Meta{}, KeyFacts{}, Claim{}, Hold{}, Request{}, Rotation{}, SlotState{}, Intent{}, Quarantine{}, Command{},
		Decision{}, AdvanceResult{}, Forecast{}, Seen{}, PlannedStep{}, Memory{}, RefusedError{}, Error{}, FieldError{}} {
		var walk func(path string, typ reflect.Type)
		seen := map[reflect.Type]bool{}
		walk = func(path string, typ reflect.Type) {
			if seen[typ] {
				return
			}
			seen[typ] = true
			if typ == reflect.TypeFor[Secret]() {
				t.Errorf("%s can hold a Secret", path)
				return
			}
			switch typ.Kind() {
			case reflect.Pointer, reflect.Slice, reflect.Array:
				walk(path+"[]", typ.Elem())
			case reflect.Map:
				walk(path+" key", typ.Key())
				walk(path+" value", typ.Elem())
			case reflect.Struct:
				for f := range typ.Fields() {
					walk(path+"."+f.Name, f.Type)
				}
			case reflect.Interface:
				if typ != reflect.TypeFor[error]() {
					t.Errorf("%s is an interface: anything could be in it", path)
				}
			default: // strings and numbers hold what was put there by name
			}
		}
		walk(reflect.TypeOf(v).Name(), reflect.TypeOf(v))
	}
	// The test would find one.
	if _, ok := reflect.TypeFor[Entry]().FieldByName("Key"); !ok {
		t.Error("Entry has lost the field that shows this walk to work")
	}
}
