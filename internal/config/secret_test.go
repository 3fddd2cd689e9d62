package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Wherever a literal secret is written by mistake, no error, excerpt or JSON form
// repeats it.
func TestLiteralSecretIsNeverRepeated(t *testing.T) {
	const canary = "Tr0ub4dor-and-3-canary"
	src := string(read(t, "../../config.example.yaml"))
	var refs []string
	for line := range strings.SplitSeq(src, "\n") {
		for _, kind := range []string{"file:/", "credential:", "env:"} {
			if i := strings.Index(line, ": "+kind); i > 0 && !strings.Contains(line[:i], "#") {
				refs = append(refs, strings.Fields(line[i+2:])[0])
			}
		}
	}
	if len(refs) < 5 {
		t.Fatalf("the example has only %d references", len(refs))
	}
	forms := map[string]string{
		"plain": canary, "single_quoted": "'" + canary + "'", "double_quoted": `"` + canary + `"`, "with_colon": "pass: " + canary,
		"unclosed_quote": `"` + canary, "unclosed_list": "[" + canary, "list": "[" + canary + "]", "mapping": "{value: " + canary + "}", "alias": "*" + canary, "anchor": "&" + canary + " x",
		"tag": "!" + canary + " x", "tagged": "!!str " + canary, "block": "|\n        " + canary, "block_deeper": ">-\n          x\n\n          " + canary,
		"two_lines": "x\n        " + canary, "quoted_lines": "\"x\n        y\\\n        " + canary + "\"", "file_relative": "file:" + canary,
		"env_like": "env:" + canary, "credential_like": "credential:/" + canary, "url": "https://u:" + canary + "@h/", "control": canary + "\x01",
		"comment": "x # " + canary,
	}
	for _, ref := range refs {
		for name, form := range forms {
			t.Run(ref+"/"+name, func(t *testing.T) {
				_, err := Parse("c.yaml", []byte(strings.Replace(src, ref, form, 1)))
				if err == nil {
					t.Fatal("accepted")
				}
				noCanary(t, err, canary)
			})
		}
	}
	for name, bad := range map[string][2]string{
		"misspelt_key":     {"password:", "pasword: " + canary + "\n      password:"},
		"unknown_key":      {"password:", "secret: {x: [" + canary + "]}\n      password:"},
		"section_is_value": {"identity:\n", "identity: " + canary + "\n    identty:\n"},
		"swapped":          {"username: acme_keys", "username: " + canary + "\n      api_key: x"},
		"url_password":     {"https://www.arcgis.com", "https://x:" + canary + "@www.arcgis.com"},
		"url_query":        {"https://wiki.acme.example/arcgis-keys", "https://wiki.acme.example/?token=" + canary},
		"key_as_mode":      {"mode: watch", "mode: AAPT" + canary},
		"key_as_item":      {"item: c0ffee00c0ffee00c0ffee00c0ffee00", "item: AAPT" + canary},
		"key_as_name":      {"name: field-app", "name: hvs." + canary},
		"key_as_sink":      {"sinks: [vault]", "sinks: [xoxb-" + canary + "]"},
		"commented_out":    {"product: online", "product: onlin\n    # old password: " + canary},
		"duplicate_key":    {"password:", "password: " + canary + "\n      password:"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(src, bad[0]) {
				t.Fatalf("the example has no %q", bad[0])
			}
			_, err := Parse("c.yaml", []byte(strings.Replace(src, bad[0], bad[1], 1)))
			if err == nil {
				t.Fatal("accepted")
			}
			noCanary(t, err, canary)
		})
	}
}

