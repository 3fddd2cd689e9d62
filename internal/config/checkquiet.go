package config

import (
	"crypto/tls"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// maxCall is the longest time for a gate or a hook: several of them, and the effect that
// they wait for, share two minutes.
const maxCall = Duration(time.Minute)

// quiets checks gates and hooks, those of defaults once and not for each heir.
func (k *checker) quiets() {
	k.quiet("defaults", k.c.Defaults.Quiet, k.c.Defaults.Hooks)
	taken := map[string]string{}
	for i, cr := range k.c.Credentials {
		if cr == nil {
			continue
		}
		for _, t := range cr.targets {
			for _, key := range t.keys() {
				taken[key] = "credentials[" + strconv.Itoa(i) + "]"
			}
		}
	}
	for i, cr := range k.c.Credentials {
		at := "credentials[" + strconv.Itoa(i) + "]"
		if cr == nil || k.broken[at] {
			continue
		}
		own := Credential{}
		if k.has(at + ".quiet") {
			own.Quiet = cr.Quiet
		}
		if k.has(at + ".hooks") {
			own.Hooks = cr.Hooks
		}
		k.quiet(at, own.Quiet, own.Hooks)
		k.vaultAcks(cr, at, taken)
	}
	k.ackListener()
}

func (k *checker) quiet(at string, q *Quiet, hooks []Hook) {
	if q != nil {
		p := at + ".quiet"
		k.consumers(p+".acks", q.Acks)
		k.consumers(p+".vault_acks", q.VaultAcks)
		k.command(p+".command", q.Command)
		k.callTime(p+".timeout", q.Timeout)
	}
	for i, h := range hooks {
		p := at + ".hooks[" + strconv.Itoa(i) + "]"
		if k.broken[p] {
			continue
		}
		k.oneOf(p, "give command or http", "command", "http")
		k.command(p+".command", h.Command)
		k.callTime(p+".timeout", h.Timeout)
		if k.has(p+".on") && len(h.On) == 0 && !k.broken[p+".on"] {
			k.bad(p+".on", "name a point, as in before_minting", "is empty; the hook would never be called")
		}
		for j, point := range h.On {
			if at := p + ".on[" + strconv.Itoa(j) + "]"; point != "" && slices.Contains(h.On[:j], point) {
				k.bad(at, "name each point once", "%s is there twice", point)
			}
		}
	}
}

// consumers that are waited for.
func (k *checker) consumers(path string, names []Name) {
	if k.has(path) && len(names) == 0 && !k.broken[path] {
		k.bad(path, "name a consumer, or remove the key", "is empty; nobody would be waited for")
	}
	for i, n := range names {
		if n != "" && slices.Contains(names[:i], n) {
			k.bad(path+"["+strconv.Itoa(i)+"]", "name each consumer once", "%s is there twice", n)
		}
	}
}

func (k *checker) command(path string, argv []string) {
	switch {
	case !k.has(path) || k.anyBroken(path):
	case len(argv) == 0:
		k.bad(path, "name the program by absolute path", "is empty")
	case !filepath.IsAbs(argv[0]):
		k.bad(path+"[0]", "write the program from the root, as in /usr/local/bin/NAME", "is not an absolute path")
	}
}

func (k *checker) callTime(path string, d Duration) {
	if d > maxCall && !k.anyBroken(path) {
		k.bad(path, "write 1m or less, and have what takes longer done beforehand", "is longer than %s", maxCall)
	}
}

// vaultAcks lie beside the secret of the first vault sink, where no credential's own secret may be.
func (k *checker) vaultAcks(cr *Credential, at string, taken map[string]string) {
	if cr.Quiet == nil || len(cr.Quiet.VaultAcks) == 0 || k.anyBroken(at+".sinks") || k.anyBroken("sinks") || k.anyBroken("defaults.sinks") {
		return
	}
	place := at + ".quiet.vault_acks"
	if !k.has(place) {
		place = at + ".quiet"
	}
	t, ok := cr.FirstVault()
	if !ok {
		if len(cr.targets) == len(cr.Sinks) { // else a sink's own mistake is said already
			k.bad(place, "add a vault sink, or use acks", "needs a vault sink, and %s has none", cr.Name)
		}
		return
	}
	for _, c := range cr.Quiet.VaultAcks {
		if who, is := taken["vault:"+t.Vault.Mount+"/"+t.Path+"-acks/"+string(c)]; is {
			k.bad(place, "change the path of the sink", "%s would acknowledge where the key of %s is kept", c, who)
		}
	}
}

func (k *checker) ackListener() {
	a := k.c.Acks
	if a == nil {
		return
	}
	if a.Listen != "" && !k.anyBroken("acks.listen") {
		k.hostPort("acks.listen", "write HOST:PORT, as in 10.0.0.5:9806", a.Listen)
		if h := k.c.HTTP; a.Listen == h.Listen && !h.Off {
			k.bad("acks.listen", "give it a port of its own", "is also http.listen")
		}
	}
	if k.has("acks.consumers") && len(a.Consumers) == 0 && !k.broken["acks.consumers"] {
		k.bad("acks.consumers", "name a consumer, or remove the section acks", "is empty; nobody could acknowledge")
	}
	tokens := map[SecretRef]string{}
	for _, name := range slices.Sorted(maps.Keys(a.Consumers)) {
		k.ackConsumer(name, a.Consumers[name], tokens)
	}
}

func (k *checker) ackConsumer(name string, c *AckConsumer, tokens map[SecretRef]string) {
	at := join("acks.consumers", name)
	if first, taken := tokens[c.Token]; taken && !c.Token.IsZero() {
		k.bad(at+".token", "make one for each: openssl rand -hex 32", "is the token of %s as well; who speaks could not be told", first)
	}
	tokens[c.Token] = name
	var all, waiting []string
	for _, cr := range k.c.Credentials {
		if cr == nil {
			continue
		}
		all = append(all, string(cr.Name))
		if cr.Quiet != nil {
			for _, w := range cr.Quiet.Acks {
				waiting = append(waiting, string(w))
			}
		}
	}
	for i, cr := range c.Credentials {
		k.known(at+".credentials["+strconv.Itoa(i)+"]", "credential", cr, all)
	}
	if c.Credentials == nil && !slices.Contains(waiting, name) && !k.brokenBelow["credentials"] && !k.brokenBelow["defaults"] && !k.broken[at] {
		cure := "name it in quiet.acks of a credential, or say which credentials it may acknowledge"
		if near := nearest(name, waiting); near != "" {
			cure = "did you mean " + near + "?"
		}
		k.bad(at, cure, "is waited for by no credential")
	}
}

// quiets looks at the files of gates, hooks and the listener.
func (f *fileChecker) quiets() {
	f.quiet("defaults", f.c.Defaults.Quiet, f.c.Defaults.Hooks)
	for i, cr := range f.c.Credentials {
		at := "credentials[" + strconv.Itoa(i) + "]"
		var q *Quiet
		var hooks []Hook
		if f.has(at + ".quiet") {
			q = cr.Quiet
		}
		if f.has(at + ".hooks") {
			hooks = cr.Hooks
		}
		f.quiet(at, q, hooks)
	}
	a := f.c.Acks
	if a == nil {
		return
	}
	before := len(f.problems)
	f.plain("acks.cert_file", a.CertFile)
	f.secretFile("acks.key_file", string(a.KeyFile))
	if len(f.problems) == before {
		if _, err := tls.LoadX509KeyPair(string(a.CertFile), string(a.KeyFile)); err != nil {
			f.bad("acks.cert_file", "give the certificate and the key that belong together, in PEM", "cannot be used with key_file: %v", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Consumers)) {
		f.secret(join("acks.consumers", name)+".token", a.Consumers[name].Token)
	}
}

func (f *fileChecker) quiet(at string, q *Quiet, hooks []Hook) {
	if q != nil {
		f.call(at+".quiet", q.Command, q.HTTP)
	}
	for i, h := range hooks {
		f.call(at+".hooks["+strconv.Itoa(i)+"]", h.Command, h.HTTP)
	}
}

func (f *fileChecker) call(at string, argv []string, c *Call) {
	if len(argv) > 0 {
		f.program(at+".command[0]", argv[0])
	}
	if c != nil {
		f.secret(at+".http.token", c.Token)
		f.plain(at+".http.tls.ca_file", c.TLS.CAFile)
	}
}
