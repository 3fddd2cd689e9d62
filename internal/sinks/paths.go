package sinks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const maxPath = 512 // Vault takes longer ones; no person reads them

var errPath = errors.New("not usable as a path")

// checkPath wants segments of letters, digits and "._-@=:,~" between single slashes, the
// same as the config's path templates give: nothing climbs out of its folder, and
// nothing acts as a wildcard in a printed policy.
func checkPath(p string) error {
	if p == "" || len(p) > maxPath {
		return fmt.Errorf("%w: it is empty or longer than %d characters", errPath, maxPath)
	}
	for segment := range strings.SplitSeq(p, "/") {
		switch segment {
		case "":
			return fmt.Errorf("%w: a slash at an end, or two in a row (an empty value?)", errPath)
		case ".", "..":
			return fmt.Errorf("%w: it has the segment %q", errPath, segment)
		}
		if i := strings.IndexFunc(segment, notInPath); i >= 0 {
			return fmt.Errorf("%w: it has the character %q", errPath, []rune(segment[i:])[0])
		}
	}
	return nil
}

func notInPath(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("._-@=:,~", r)
}

// Policy is the least that rotatord's Vault identity needs for these sinks, in HCL:
// every operation works with it and no other secret can be read.
func Policy(specs []SinkSpec) string {
	type rule struct {
		path, caps, why string
	}
	rules := []rule{
		{"auth/token/lookup-self", `"read"`, "when the token ends; whether the namespace is real"},
		{"auth/token/renew-self", `"update"`, "renewal"},
		{"sys/capabilities-self", `"update"`, "check-config --online"},
	}
	var mounts, data []rule
	for _, s := range specs {
		mounts = append(mounts, rule{"sys/internal/ui/mounts/" + s.Mount, `"read"`, "whether it is a KV version 2 mount"})
		data = append(data,
			rule{s.Mount + "/data/" + s.Path, `"create", "update", "read"`, "the key; its earlier versions"},
			rule{s.Mount + "/metadata/" + s.Path, `"read", "patch"`, "whether it ever existed; custom metadata"})
		for _, c := range s.Acks {
			data = append(data, rule{s.Mount + "/data/" + AckPath(s.Path, c), `"read"`, "which key " + c + " runs"})
		}
	}
	slices.SortFunc(mounts, func(a, b rule) int { return strings.Compare(a.path, b.path) })
	slices.SortFunc(data, func(a, b rule) int { return strings.Compare(a.path, b.path) })
	var b strings.Builder
	b.WriteString("# What rotatord needs, and nothing else.\n")
	for _, r := range slices.Compact(slices.Concat(rules, mounts, data)) {
		fmt.Fprintf(&b, "\n# %s\npath %q {\n  capabilities = [%s]\n}\n", r.why, r.path, r.caps)
	}
	return b.String()
}

// secretIDRights are what renewing the own secret id needs, beside Policy.
func secretIDRights(role string) []string {
	return []string{role + "/secret-id", role + "/secret-id/lookup", role + "/secret-id-accessor/lookup", role + "/secret-id-accessor/destroy"}
}

// SecretIDPolicy is what an AppRole needs to renew its own secret id, in HCL.
func SecretIDPolicy(mount, role string) string {
	var b strings.Builder
	b.WriteString("\n# the renewal of rotatord's own secret id\n")
	for _, path := range secretIDRights("auth/" + mount + "/role/" + role) {
		fmt.Fprintf(&b, "path %q {\n  capabilities = [\"update\"]\n}\n", path)
	}
	return b.String()
}
