package sinks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"rotatord/internal/rotate"
)

// noSuchNamespace lies below the configured one and is nobody's.
const noSuchNamespace = "rotatord-asks-whether-namespaces-work"

// ready is passed before every use of a mount: the namespace is real and the mount is
// KV version 2. Both are asked once and remembered.
func (v *Vault) ready(ctx context.Context, mount string) error {
	if err := v.checkNamespace(ctx); err != nil {
		return err
	}
	if _, ok := v.mounts.Load(mount); ok {
		return nil
	}
	return v.checkMount(ctx, mount)
}

// checkNamespace finds out whether the server obeys X-Vault-Namespace. Vault's
// community edition takes the header, repeats it and works in the root namespace;
// but so it does for a namespace that cannot exist.
func (v *Vault) checkNamespace(ctx context.Context) error {
	if v.opt.Namespace == "" || v.namespaceProved.Load() {
		return nil
	}
	c := call{op: "check vault namespace " + v.opt.Namespace, path: "auth/token/lookup-self"}
	rep, err := v.do(ctx, c)
	if err != nil {
		return err
	}
	if rep.status != http.StatusOK {
		err := judge(c, rep)
		if rotate.KindOf(err) != rotate.KindPermanent {
			return err
		}
		return namespaceError(c.op, errors.New("the token may not look itself up there, so it cannot be told whether the namespace is real"))
	}
	opt := v.opt
	opt.Namespace = strings.TrimSuffix(opt.Namespace, "/") + "/" + noSuchNamespace
	elsewhere, err := newClient(opt, v.transport)
	if err != nil {
		return err
	}
	// Not by do: a refusal there says nothing about the token, which just worked.
	c.token = v.session.present()
	if rep, err = v.send(ctx, elsewhere, c); err != nil {
		return err
	}
	switch {
	case rep.status == http.StatusOK:
		return namespaceError(c.op, errors.New("the server ignores namespaces: this is Vault without them, and the secrets would land in its root"))
	case rep.status == http.StatusTooManyRequests || rep.status >= http.StatusInternalServerError:
		return judge(c, rep)
	}
	v.namespaceProved.Store(true)
	return nil
}

func namespaceError(op string, err error) error {
	return &rotate.Error{Op: op, Kind: rotate.KindPermanent, Cause: rotate.CauseNamespace, Err: err}
}

// checkMount wants a KV version 2 engine. Without it, a write to version 1 would be
// taken without its cas, and a missing mount would look like an empty secret.
func (v *Vault) checkMount(ctx context.Context, mount string) error {
	v.mounts.Delete(mount)
	c := call{op: "check vault mount " + mount, path: "sys/internal/ui/mounts/" + mount}
	rep, err := v.do(ctx, c)
	if err != nil {
		return err
	}
	if rep.status != http.StatusOK {
		e, _ := errors.AsType[*rotate.Error](judge(c, rep))
		if e.Kind == rotate.KindPermanent { // 403 or 404 for a missing mount, by policy
			e.Cause, e.Err = rotate.CauseNoMount, fmt.Errorf("vault answered %d: there is no such mount, or the policy grants nothing below it", rep.status)
		}
		return e
	}
	var body struct {
		Data struct {
			Path    string            `json:"path"`
			Type    string            `json:"type"`
			Options map[string]string `json:"options"`
		} `json:"data"`
	}
	if err := rep.decode(&body); err != nil {
		return malformed(c.op, err)
	}
	fail := func(cause rotate.Cause, text string) error {
		return &rotate.Error{Op: c.op, Kind: rotate.KindPermanent, Cause: cause, Err: errors.New(text)}
	}
	switch {
	case strings.Trim(body.Data.Path, "/") != mount:
		return fail(rotate.CauseNoMount, "there is a mount above it, but none at this path")
	case body.Data.Type != "kv" && body.Data.Type != "generic":
		return fail(rotate.CauseNoMount, "it is no key-value engine")
	case body.Data.Options["version"] != "2":
		return fail(rotate.CauseKVv1, "it is a key-value engine of version 1, which has no check-and-set")
	}
	v.mounts.Store(mount, true)
	return nil
}