func noCanary(t *testing.T, err error, canary string) {
	t.Helper()
	ps, ok := errors.AsType[Problems](err)
	if !ok {
		t.Fatalf("error is %T", err)
	}
	j, jerr := json.Marshal(ps)
	if jerr != nil {
		t.Fatal(jerr)
	}
	for _, text := range []string{err.Error(), string(j), fmt.Sprintf("%+v", ps)} {
		if strings.Contains(text, canary) {
			t.Fatalf("the secret is repeated:\n%s", text)
		}
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	t.Setenv("CONFIG_TEST_SECRET", "from env\n")
	t.Setenv("CONFIG_TEST_EMPTY", "")
	t.Setenv(CredentialsDir, dir)
	write("cred", "from credential")
	for name, row := range map[string]struct {
		ref, want string
		err       error
	}{
		"file":           {ref: "file:" + write("a", "from file\n"), want: "from file"},
		"two_newlines":   {ref: "file:" + write("b", "x\n\n"), want: "x\n"},
		"inner_space":    {ref: "file:" + write("c", " x "), want: " x "},
		"env":            {ref: "env:CONFIG_TEST_SECRET", want: "from env"},
		"credential":     {ref: "credential:cred", want: "from credential"},
		"file_missing":   {ref: "file:" + filepath.Join(dir, "none"), err: fs.ErrNotExist},
		"file_empty":     {ref: "file:" + write("d", "\n"), err: ErrEmpty},
		"file_too_long":  {ref: "file:" + write("e", strings.Repeat("x", maxSecret+1)), err: ErrTooLong},
		"env_unset":      {ref: "env:CONFIG_TEST_NONE", err: ErrUnset},
		"env_empty":      {ref: "env:CONFIG_TEST_EMPTY", err: ErrEmpty},
		"credential_no":  {ref: "credential:none", err: fs.ErrNotExist},
		"zero_reference": {err: ErrNoReference},
	} {
		t.Run(name, func(t *testing.T) {
			var r SecretRef
			if row.ref != "" {
				if err := r.UnmarshalText([]byte(row.ref)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := r.Resolve(t.Context())
			if !errors.Is(err, row.err) || got.Reveal() != row.want {
				t.Errorf("resolve gives %q, %v; want %q, %v", got.Reveal(), err, row.want, row.err)
			}
		})
	}
}

func TestSecretFile(t *testing.T) {
	t.Setenv(CredentialsDir, "/run/credentials/rotatord.service")
	for name, row := range map[string]struct {
		ref  SecretRef
		want string
		err  error
	}{
		"file":       {ref: SecretRef{"file", "/etc/s"}, want: "/etc/s"},
		"credential": {ref: SecretRef{"credential", "s"}, want: "/run/credentials/rotatord.service/s"},
		"env":        {ref: SecretRef{"env", "S"}, err: ErrNoFile},
		"none":       {err: ErrNoReference},
	} {
		if got, err := row.ref.File(); got != row.want || !errors.Is(err, row.err) {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, err, row.want, row.err)
		}
	}
}

// A secret that is rotated in its file is seen without a reload.
func TestResolveReadsAtCallTime(t *testing.T) {
	p := filepath.Join(t.TempDir(), "s")
	var r SecretRef
	if err := r.UnmarshalText([]byte("file:" + p)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one", "two"} {
		if err := os.WriteFile(p, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Resolve(t.Context()); err != nil || got.Reveal() != want {
			t.Errorf("resolve gives %q, %v; want %q", got.Reveal(), err, want)
		}
	}
}

func TestMaskedRevealsNothing(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "s")
	if err := os.WriteFile(secret, []byte("canary-in-file"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONFIG_TEST_SECRET", "canary-in-env")
	c := minimal(t, "file:/etc/rotatord/secrets/main", "file:"+secret,
		"    vault:\n      mount: kv\n      path: keys/{{.Name}}", "    file:\n      path: /run/{{.Name}}\n      after_write: {command: [/bin/x, --pass=canary-arg]}",
		"  - name: alpha", "  - name: alpha\n    probe: {urls: ['https://h.example/x?q=canary-query'], allow_hosts: [h.example]}")
	c.Heartbeat = &Heartbeat{URL: SecretRef{kind: "env", arg: "CONFIG_TEST_SECRET"}, Timeout: 1}
	m, err := c.Masked()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(m), "canary") {
		t.Errorf("masked config reveals a secret:\n%s", m)
	}
	for _, want := range []string{"/bin/x", "env:CONFIG_TEST_SECRET", "h.example/x?[hidden]", "mode: '0600'", "renew_before: 30d"} {
		if !strings.Contains(string(m), want) {
			t.Errorf("masked config lacks %q:\n%s", want, m)
		}
	}
	if c.Sinks["kv"].File.AfterWrite.Command[1] != "--pass=canary-arg" {
		t.Error("masking changed the config itself")
	}
}

// A masked config without addresses' queries and hooks parses to the same config.
func TestMaskedRoundTrip(t *testing.T) {
	c := minimal(t)
	m, err := c.Masked()
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse("masked.yaml", m)
	if err != nil {
		t.Fatalf("parse masked:\n%v", err)
	}
	if !Diff(c, back).Empty() || !reflect.DeepEqual(c.Credentials, back.Credentials) {
		t.Errorf("masked config differs: %+v", Diff(c, back))
	}
}

// TestASecretThatBreaksTheFileIsNotShown: what somebody forgot to indent makes the
// file no YAML, and the excerpt around the error must not hold it.
func TestASecretThatBreaksTheFileIsNotShown(t *testing.T) {
	for name, src := range map[string]string{
		"block, not indented":        "portals:\n  x:\n    password: |\n    S3cr3tHorseBattery\n    url: [\n",
		"block, outdented":           "portals:\n  x:\n    password: >-\n  S3cr3tHorseBattery staple\n    url: [\n",
		"next line, not indented":    "vault:\n  token:\n  S3cr3tHorseBattery\n\n  S3cr3tHorseBattery\n",
		"in a list, and a bad quote": "alerts:\n  slack:\n  - webhook: \"S3cr3tHorseBattery\n    x\n  - y: 'S3cr3tHorseBattery\n",
	} {
		_, err := Parse("f.yaml", []byte(src))
		ps, ok := errors.AsType[Problems](err)
		if !ok {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, p := range ps {
			if strings.Contains(p.Text(), "S3cr3t") {
				t.Errorf("%s is shown:\n%s", name, p.Text())
			}
		}
	}
}
