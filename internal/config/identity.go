package config

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// StoreSink is the name, in errors, metrics and status, of the sink that an own key's
// identity store is.
const StoreSink = "identity_store"

const (
	ownKeyField  = "api_key"
	ownMetaField = "rotatord"
	// ownKeepPrevious earlier keys beside an own key's file: the portal client falls
	// back to them.
	ownKeepPrevious = 2
)

// OwnKeyOf is the portal that the daemon signs in to with this credential's key; "" is none.
func (cr *Credential) OwnKeyOf() string { return cr.ownKey }

// markOwnKeys notes which credentials hold the daemon's own keys.
func (c *Config) markOwnKeys() {
	byName := c.byName()
	for _, name := range slices.Sorted(maps.Keys(c.Portals)) {
		if cr := byName[c.Portals[name].Identity.OwnKey]; cr != nil && cr.Name != "" && cr.ownKey == "" {
			cr.ownKey = name
		}
	}
}

// appRole of the config; nil if there is none.
func (c *Config) appRole() *AppRole {
	if c.Vault == nil {
		return nil
	}
	return c.Vault.Auth.AppRole
}

// StoreTarget is a portal's identity store as a sink.
func (p *Portal) StoreTarget() Target {
	if v := p.IdentityStore.Vault; v != nil {
		return Target{Sink: StoreSink, Vault: &VaultSink{Mount: v.Mount, Path: v.Path, KeyField: ownKeyField, MetaField: ownMetaField}, Path: v.Path}
	}
	file := string(p.IdentityStore.File)
	return Target{Sink: StoreSink, File: &FileSink{Path: file, Format: "json", Field: ownKeyField, Mode: 0o600, KeepPrevious: ownKeepPrevious}, Path: file}
}

func (k *checker) identity(at, name string, id Identity) {
	const cure = "give username and password, or api_key, or own_key, or oauth"
	login := "username"
	if !k.has(at+".username") && k.has(at+".password") {
		login = "password"
	}
	if k.has(at+".own_key") && k.has(at+".api_key") {
		k.bad(at+".api_key", "remove api_key and put its key into identity_store once, with: rotatord login "+name,
			"is a reference that rotatord only reads, and own_key asks it to rotate that key")
		return
	}
	k.oneOf(at, cure, login, "api_key", "own_key", "oauth")
	if k.has(at+".username") && !k.has(at+".password") {
		k.bad(at, "add password: file:/PATH", "has username but no password")
	}
	if k.has(at+".password") && !k.has(at+".username") {
		k.bad(at, "add username", "has password but no username")
	}
	k.ownKey(at+".own_key", name, id.OwnKey)
}

func (k *checker) ownKey(at, portal string, own Name) {
	if own == "" || k.anyBroken("credentials") {
		return
	}
	var names []string
	for _, cr := range k.c.Credentials {
		if cr != nil {
			names = append(names, string(cr.Name))
		}
	}
	if !k.known(at, "credential", string(own), names) {
		return
	}
	if first := k.c.byName()[own].ownKey; first != portal {
		k.bad(at, "give each portal an own key of its own, or another identity", "%s is also the own key of portal %s; it can live in one identity_store only", shown(string(own)), first)
	}
}

// store checks an identity store by itself.
func (k *checker) store(at string, s IdentityStore) {
	if k.has(at+".vault") && k.has(at+".file") {
		k.bad(at+".file", "remove one of the two", "stands beside vault; only one can be used")
	}
	if s.Vault != nil && k.c.Vault == nil && !k.has("vault") {
		k.bad(at+".vault", "add the section vault", "needs a Vault, but the section vault is missing")
	}
}

// secretID: a referred one is read again at each sign-in, and a wrapped one is replaced
// by whoever delivers it. Neither works with an environment, and neither can be renewed
// by rotatord.
func (k *checker) secretID(at string, a *AppRole) {
	const cure = "give secret_id: file:/PATH, or rotate: {} for one that rotatord renews"
	r := a.Rotate
	switch {
	case !k.has(at+".secret_id") && !k.has(at+".rotate"):
		k.bad(at, cure, "has none of secret_id, rotate")
	case r != nil && k.has(at+".secret_id"):
		k.bad(at+".secret_id", "remove secret_id and put the secret id into the store once, with: rotatord login --vault",
			"is a reference that rotatord only reads, and rotate asks it to renew that secret id")
	case a.SecretID.kind == "env":
		k.bad(at+".secret_id", "write file:/PATH or credential:NAME", "must be in a file: it changes while the daemon runs")
	}
	if r == nil {
		return
	}
	if a.Wrapped {
		k.bad(at+".wrapped", "remove wrapped; put an unwrapped secret id into the store once, with: rotatord login --vault",
			"a wrapped secret id is good for one use and cannot be renewed")
	}
	if !k.has(at + ".role") {
		k.bad(at+".rotate", "add role: NAME, the role whose role_id this is", "needs the role's name, under which new secret ids are made")
	}
	store := at + ".rotate.identity_store"
	k.store(store, r.IdentityStore)
	if v := r.IdentityStore.Vault; v != nil {
		k.bad(store+".vault", "keep it in a file: identity_store: {file: /var/lib/rotatord/vault-secret-id.json}, or leave identity_store out",
			"%s", chain("the sign-in to Vault needs the secret id", "the secret id is in Vault at "+shown(v.Mount+"/"+v.Path), "reading it there needs the sign-in to Vault"))
	}
}