// Check looks for everything that would keep these sinks from working. It changes
// nothing but the sign-in. No finding means that a rotation can write.
func (v *Vault) Check(ctx context.Context, specs []SinkSpec) []Finding {
	found := v.checkTransport()
	if f, ok := v.checkServer(ctx); !ok {
		return append(found, f)
	}
	if _, err := v.signedIn(ctx); err != nil {
		return append(found, v.finding("", "the sign-in to Vault is refused", err,
			"renew the identity that the vault.auth section names; its role and mount must exist in this Vault"))
	}
	found = append(found, v.checkOwnSecretID(ctx)...)
	if err := v.checkNamespace(ctx); err != nil {
		return append(found, v.finding("", "namespace "+v.opt.Namespace+" cannot be used", err,
			"remove vault.namespace, or point vault.address to a server with namespaces"))
	}
	mounts := map[string]bool{}
	for _, s := range specs {
		ok, seen := mounts[s.Mount]
		if !seen {
			err := v.checkMount(ctx, s.Mount)
			if ok = err == nil; !ok {
				found = append(found, v.mountFinding(s, err))
			}
			mounts[s.Mount] = ok
		}
		if ok {
			found = append(found, v.checkRights(ctx, s)...)
			found = append(found, v.checkAckRights(ctx, s)...)
		}
	}
	return found
}

