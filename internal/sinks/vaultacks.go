package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"rotatord/internal/rotate"
)

// The fields of an acknowledgement in Vault. The fingerprint is what counts; a
// generation, if there is one, must agree as well.
const (
	ackFingerprint = "fingerprint"
	ackGeneration  = "generation"
)

// AckPath is where a consumer acknowledges in Vault: beside the secret that it reads.
func AckPath(path, consumer string) string { return path + "-acks/" + consumer }

// VaultAcks is the gate of acknowledgements in Vault: each consumer writes the
// fingerprint of the key that it runs to its own place beside the credential's secret.
type VaultAcks struct {
	v    *Vault
	spec SinkSpec
}

var _ rotate.Gate = (*VaultAcks)(nil)

// AckGate waits for all of spec.Acks. It sends nothing.
func (v *Vault) AckGate(spec SinkSpec) (*VaultAcks, error) {
	if len(spec.Acks) == 0 {
		return nil, errors.New("set up acknowledgements in vault: no consumer is named, and nobody would be waited for")
	}
	for i, c := range spec.Acks {
		if slices.Contains(spec.Acks[:i], c) {
			return nil, fmt.Errorf("set up acknowledgements in vault: consumer %s is there twice", c)
		}
		for _, p := range []string{spec.Mount, AckPath(spec.Path, c)} {
			if err := checkPath(p); err != nil || strings.Contains(c, "/") {
				return nil, fmt.Errorf("set up acknowledgements in vault: %q: %w", p, errors.Join(err, errPath))
			}
		}
	}
	return &VaultAcks{v: v, spec: spec}, nil
}

// Name of the gate.
func (g *VaultAcks) Name() string { return "vault-acks" }

// ReadsOnly: whoever may look at a credential may have this gate asked.
func (g *VaultAcks) ReadsOnly() bool { return true }

// mostNamed stragglers still fit into an alert.
const mostNamed = 5

// Ask who has not acknowledged the live key.
func (g *VaultAcks) Ask(ctx context.Context, q rotate.Quiet) (rotate.QuietAnswer, error) {
	if q.Live.Fingerprint == "" {
		return rotate.QuietAnswer{}, errors.New("the fingerprint of the live key is not known, so that nobody can have acknowledged it")
	}
	if err := g.v.ready(ctx, g.spec.Mount); err != nil {
		return rotate.QuietAnswer{}, err
	}
	var lag []string
	for _, c := range g.spec.Acks {
		said, err := g.read(ctx, c)
		if err != nil {
			return rotate.QuietAnswer{}, err
		}
		if text := said.lagging(q); text != "" {
			lag = append(lag, c+" "+text)
		}
	}
	if n := len(lag); n > mostNamed {
		lag = append(lag[:mostNamed:mostNamed], fmt.Sprintf("and %d more", n-mostNamed))
	}
	if len(lag) > 0 {
		return rotate.QuietAnswer{Detail: strings.Join(lag, "; ")}, nil
	}
	return rotate.QuietAnswer{Quiet: true, Detail: fmt.Sprintf("all of %s run generation %d", strings.Join(g.spec.Acks, ", "), q.Live.Generation)}, nil
}

// vaultAck is what a consumer wrote.
type vaultAck struct {
	there       bool
	fingerprint rotate.Fingerprint
	generation  int64 // 0: not said
	odd         string
}

// read one consumer's place. One that is not there, or deleted, is no acknowledgement;
// one that may not be read is an error.
func (g *VaultAcks) read(ctx context.Context, consumer string) (vaultAck, error) {
	s := VaultSink{v: g.v, spec: SinkSpec{Mount: g.spec.Mount, Path: AckPath(g.spec.Path, consumer)}}
	sec, found, err := s.get(ctx, nil)
	if err != nil || !found || sec.fields == nil {
		return vaultAck{}, err
	}
	return decodeAck(sec.fields), nil
}

var fingerprintForm = regexp.MustCompile(`^(AT[12]_[A-Za-z0-9]{8}|foreign)-[0-9a-f]{8}$`)

// decodeAck does not keep what it cannot read: it may be the key itself, by mistake.
func decodeAck(f fields) vaultAck {
	a := vaultAck{there: true}
	text, err := stringField(f, ackFingerprint)
	switch {
	case err != nil || (text != "" && !fingerprintForm.MatchString(text)):
		a.odd = "wrote something into the field " + ackFingerprint + " that is no fingerprint"
		return a
	case text == "":
		a.odd = "wrote no field " + ackFingerprint
		return a
	}
	a.fingerprint = rotate.Fingerprint(text)
	raw, ok := f[ackGeneration]
	if !ok {
		return a
	}
	var number string
	if json.Unmarshal(raw, &number) != nil { // vault kv put writes text, the API numbers
		number = string(raw)
	}
	if a.generation, err = strconv.ParseInt(number, 10, 64); err != nil || a.generation <= 0 {
		a.generation, a.odd = 0, "wrote something into the field "+ackGeneration+" that is no generation"
	}
	return a
}

// lagging says what a straggler runs; "" for the live key.
func (a vaultAck) lagging(q rotate.Quiet) string {
	switch {
	case !a.there:
		return "has acknowledged nothing yet"
	case a.odd != "":
		return a.odd
	case a.fingerprint == q.Live.Fingerprint && (a.generation == 0 || a.generation == q.Live.Generation):
		return ""
	case a.fingerprint == q.Live.Fingerprint:
		return fmt.Sprintf("acknowledged the live key as generation %d, which is %d", a.generation, q.Live.Generation)
	case a.fingerprint == q.Previous.Fingerprint:
		return fmt.Sprintf("runs the previous key (%s)", a.fingerprint)
	}
	return fmt.Sprintf("runs %s", a.fingerprint)
}

// checkAckRights asks whether the acknowledgements of one secret can be read.
func (v *Vault) checkAckRights(ctx context.Context, s SinkSpec) []Finding {
	var paths []string
	for _, c := range s.Acks {
		paths = append(paths, s.Mount+"/data/"+AckPath(s.Path, c))
	}
	if len(paths) == 0 {
		return nil
	}
	c := call{op: "ask vault for our rights", path: "sys/capabilities-self", body: map[string]any{"paths": paths}}
	rep, err := v.do(ctx, c)
	var body struct {
		Data map[string]any `json:"data"`
	}
	if err != nil || rep.status != http.StatusOK || rep.decode(&body) != nil {
		return nil // the rights on the secret itself cannot be looked up either, which is said
	}
	var found []Finding
	for _, p := range paths {
		if len(lacking(body.Data[p], "read")) > 0 {
			found = append(found, Finding{Severity: SeverityError, Sink: s.Name, Cause: rotate.CauseForbidden,
				Sentence: "the identity lacks the right to read the acknowledgement " + p + ", without which no old key is ever retired by its gate",
				Cure:     "grant what rotatord vault-policy prints"})
		}
	}
	return found
}