// chain says a cycle of needs.
func chain(links ...string) string {
	return "rotatord would lock itself out: " + strings.Join(links, "; ")
}

// cycles looks for identities that are needed for their own renewal other than in the
// one way that is safe: an own key that rotates itself.
func (k *checker) cycles() {
	if k.anyBroken("credentials") || k.anyBroken("portals") {
		return
	}
	told := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(k.c.Portals)) {
		k.keyCycle(name, told)
	}
	k.writtenByItself()
}

// keyCycle follows which portal's sign-in rotates a portal's own key. Through two or
// more portals, each own key would have to go after the other.
func (k *checker) keyCycle(start string, told map[string]bool) {
	byName := k.c.byName()
	var links, path []string
	for at := start; ; {
		p := k.c.Portals[at]
		if p == nil || told[at] || slices.Contains(path, at) {
			return
		}
		path = append(path, at)
		cr := byName[p.Identity.OwnKey]
		if cr == nil || cr.Portal == at {
			return
		}
		links = append(links, fmt.Sprintf("the sign-in to portal %s needs the key of %s, which is rotated through portal %s", at, cr.Name, cr.Portal))
		if at = cr.Portal; at == start {
			break
		}
	}
	for _, p := range path {
		told[p] = true
	}
	k.bad(join("portals", start)+".identity.own_key", "write portal: "+start+" at the credential "+string(k.c.Portals[start].Identity.OwnKey)+
		", so that the key rotates itself, or give one of the portals username and password, or oauth", "%s", chain(links...))
}

// writtenByItself finds references to a secret that a credential's own rotation writes.
func (k *checker) writtenByItself() {
	refs := map[string]struct{ at, who string }{}
	note := func(at, who, file string) {
		if file != "" {
			refs[path.Clean(file)] = struct{ at, who string }{at, who}
		}
	}
	for name, p := range k.c.Portals {
		at := join("portals", name) + ".identity"
		for key, ref := range map[string]SecretRef{".api_key": p.Identity.APIKey, ".password": p.Identity.Password} {
			if ref.kind == "file" {
				note(at+key, "portal "+name, ref.arg)
			}
		}
	}
	if v := k.c.Vault; v != nil {
		note("vault.auth.token_file", "Vault", string(v.Auth.TokenFile))
		if a := v.Auth.AppRole; a != nil && a.SecretID.kind == "file" {
			note("vault.auth.approle.secret_id", "Vault", a.SecretID.arg)
		}
	}
	for _, cr := range k.c.Credentials {
		for _, t := range cr.targets {
			ref, found := refs[path.Clean(t.Path)]
			if t.File == nil || !found {
				continue
			}
			cure := "keep what the sign-in reads in a file that no sink writes"
			if portal, is := strings.CutSuffix(ref.at, ".identity.api_key"); is {
				cure = "write own_key: " + string(cr.Name) + " instead of api_key, and put the key into identity_store once, with: rotatord login " + strings.TrimPrefix(portal, "portals.")
			}
			k.bad(ref.at, cure,
				"%s", chain("the sign-in to "+ref.who+" reads "+shown(t.Path), "sink "+t.Sink+" writes that file when "+string(cr.Name)+" rotates", "rotating it needs the sign-in"))
		}
	}
}

// claimStores keeps sinks, and other stores, from writing over the daemon's own identities.
func (k *checker) claimStores(targets map[string]string) {
	claim := func(at string, keys []string) {
		for _, key := range keys {
			if first, taken := targets[key]; taken {
				_, place, _ := strings.Cut(key, ":")
				k.bad(at, "give each identity a place of its own", "its place %s is also that of %s", shown(place), first)
				return
			}
		}
		for _, key := range keys {
			targets[key] = at
		}
	}
	for _, name := range slices.Sorted(maps.Keys(k.c.Portals)) {
		if s := k.c.Portals[name].IdentityStore; s.Vault != nil || s.File != "" {
			claim(join("portals", name)+".identity_store", k.c.Portals[name].StoreTarget().keys())
		}
	}
	if a := k.c.appRole(); a != nil && a.Rotate != nil && a.Rotate.IdentityStore.File != "" {
		claim("vault.auth.approle.rotate.identity_store", Target{Path: string(a.Rotate.IdentityStore.File)}.keys())
	}
}
