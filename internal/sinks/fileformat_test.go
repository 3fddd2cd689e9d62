package sinks

import (
	"strings"
	"testing"
)

func TestFormats(t *testing.T) {
	dot, obj := dotenv{name: "KEY"}, jsonObject{field: "api_key"}
	for _, tt := range []struct {
		name   string
		format format
		in     string // "-" is no file
		key    string // "!" is an error
		write  string
		out    string // "!" is an error
	}{
		{"dotenv, none", dot, "-", "", "new", "KEY=new\n"},
		{"dotenv, empty", dot, "", "", "new", "KEY=new\n"},
		{"dotenv, keeps order and comments", dot, "# c\nA=1\nKEY=old\n\nB=2\n", "old", "new", "# c\nA=1\nKEY=new\n\nB=2\n"},
		{"dotenv, no last line end", dot, "A=1", "", "new", "A=1\nKEY=new\n"},
		{"dotenv, own line without end", dot, "KEY=old", "old", "new", "KEY=new"},
		{"dotenv, double quotes stay", dot, "KEY=\"old\"\n", "old", "new", "KEY=\"new\"\n"},
		{"dotenv, single quotes stay", dot, "KEY='old' # c\n", "old", "new", "KEY='new' # c\n"},
		{"dotenv, export stays", dot, "export KEY=old\n", "old", "new", "export KEY=new\n"},
		{"dotenv, spaces and remark stay", dot, "  KEY = old  # c\r\nB=2\r\n", "old", "new", "  KEY = new  # c\r\nB=2\r\n"},
		{"dotenv, empty value", dot, "KEY=\n", "", "new", "KEY=new\n"},
		{"dotenv, empty quotes", dot, "KEY=\"\"\n", "", "new", "KEY=\"new\"\n"},
		{"dotenv, longer names are others'", dot, "MY_KEY=a\nKEY2=b\n#KEY=c\n", "", "new", "MY_KEY=a\nKEY2=b\n#KEY=c\nKEY=new\n"},
		{"dotenv, removed", dot, "A=1\nKEY=old\nB=2\n", "old", "", "A=1\nB=2\n"},
		{"dotenv, two words", dot, "KEY=a b\n", "!", "new", "!"},
		{"dotenv, open quote", dot, "KEY=\"a\n", "!", "new", "!"},
		{"dotenv, a variable", dot, "KEY=$OTHER\n", "!", "new", "!"},
		{"dotenv, twice", dot, "KEY=a\nKEY=b\n", "!", "new", "KEY=new\nKEY=new\n"},
		{"dotenv, a key that needs quoting", dot, "KEY=a\n", "a", "a b", "!"},
		{"dotenv, a key with a line end", dot, "KEY=a\n", "a", "a\nB=1", "!"},

		{"json, none", obj, "-", "", "new", "{\n  \"api_key\": \"new\"\n}\n"},
		{"json, keeps order, numbers, nesting", obj, `{"z":{"b":1,"a":12345678901234567890},"api_key":"old","a":1.50}`, "old", "new",
			"{\n  \"z\": {\n    \"b\": 1,\n    \"a\": 12345678901234567890\n  },\n  \"api_key\": \"new\",\n  \"a\": 1.50\n}\n"},
		{"json, added last", obj, `{"z":1}`, "", "new", "{\n  \"z\": 1,\n  \"api_key\": \"new\"\n}\n"},
		{"json, removed", obj, `{"z":1,"api_key":"old"}`, "old", "", "{\n  \"z\": 1\n}\n"},
		{"json, escapes", obj, `{"api_key":"\u0061"}`, "a", "b", "{\n  \"api_key\": \"b\"\n}\n"},
		{"json, null", obj, `{"api_key":null}`, "!", "new", "{\n  \"api_key\": \"new\"\n}\n"},
		{"json, a number", obj, `{"api_key":1}`, "!", "new", "{\n  \"api_key\": \"new\"\n}\n"},
		{"json, an array", obj, `["api_key"]`, "!", "new", "!"},
		{"json, field twice", obj, `{"a":1,"a":2}`, "!", "new", "!"},
		{"json, cut off", obj, `{"a":1`, "!", "new", "!"},
		{"json, two values", obj, `{} {}`, "!", "new", "!"},

		{"bare, none", bare{}, "-", "", "new", "new"},
		{"bare, line end", bare{}, "old\r\n", "old", "new", "new"},
		{"bare, removed", bare{}, "old", "old", "", ""},
		{"bare, two lines", bare{}, "a\nb\n", "!", "new", "new"},
		{"bare, two words", bare{}, "a b", "!", "new", "new"},
		{"bare, a key with a space", bare{}, "a", "a", "a b", "!"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := []byte(tt.in)
			if tt.in == "-" {
				in = nil
			}
			key, err := tt.format.key(in)
			if err != nil {
				key = "!"
			}
			if key != tt.key {
				t.Errorf("got the key %q (%v), want %q", key, err, tt.key)
			}
			out, err := tt.format.with(in, tt.write)
			got := string(out)
			if err != nil {
				got = "!"
			}
			if got != tt.out {
				t.Errorf("got %q (%v), want %q", got, err, tt.out)
			}
		})
	}
}

// Whatever a file holds: putting a key in and reading it gives that key, and taking the
// same one in again changes nothing.
func FuzzFormats(f *testing.F) {
	for _, seed := range []string{"", "KEY=a\n", "export KEY='a' # b\r\n", `{"api_key":"x","n":{"y":[1e400]}}`, "KEY = \"a\"b", "\x00", `{"api_key":"\ud800"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		for _, format := range []format{dotenv{name: "KEY"}, jsonObject{field: "api_key"}, bare{}} {
			if _, err := format.key(content); err != nil {
				if strings.Contains(err.Error(), "KEY=") {
					t.Errorf("%T quotes the content: %v", format, err)
				}
				continue
			}
			once, err := format.with(content, "AAPTnew..AT1_x")
			if err != nil {
				t.Fatalf("%T reads but does not write: %v", format, err)
			}
			if key, err := format.key(once); err != nil || key != "AAPTnew..AT1_x" {
				t.Fatalf("%T wrote %q and read %q, %v", format, once, key, err)
			}
			twice, err := format.with(once, "AAPTnew..AT1_x")
			if err != nil || string(twice) != string(once) {
				t.Fatalf("%T wrote %q, then %q, %v", format, once, twice, err)
			}
		}
	})
}
