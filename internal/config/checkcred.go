package config

import (
	"errors"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"rotatord/internal/rotate"
)

// credentials checks each credential, and all of them against each other.
func (k *checker) credentials() {
	names, items, targets := map[Name]string{}, map[string]string{}, map[string]string{}
	k.claimStores(targets)
	for i, cr := range k.c.Credentials {
		at := "credentials[" + strconv.Itoa(i) + "]"
		if cr == nil || k.broken[at] {
			continue
		}
		if k.unique(names, cr, at) {
			k.sinksOf(cr, at, targets)
		}
		k.portalOf(cr, at, items)
		k.create(cr, at)
		k.probe(cr, at)
		switch {
		case k.broken[at+".mode"] || k.broken["defaults.mode"]:
		case cr.Mode == "":
			k.bad(at+".mode", "write mode: watch to observe, or mode: rotate, here or in defaults", "is stated neither here nor in defaults")
		default:
			k.policy(cr, at)
		}
	}
	for i, name := range k.c.Defaults.Sinks {
		k.known("defaults.sinks["+strconv.Itoa(i)+"]", "sink", name, slices.Collect(maps.Keys(k.c.Sinks)))
	}
	if p := k.c.Defaults.Portal; p != "" {
		k.known("defaults.portal", "portal", p, slices.Collect(maps.Keys(k.c.Portals)))
	}
}

func (k *checker) unique(names map[Name]string, cr *Credential, at string) bool {
	if cr.Name == "" {
		return true
	}
	if first, taken := names[cr.Name]; taken {
		k.bad(at+".name", "give each credential its own name", "%q is also the name of %s in line %d", cr.Name, first, k.at(first+".name").line)
		return false
	}
	names[cr.Name] = at
	return true
}

// known checks a reference by name.
func (k *checker) known(path, what, name string, all []string) bool {
	if slices.Contains(all, name) || k.broken[path] || k.broken[what+"s"] {
		return true
	}
	slices.Sort(all)
	cure := "add it to the section " + what + "s"
	if near := nearest(name, all); near != "" {
		cure = "did you mean " + near + "?"
	} else if len(all) > 0 && len(all) <= 10 {
		cure = "write one of " + strings.Join(all, ", ")
	}
	k.bad(path, cure, "no %s is named %s", what, shown(name))
	return false
}

func (k *checker) portalOf(cr *Credential, at string, items map[string]string) {
	switch {
	case k.broken[at+".portal"] || k.broken["defaults.portal"] || k.broken["portals"]:
		return
	case cr.Portal == "":
		k.bad(at+".portal", "name a portal here or in defaults", "is missing")
		return
	case k.has(at + ".portal"):
		if !k.known(at+".portal", "portal", cr.Portal, slices.Collect(maps.Keys(k.c.Portals))) {
			return
		}
	}
	p := k.c.Portals[cr.Portal]
	if p == nil || cr.Item == "" {
		return
	}
	// Two names of one portal do not make two items.
	key := strings.TrimRight(strings.ToLower(string(p.URL)), "/") + "\x00" + string(cr.Item)
	if first, taken := items[key]; taken {
		k.bad(at+".item", "keep one of the two; one item is one credential", "is also the item of %s in line %d", first, k.at(first+".item").line)
		return
	}
	items[key] = at
}

func (k *checker) sinksOf(cr *Credential, at string, targets map[string]string) {
	inherited := !k.has(at + ".sinks")
	if k.broken[at+".sinks"] || (inherited && k.broken["defaults.sinks"]) {
		return
	}
	seen := map[string]bool{}
	if cr.ownKey != "" {
		cr.targets = append(cr.targets, k.c.Portals[cr.ownKey].StoreTarget()) // the commit point
		seen[StoreSink] = true
	}
	if len(cr.Sinks) == 0 && cr.ownKey == "" {
		if cr.Mode == string(rotate.ModeRotate) {
			k.bad(at+".sinks", "name at least one sink, here or in defaults", "is missing; mode rotate needs a place for the key")
		}
		return
	}
	for i, name := range cr.Sinks {
		p := at + ".sinks[" + strconv.Itoa(i) + "]"
		if k.broken[p] || (!inherited && !k.known(p, "sink", name, slices.Collect(maps.Keys(k.c.Sinks)))) {
			continue
		}
		if seen[name] {
			k.bad(p, "name each sink once", "%q is there twice", name)
			continue
		}
		seen[name] = true
		k.target(cr, name, at, targets)
	}
}

