package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"rotatord/internal/credspec"
)

const createEntry = `  - name: alpha
    create:
      use: public
      title: Store locator
      privileges: [premium:user:basemaps]
      items: [0123456789ABCDEF0123456789abcdef]
      referrers: any
      tags: []
`

func withCreate(t *testing.T) *Config {
	t.Helper()
	return minimal(t, "  - name: alpha\n    item: 0123456789abcdef0123456789abcdef\n", createEntry)
}

func TestCreateAsSpec(t *testing.T) {
	c := withCreate(t)
	cr := c.Credentials[0]
	got := c.Spec(cr)
	want := &credspec.Spec{Use: credspec.UsePublic, Title: "Store locator", Tags: []string{}, Privileges: []string{"premium:user:basemaps"},
		Items: []string{"0123456789abcdef0123456789abcdef"}, Referrers: []string{credspec.AnyReferrer}, Protect: true, Drift: credspec.DriftReport, Expiry: c.RotatePolicy(cr)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if cr.Made() || len(c.Made()) != 0 {
		t.Error("a credential without an item counts as made")
	}
	if c := minimal(t); len(c.Made()) != 1 || c.Spec(c.Credentials[0]) != nil {
		t.Error("a credential with an item and without create is not as before")
	}
}

// A path that needs the item's id has to wait until there is one; what else it lacks is said at once.
func TestPathOfAnItemToBeMade(t *testing.T) {
	src := strings.Replace(string(read(t, "testdata/minimal.yaml")), "  - name: alpha\n    item: 0123456789abcdef0123456789abcdef\n", createEntry, 1)
	c, err := Parse("c.yaml", []byte(strings.Replace(src, "keys/{{.Name}}", "keys/{{.Item}}", 1)))
	if err != nil || len(c.Credentials[0].Targets()) != 0 {
		t.Errorf("path of an item that is to be made: %v", err)
	}
	if _, err := Parse("c.yaml", []byte(strings.Replace(src, "keys/{{.Name}}", "keys/{{.Item}}/{{.Owner}}", 1))); err == nil || !strings.Contains(err.Error(), "the credential has none") {
		t.Errorf("path that lacks more than the item: %v", err)
	}
}

func TestWarningsOfCreate(t *testing.T) {
	src := strings.Replace(string(read(t, "testdata/minimal.yaml")), "  - name: alpha\n    item: 0123456789abcdef0123456789abcdef\n", createEntry, 1)
	c, err := Parse("c.yaml", []byte(strings.Replace(src, "      referrers: any\n", "", 1)))
	if err != nil {
		t.Fatal(err)
	}
	warned := func(c *Config) (n int) {
		for _, p := range c.CheckFiles() {
			if strings.Contains(p.Message, "unrestricted_key") && p.Warning && p.Line > 20 && p.Cure != "" {
				n++
			}
		}
		return n
	}
	if n := warned(c); n != 1 {
		t.Errorf("%d warnings of a public key without referrers", n)
	}
	if n := warned(withCreate(t)); n != 0 {
		t.Error("referrers: any is warned of")
	}
}
