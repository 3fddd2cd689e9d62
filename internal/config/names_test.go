package config

import (
	"strings"
	"testing"
)

const namedConfig = `portals: {here: {url: https://www.arcgis.com, product: online, identity: {username: bot, password: env:P}}}
sinks: {files: {file: {path: '/srv/{{.Name}}.key'}}}
defaults: {portal: here, sinks: [files], mode: watch, policy: {renew_before: 60d, overlap: 7d, critical_before: 7d, lifetime: 90d}}
credentials:
  # maps of the shop
  - name: maps # its name
    item: 0123456789abcdef0123456789abcdef
  - {item: 1123456789abcdef0123456789abcdef, name: "trails", owner: maps}
`

// A name changes and nothing else, and every path stays where it was.
func TestRename(t *testing.T) {
	for _, tt := range []struct{ name, from, to, old, want string }{
		{"block", "maps", "shop-maps", "  - name: maps # its name\n", "  - name: shop-maps # its name\n    path_name: maps\n"},
		{"flow", "trails", "paths", `name: "trails", `, `name: "paths", path_name: trails, `},
	} {
		out, err := Rename("c.yaml", []byte(namedConfig), Name(tt.from), Name(tt.to))
		if want := strings.Replace(namedConfig, tt.old, tt.want, 1); err != nil || string(out) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.name, err, out, want)
		}
		back, err := Rename("c.yaml", out, Name(tt.to), "third")
		if want := strings.Replace(string(out), tt.to, "third", 1); err != nil || string(back) != want {
			t.Errorf("%s again: %v\n%s", tt.name, err, back)
		}
	}
	plain := strings.Replace(namedConfig, "{{.Name}}", "{{.Item}}", 1)
	out, err := Rename("c.yaml", []byte(plain), "maps", "shop-maps")
	if err != nil || strings.Contains(string(out), "path_name") {
		t.Errorf("a path without the name: %v\n%s", err, out)
	}
	for from, to := range map[Name]Name{"maps": "trails", "trails": "a b", "nobody": "any"} {
		if out, err := Rename("c.yaml", []byte(namedConfig), from, to); err == nil {
			t.Errorf("%s to %s was done:\n%s", from, to, out)
		}
	}
}

func TestWithout(t *testing.T) {
	c, err := Parse("c.yaml", []byte(namedConfig))
	if err != nil {
		t.Fatal(err)
	}
	less := c.Without(map[Name]bool{"maps": true})
	if len(less.Credentials) != 1 || less.Credentials[0].Name != "trails" || len(c.Credentials) != 2 {
		t.Errorf("left: %d of %d", len(less.Credentials), len(c.Credentials))
	}
}