func (v *Vault) checkTransport() []Finding {
	u, err := url.Parse(v.opt.Address)
	if err != nil || u.Scheme == "https" {
		return nil
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return []Finding{{
		Severity: SeverityWarning,
		Sentence: "keys and tokens travel to Vault unencrypted: " + v.opt.Address + " is plain HTTP",
		Cure:     "use the https address of Vault",
	}}
}

// checkServer asks for the seal status, which needs no token.
func (v *Vault) checkServer(ctx context.Context) (Finding, bool) {
	c := call{op: "ask vault for its state", path: "sys/seal-status"}
	rep, err := v.send(ctx, v.client, c)
	if err == nil && rep.status != http.StatusOK {
		err = judge(c, rep)
	}
	var body struct {
		Initialized *bool `json:"initialized"`
		Sealed      bool  `json:"sealed"`
	}
	if err == nil {
		if err = rep.decode(&body); err == nil && body.Initialized == nil {
			err = errNotVault
		}
	}
	f := Finding{Severity: SeverityError}
	switch {
	case errors.Is(err, errNotVault):
		f.Cause, f.Sentence = rotate.CauseMalformed, "what answers at "+v.opt.Address+" is not Vault"
		f.Cure = "correct vault.address"
	case err != nil:
		f = v.finding("", "Vault cannot be reached at "+v.opt.Address, err, "check vault.address, the network and the CA file")
	case !*body.Initialized:
		f.Cause, f.Sentence = rotate.CauseSealed, "Vault was never initialised"
		f.Cure = "run vault operator init, and unseal it"
	case body.Sealed:
		f.Cause, f.Sentence = rotate.CauseSealed, "Vault is sealed"
		f.Cure = "run vault operator unseal"
	default:
		return Finding{}, true
	}
	return f, false
}

func (v *Vault) finding(sink, sentence string, err error, cure string) Finding {
	return Finding{
		Severity: SeverityError, Sink: sink, Cause: rotate.CauseOf(err),
		Sentence: sentence + ": " + err.Error(), Cure: cure,
	}
}

func (v *Vault) mountFinding(s SinkSpec, err error) Finding {
	switch rotate.CauseOf(err) {
	case rotate.CauseNoMount:
		return v.finding(s.Name, "there is no key-value mount "+s.Mount+" that this identity can see", err,
			"run vault secrets enable -path="+s.Mount+" -version=2 kv, or grant what rotatord vault-policy prints")
	case rotate.CauseKVv1:
		return v.finding(s.Name, "mount "+s.Mount+" is KV version 1, which can neither compare and swap nor keep earlier keys", err,
			"run vault kv enable-versioning "+s.Mount+", or name a version 2 mount")
	default:
		return v.finding(s.Name, "mount "+s.Mount+" cannot be looked at", err, "see the error")
	}
}

// checkRights asks what the token may do with one secret.
func (v *Vault) checkRights(ctx context.Context, s SinkSpec) []Finding {
	data, meta := s.Mount+"/data/"+s.Path, s.Mount+"/metadata/"+s.Path
	c := call{
		op: "ask vault for our rights", path: "sys/capabilities-self",
		body: map[string]any{"paths": []string{data, meta}},
	}
	rep, err := v.do(ctx, c)
	if err == nil && rep.status != http.StatusOK {
		err = judge(c, rep)
	}
	var body struct {
		Data map[string]any `json:"data"`
	}
	if err == nil {
		err = rep.decode(&body)
	}
	if err != nil {
		f := v.finding(s.Name, "the rights on "+data+" cannot be looked up", err, "grant what rotatord vault-policy prints")
		f.Severity = SeverityWarning
		return []Finding{f}
	}
	var found []Finding
	add := func(sev Severity, cause rotate.Cause, sentence string) {
		found = append(found, Finding{
			Severity: sev, Sink: s.Name, Cause: cause, Sentence: sentence,
			Cure: "grant what rotatord vault-policy prints",
		})
	}
	onData, onMeta := lacking(body.Data[data], "read", "create", "update"), lacking(body.Data[meta], "read", "patch")
	switch {
	case slices.Equal(onData, []string{"create", "update"}):
		add(SeverityError, rotate.CauseReadOnly, "the identity may only read "+data)
	case len(onData) > 0:
		add(SeverityError, rotate.CauseForbidden, "the identity lacks the right to "+strings.Join(onData, " and ")+" "+data)
	}
	if slices.Contains(onMeta, "read") {
		add(SeverityError, rotate.CauseForbidden, "the identity lacks the right to read "+meta+", without which a missing secret cannot be told from one that never existed")
	}
	if slices.Contains(onMeta, "patch") {
		add(SeverityWarning, rotate.CauseForbidden, "the identity lacks the right to patch "+meta+": custom metadata will not be written")
	}
	return found
}

// lacking capabilities out of want.
func lacking(granted any, want ...string) []string {
	var have []string
	list, _ := granted.([]any)
	for _, g := range list {
		if text, ok := g.(string); ok {
			have = append(have, text)
		}
	}
	if slices.Contains(have, "root") {
		return nil
	}
	return slices.DeleteFunc(want, func(w string) bool { return slices.Contains(have, w) })
}

// checkOwnSecretID asks whether the own secret id could be renewed.
func (v *Vault) checkOwnSecretID(ctx context.Context) []Finding {
	o, ok := v.session.method.(*ownSecretID)
	if !ok {
		return nil
	}
	c := call{op: "ask vault for our rights", path: "sys/capabilities-self", token: v.session.present(), body: map[string]any{"paths": secretIDRights(o.role)}}
	var body struct {
		Data map[string]any `json:"data"`
	}
	if err := v.ask(ctx, c, &body); err != nil {
		return []Finding{v.finding("", "the rights to renew the AppRole secret id cannot be looked up", err, "grant what rotatord vault-policy prints")}
	}
	var found []Finding
	for _, path := range slices.Sorted(slices.Values(secretIDRights(o.role))) {
		if len(lacking(body.Data[path], "update")) > 0 {
			found = append(found, Finding{Severity: SeverityError, Cause: rotate.CauseForbidden, Sentence: "the identity may not update " + path + ": its secret id will not be renewed",
				Cure: "grant what rotatord vault-policy prints"})
		}
	}
	return found
}
