package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const withDefaults = `  quiet: {acks: [shop], http: {url: "https://gates.example/?team=a"}}
  hooks: [{on: [before_minting], command: [/bin/hook, hunter2]}]
`

const twoMore = `
  - name: beta
    item: 1123456789abcdef0123456789abcdef
    quiet: {acks: [app], timeout: 5s, command: [/bin/gate, hunter2]}
    hooks: [{on: [after_retiring], timeout: 10s, http: {url: "https://hooks.example/?team=a"}}]
  - name: gamma
    item: 2123456789abcdef0123456789abcdef
    quiet: {}
    hooks: []
`

func TestQuietIsInherited(t *testing.T) {
	const item = "    item: 0123456789abcdef0123456789abcdef"
	c := minimal(t, "  mode: rotate\n", "  mode: rotate\n"+withDefaults, item, item+twoMore+ackSection)
	a, b, g := c.Credentials[0], c.Credentials[1], c.Credentials[2]
	if a.Quiet == nil || a.Quiet.Timeout.Std() != 30*time.Second || a.Quiet.HTTP == nil || len(a.Hooks) != 1 || a.Hooks[0].Timeout.Std() != 30*time.Second {
		t.Errorf("alpha has %+v, %+v", a.Quiet, a.Hooks)
	}
	if b.Quiet.Timeout.Std() != 5*time.Second || b.Quiet.HTTP != nil || b.Quiet.Acks[0] != "app" || b.Hooks[0].On[0] != "after_retiring" || b.Hooks[0].Command != nil {
		t.Errorf("beta has %+v, %+v", b.Quiet, b.Hooks)
	}
	if g.Quiet.Acks != nil || g.Quiet.HTTP != nil || len(g.Hooks) != 0 {
		t.Errorf("gamma has %+v, %+v", g.Quiet, g.Hooks)
	}
	if got := c.AckCredentials("shop"); !cmp.Equal(got, []string{"alpha"}) {
		t.Errorf("shop may acknowledge %q, want what waits for it", got)
	}
	if got := c.AckCredentials("app"); got != nil {
		t.Errorf("app may acknowledge %q over HTTP without being in acks.consumers", got)
	}
	if target, ok := a.FirstVault(); !ok || target.Path != "keys/alpha" {
		t.Errorf("the first vault sink of alpha is %+v, %v", target, ok)
	}
	masked, err := c.Masked()
	if err != nil {
		t.Fatal(err)
	}
	if text := string(masked); strings.Contains(text, "hunter2") || strings.Contains(text, "team=a") || !strings.Contains(text, "/bin/gate") || !strings.Contains(text, "file:/t") {
		t.Errorf("masked:\n%s", text)
	}
	if c.Credentials[1].Quiet.Command[1] != "hunter2" {
		t.Error("masking changed the config itself")
	}
}

func TestAckCredentialsOfItsOwn(t *testing.T) {
	c := minimal(t, "    item: 0123456789abcdef0123456789abcdef", "    item: 0123456789abcdef0123456789abcdef\n"+
		strings.Replace(ackSection, "/t'}", "/t', credentials: [alpha]}", 1))
	if got := c.AckCredentials("shop"); !cmp.Equal(got, []string{"alpha"}) {
		t.Errorf("shop may acknowledge %q", got)
	}
}

func TestQuietFiles(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"secret", "token", "key", "cert", "gate"} {
		put(t, path(name), "x", 0o600)
	}
	put(t, path("open"), "x", 0o644)
	acks := strings.NewReplacer("/c,", path("cert")+",", "/k,", path("key")+",", "/t'", path("open")+"'").Replace(ackSection)
	c := minimal(t, "/etc/rotatord/secrets/main", path("secret"), "/run/vault/token", path("token"),
		"  mode: rotate\n", "  mode: rotate\n  hooks: [{on: [before_minting], http: {url: 'https://x.example', token: 'file:"+path("open")+"', tls: {ca_file: "+path("none")+"}}}]\n",
		"    item: 0123456789abcdef0123456789abcdef", "    item: 0123456789abcdef0123456789abcdef\n    quiet: {acks: [shop], command: ["+path("gate")+"]}\n"+acks)
	var got []string
	for _, p := range c.CheckFiles() {
		got = append(got, p.Path+": "+strings.ReplaceAll(p.Message, dir, "DIR"))
	}
	want := []string{
		"defaults.hooks[0].http.token: DIR/open is open to every user (mode 0644)",
		"defaults.hooks[0].http.tls.ca_file: DIR/none does not exist",
		"credentials[0].quiet.command[0]: DIR/gate is not executable",
		"acks.cert_file: cannot be used with key_file: tls: failed to find any PEM data in certificate input",
		"acks.consumers.shop.token: DIR/open is open to every user (mode 0644)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
