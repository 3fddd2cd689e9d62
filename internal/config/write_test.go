package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func found() []Found {
	end := time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC)
	return []Found{
		{Portal: "main", Item: "0123456789ABCDEF0123456789abcdef", Title: "is there already"},
		{Portal: "main", Item: "11111111111111111111111111111111", Title: "Web Map Key (prod)", Owner: "ops_bot", Expires: end},
		{Portal: "main", Item: "22222222222222222222222222222222", Title: "Web Map Key [prod]", Owner: "ops_bot", Note: "legacy key"},
		{Portal: "main", Item: "33333333333333333333333333333333", Title: "evil\"\n- name: x\u2028# AAPTxy8BH1VEsoebNVZXo8Hur\x00", Owner: "a\r\nb"},
		{Portal: "main", Item: "44444444444444444444444444444444", Title: "日本"},
		{Portal: "main", Item: "55555555555555555555555555555555", Title: "Alpha"},
		{Portal: "main", Item: "55555555555555555555555555555555", Title: "seen twice"},
	}
}

func TestAppendCredentials(t *testing.T) {
	base := string(read(t, "testdata/minimal.yaml"))
	head := base[:strings.Index(base, "credentials:")]
	for name, src := range map[string]string{
		"at_end":           base,
		"no_final_newline": strings.TrimSuffix(base, "\n"),
		"before_section":   base + "\n# about workers\nworkers: 2 # two\n",
		"without_indent":   strings.ReplaceAll(strings.ReplaceAll(base, "  - name: alpha\n    item", "- name: alpha\n  item"), "credentials:\n  -", "credentials:\n-"),
		"trailing_comment": base + "  # the end\n",
		"no_section":       head,
		"empty_section":    head + "credentials: [] # none yet\nworkers: 2\n",
		"null_section":     "credentials:\n" + head,
	} {
		t.Run(name, func(t *testing.T) {
			out, n, err := AppendCredentials("c.yaml", []byte(src), found())
			if err != nil {
				t.Fatal(err)
			}
			want := 5
			if !strings.Contains(src, "name: alpha") {
				want = 6
			}
			if n != want {
				t.Errorf("%d added, want %d", n, want)
			}
			golden(t, "testdata/append/"+name+".yaml", string(out))
			c, err := Parse("c.yaml", out)
			if err != nil {
				t.Fatalf("result:\n%v", err)
			}
			for _, cr := range c.Credentials {
				if cr.Name != "alpha" && cr.Mode != "watch" && cr.Item != "0123456789abcdef0123456789abcdef" {
					t.Errorf("%s has mode %s", cr.Name, cr.Mode)
				}
			}
			for line := range strings.SplitSeq(src, "\n") {
				if !strings.Contains(string(out), strings.TrimPrefix(line, "credentials: [] # none yet")) {
					t.Errorf("line %q is lost", line)
				}
			}
			again, n, err := AppendCredentials("c.yaml", out, found())
			if err != nil || n != 0 || string(again) != string(out) {
				t.Errorf("a second time adds %d, error %v", n, err)
			}
		})
	}
}

func TestAppendCredentialsRefuses(t *testing.T) {
	base := string(read(t, "testdata/minimal.yaml"))
	flow := base[:strings.Index(base, "credentials:")] + "credentials: [{name: alpha, item: 0123456789abcdef0123456789abcdef}]\n"
	if _, _, err := AppendCredentials("c.yaml", []byte(flow), found()); !errors.Is(err, ErrCannotAppend) {
		t.Errorf("flow list: error %v", err)
	}
	_, _, err := AppendCredentials("c.yaml", []byte(base), []Found{{Portal: "other", Item: strings.Repeat("1", 32)}})
	if _, ok := errors.AsType[Problems](err); !ok {
		t.Errorf("unknown portal: error %v", err)
	}
}

func TestWriteCredentials(t *testing.T) {
	golden(t, "testdata/append/snippet.txt", string(WriteCredentials(found())))
}
