package config

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"rotatord/internal/credspec"
)

func settings() credspec.Settings {
	return credspec.Settings{Title: "Web \"map\": key\u2028 # 1", Folder: "/", Tags: []string{"a b", "- c"}, Snippet: "it's: {x}", Description: "<p>one</p>\nline two\t# no comment\n\n",
		Privileges: []string{"premium:user:basemaps", credspec.GrantOf("0123456789abcdef0123456789abcdef")}, Referrers: []string{"https://*.example.com"}, Protected: true}
}

// What is written for a portal's settings differs in nothing from them, wherever it is put,
// and every line that was there is there.
func TestAmend(t *testing.T) {
	base := string(read(t, "testdata/minimal.yaml"))
	entry := "  - name: alpha\n    item: 0123456789abcdef0123456789abcdef\n"
	for name, src := range map[string]string{
		"plain":            base,
		"no_final_newline": strings.TrimSuffix(base, "\n"),
		"comment":          strings.Replace(base, "name: alpha\n", "name: alpha # the first\n    # its item\n", 1),
		"name_last":        strings.TrimSuffix(strings.Replace(base, entry, "  - item: 0123456789abcdef0123456789abcdef\n    name: alpha\n", 1), "\n"),
		"windows":          strings.ReplaceAll(base, "\n", "\r\n"),
		"no_indent":        strings.Replace(base, entry, "- name:   'alpha'\n  item: 0123456789abcdef0123456789abcdef\n", 1),
		"two":              base + "\n  # second\n  - name: beta\n    item: 1123456789abcdef0123456789abcdef\nworkers: 3\n",
	} {
		t.Run(name, func(t *testing.T) {
			spec := credspec.SpecOf(settings())
			add := map[Name]Amendment{"alpha": {Create: CreateOf(&spec)}}
			if name == "two" {
				add["beta"] = add["alpha"]
			}
			out, err := Amend("c.yaml", []byte(src), add)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse("c.yaml", out)
			if err != nil {
				t.Fatal(err)
			}
			for _, cr := range c.Credentials {
				if cs := credspec.Diff(c.Spec(cr), settings()); len(cs) > 0 {
					t.Errorf("%s differs:\n%s", cr.Name, cs.Text())
				}
			}
			rest := string(out)
			for line := range strings.SplitSeq(src, "\n") {
				i := strings.Index(rest, line)
				if i < 0 {
					t.Fatalf("line %q is lost or moved:\n%s", line, out)
				}
				rest = rest[i+len(line):]
			}
			if name == "plain" {
				golden(t, "testdata/append/create.yaml", string(out))
			}
		})
	}
}

func TestAmendItem(t *testing.T) {
	src := strings.Replace(string(read(t, "testdata/minimal.yaml")), "  - name: alpha\n    item: 0123456789abcdef0123456789abcdef\n", createEntry, 1)
	out, err := Amend("c.yaml", []byte(src), map[Name]Amendment{"alpha": {Item: "00000000000000000000000000000123"}})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Parse("c.yaml", out); err != nil || c.Credentials[0].Item != "00000000000000000000000000000123" || len(c.Made()) != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	if slices.Equal(out, []byte(src)) || !strings.Contains(string(out), "  - name: alpha\n    item: \"00000000000000000000000000000123\"\n    create:\n") {
		t.Errorf("item is not below the name:\n%s", out)
	}
}

func TestAmendRefuses(t *testing.T) {
	base := string(read(t, "testdata/minimal.yaml"))
	spec := credspec.SpecOf(settings())
	for name, c := range map[string]struct {
		src string
		add map[Name]Amendment
	}{
		"item is there": {base, map[Name]Amendment{"alpha": {Item: "00000000000000000000000000000123"}}},
		"flow": {strings.Replace(base, "  - name: alpha\n    item: 0123456789abcdef0123456789abcdef\n", "  - {name: alpha, item: 0123456789abcdef0123456789abcdef}\n", 1),
			map[Name]Amendment{"alpha": {Create: CreateOf(&spec)}}},
		"folded": {strings.Replace(base, "name: alpha\n", "name: >-\n      alpha\n", 1), map[Name]Amendment{"alpha": {Create: CreateOf(&spec)}}},
	} {
		if out, err := Amend("c.yaml", []byte(c.src), c.add); !errors.Is(err, ErrCannotAmend) || out != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Amend("c.yaml", []byte(base), map[Name]Amendment{"beta": {Item: "00000000000000000000000000000123"}}); err == nil {
		t.Error("a credential that is not there is amended")
	}
}