// target renders one sink's path, which must be this credential's alone.
func (k *checker) target(cr *Credential, name, at string, targets map[string]string) {
	s := k.c.Sinks[name]
	if s == nil || k.broken[join("sinks", name)] || cr.Name == "" {
		return
	}
	t := Target{Sink: name, Vault: s.Vault, File: s.File}
	template, place := "", join("sinks", name)
	switch {
	case s.Vault != nil:
		template, place = s.Vault.Path, place+".vault.path"
	case s.File != nil:
		template, place = s.File.Path, place+".file.path"
	}
	if template == "" {
		return
	}
	rendered, err := renderPath(template, cr)
	switch {
	case errors.Is(err, ErrNoValue) && cr.Create != nil && !cr.Made() && rendersWithItem(template, cr):
		return // once it is made
	case errors.Is(err, ErrNoValue):
		k.bad(at, "give the credential a value, or change the path of sink "+name, "sink %q: %v", name, err)
		return
	case errors.Is(err, ErrTemplate):
		k.bad(place, "correct the word between the braces", "%v", err)
		return
	case err != nil:
		k.bad(place, "write words between slashes, as in apps/{{.Name}}; what is filled in must be such a word too", "%v", err)
		return
	}
	t.Path = rendered
	cr.targets = append(cr.targets, t)
	for _, key := range t.keys() {
		if first, taken := targets[key]; taken {
			k.bad(at+".name", "put {{.Name}} into the path of the sink, so that each credential has its own", "sink %q: its path %s is also written for %s", name, shown(rendered), first)
			return
		}
	}
	for _, key := range t.keys() {
		targets[key] = at
	}
}

// keys are what the target writes: the secret, or the file with its sidecar and lock.
func (t Target) keys() []string {
	if t.Vault != nil {
		return []string{"vault:" + t.Vault.Mount + "/" + path.Clean(t.Path)}
	}
	file := path.Clean(t.Path)
	return []string{"file:" + file, "file:" + file + ".meta.json", "file:" + file + ".lock"}
}

// probe checks that keys go only where they may.
func (k *checker) probe(cr *Credential, at string) {
	for i, u := range cr.Probe.URLs {
		p := at + ".probe.urls[" + strconv.Itoa(i) + "]"
		if k.broken[p] || k.anyBroken(at+".probe.allow_hosts") {
			continue
		}
		if !slices.Contains(cr.Probe.AllowHosts, u.Host()) {
			k.bad(p, "add "+u.Host()+" to probe.allow_hosts if keys may be sent there", "is on a host that is not in probe.allow_hosts")
		}
	}
	for i, h := range cr.Probe.AllowHosts {
		if strings.ContainsAny(h, "/*@? ") || h == "" {
			k.bad(at+".probe.allow_hosts["+strconv.Itoa(i)+"]", "write the host alone, without scheme and wildcard", "%s is no host name", shown(h))
		}
	}
}

// policy checks what a rotating credential must state, and that nothing in it
// contradicts itself.
func (k *checker) policy(cr *Credential, at string) {
	if k.anyBroken(at+".policy") || k.anyBroken("defaults.policy") {
		return
	}
	p := cr.Policy
	var missing []string
	for _, m := range []struct {
		key string
		no  bool
	}{{"overlap", p.Overlap == nil}, {"renew_before", p.RenewBefore == nil}, {"lifetime", p.Lifetime == nil}, {"critical_before", p.CriticalBefore == nil}} {
		if m.no {
			missing = append(missing, m.key)
		}
	}
	if len(missing) > 0 {
		if cr.Mode == string(rotate.ModeWatch) {
			return
		}
		k.bad(at+".policy", "set each here or in defaults.policy; what can end a key's life has no default", "mode rotate needs %s", strings.Join(missing, ", "))
		return
	}
	for _, err := range contradictions(k.c.RotatePolicy(cr).Validate()) {
		fe, ok := errors.AsType[*rotate.FieldError](err)
		if !ok {
			fe = &rotate.FieldError{Message: err.Error()}
		}
		key := at + ".policy." + fe.Field
		// A mistake of the defaults alone is shown once, not for each heir.
		if inherited := "defaults.policy." + fe.Field; !k.has(at+".policy") && k.has(inherited) {
			key = inherited
		}
		k.bad(key, policyCure(fe.Field), "%s", fe.Message)
	}
}

func contradictions(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

func policyCure(key string) string {
	switch key {
	case "renew_before":
		return "renew earlier, shorten the overlap, or lengthen the lifetime: a new key must be out, and the overlap over, two days before the old one ends"
	case "lifetime":
		return "write 364d or less"
	case "critical_before":
		return "write less than renew_before"
	case "orphan_delay":
		return "write overlap or more, or leave it out: then orphans are only reported"
	case "spread":
		return "write less than lifetime"
	}
	return "write a duration above zero"
}
