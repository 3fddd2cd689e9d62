package main

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPrivileges(t *testing.T) {
	r := runCLI(t, "privileges")
	if r.code != exitOK || strings.Count(r.out, "\n\n") < 20 {
		t.Errorf("exit code %d, %s", r.code, r.err)
	}
	for line := range strings.Lines(r.out) {
		if utf8.RuneCountInString(line) > pageWidth+1 {
			t.Errorf("wider than %d columns: %q", pageWidth, line)
		}
	}
	golden(t, "privileges.golden", runCLI(t, "privileges", "--search", "routing").out)
	golden(t, "privileges-lp.golden", runCLI(t, "privileges", "--product", "location-platform", "--category", "loc").out)
}

func TestPrivilegesJSON(t *testing.T) {
	var list []struct {
		ID, Label, Category, Scope, Description, Cost string
		Products                                      []string
	}
	r := runCLI(t, "privileges", "--json", "--product", "online", "--search", "routing network")
	if err := json.Unmarshal([]byte(r.out), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].ID != "premium:user:networkanalysis" || list[0].Scope != "standard" || list[0].Products[0] != "online" || list[0].Cost == "" {
		t.Errorf("%+v", list)
	}
	if r := runCLI(t, "privileges", "--json", "--search", "teleport"); r.code != exitOK || r.out != "[]\n" {
		t.Errorf("nothing found: %d %q", r.code, r.out)
	}
}

func TestPrivilegesUsage(t *testing.T) {
	for want, args := range map[string][]string{
		`did you mean "online"?`: {"--product", "onlien"}, "want one of location-platform": {"--product", "zzzzzzzzzz"},
		`did you mean "content"?`: {"--category", "contnt"}, "want one of": {"--category", "p"},
	} {
		r := runCLI(t, append([]string{"privileges"}, args...)...)
		if r.code != exitUsage || !strings.Contains(r.err, want) {
			t.Errorf("%v: code %d, %q", args, r.code, r.err)
		}
	}
}
