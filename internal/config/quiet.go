package config

import (
	"encoding"
	"slices"

	"github.com/invopop/jsonschema"

	"rotatord/internal/rotate"
)

// Quiet is what must call an old key unused before it is retired. All of it must.
type Quiet struct {
	Acks      []Name   `yaml:"acks,omitempty" doc:"Consumers that must acknowledge the new key: rotatord ack NAME --consumer X, or over the listener of the section acks."`
	VaultAcks []Name   `yaml:"vault_acks,omitempty" doc:"Consumers that must write the new key's fingerprint to PATH-acks/CONSUMER, beside the secret of the credential's first vault sink."`
	Command   []string `yaml:"command,omitempty" doc:"Program by absolute path, and its arguments, that is asked. No shell. Exit code 0 is yes, 1 is no, all else unknown, which is no yes."`
	HTTP      *Call    `yaml:"http,omitempty" doc:"Address that is asked by POST and answers {\"quiet\": true} or false."`
	Timeout   Duration `yaml:"timeout,omitempty" jsonschema:"default=30s" doc:"Longest time for each of them to answer, at most 1m."`
}

// Hook may veto a rotation at points of it.
type Hook struct {
	On      []HookPoint `yaml:"on" jsonschema:"required" doc:"When it is called: before_ or after_ and a phase, as in before_minting, after_publishing, before_retiring."`
	Command []string    `yaml:"command,omitempty" doc:"Program by absolute path, and its arguments. No shell, and no key in arguments, environment or input. Exit code 0 lets the rotation go on."`
	HTTP    *Call       `yaml:"http,omitempty" doc:"Address that is asked by POST and answers {\"allow\": true} or false."`
	Timeout Duration    `yaml:"timeout,omitempty" jsonschema:"default=30s" doc:"Longest time to answer, at most 1m; no answer is a veto."`
}

// Call of an HTTP service.
type Call struct {
	URL   URL       `yaml:"url" jsonschema:"required" doc:"Address, asked by POST. https, no redirects."`
	Token SecretRef `yaml:"token,omitempty" doc:"Reference to a bearer token that is sent along."`
	TLS   TLS       `yaml:"tls,omitempty" doc:"How the server's certificate is checked."`
}

// HookPoint is one of rotate's.
type HookPoint string

var _ encoding.TextUnmarshaler = (*HookPoint)(nil)

// UnmarshalText checks the point.
func (p *HookPoint) UnmarshalText(b []byte) error {
	known := hookPoints()
	if !slices.Contains(known, string(b)) {
		return badValue(suggest(string(b), known), "%s is no point of a rotation", shown(string(b)))
	}
	*p = HookPoint(b)
	return nil
}

// JSONSchema lists the points.
func (HookPoint) JSONSchema() *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, p := range hookPoints() {
		s.Enum = append(s.Enum, p)
	}
	return s
}

func hookPoints() []string {
	var out []string
	for _, p := range rotate.HookPoints() {
		out = append(out, string(p))
	}
	return out
}

// AckListener takes acknowledgements over HTTP, and does nothing else.
type AckListener struct {
	Listen    string                  `yaml:"listen" jsonschema:"required" doc:"Address of POST /v1/ack, as in 10.0.0.5:9806. Always TLS."`
	CertFile  Path                    `yaml:"cert_file" jsonschema:"required" doc:"PEM file of the certificate. Read again when it changes."`
	KeyFile   Path                    `yaml:"key_file" jsonschema:"required" doc:"PEM file of its key, readable by rotatord alone."`
	Consumers map[string]*AckConsumer `yaml:"consumers" jsonschema:"required" doc:"Who may acknowledge, each as itself alone, by the names in quiet.acks."`
}

// AckConsumer is one consumer that may acknowledge over HTTP.
type AckConsumer struct {
	Token       SecretRef `yaml:"token" jsonschema:"required" doc:"Reference to its own bearer token, of 20 characters or more: openssl rand -hex 32. Read again within seconds when it changes."`
	Credentials []string  `yaml:"credentials,omitempty" doc:"Credentials that it may acknowledge. Those whose quiet.acks name it, if left out."`
}

// AckCredentials are those that a consumer may acknowledge over HTTP.
func (c *Config) AckCredentials(consumer string) []string {
	if c.Acks == nil || c.Acks.Consumers[consumer] == nil {
		return nil
	}
	if own := c.Acks.Consumers[consumer].Credentials; own != nil {
		return slices.Clone(own)
	}
	var out []string
	for _, cr := range c.Credentials {
		if cr.Quiet != nil && slices.Contains(cr.Quiet.Acks, Name(consumer)) {
			out = append(out, string(cr.Name))
		}
	}
	return out
}

// FirstVault is the first of the credential's sinks that is in Vault; its acknowledgements lie beside it.
func (cr *Credential) FirstVault() (Target, bool) {
	i := slices.IndexFunc(cr.targets, func(t Target) bool { return t.Vault != nil })
	if i < 0 {
		return Target{}, false
	}
	return cr.targets[i], true
}

// inheritQuiet takes from defaults what the credential leaves out. An empty section or
// list of its own is not left out.
func (cr *Credential) inheritQuiet(d Defaults) {
	if cr.Quiet == nil && d.Quiet != nil {
		q := *d.Quiet
		cr.Quiet = &q
	}
	if cr.Hooks == nil {
		cr.Hooks = slices.Clone(d.Hooks)
	}
}

// maskCalls hides arguments of commands and queries of addresses in a copy.
func (c *Config) maskCalls() {
	c.Defaults.Quiet, c.Defaults.Hooks = maskedQuiet(c.Defaults.Quiet), maskedHooks(c.Defaults.Hooks)
	for i, cr := range c.Credentials {
		if cr.Quiet == nil && len(cr.Hooks) == 0 {
			continue
		}
		masked := *cr
		masked.Quiet, masked.Hooks = maskedQuiet(cr.Quiet), maskedHooks(cr.Hooks)
		c.Credentials[i] = &masked
	}
}

func maskedQuiet(q *Quiet) *Quiet {
	if q == nil {
		return nil
	}
	m := *q
	m.Command, m.HTTP = maskedCommand(m.Command), m.HTTP.masked()
	return &m
}

func maskedHooks(hooks []Hook) []Hook {
	out := slices.Clone(hooks)
	for i, h := range out {
		out[i].Command, out[i].HTTP = maskedCommand(h.Command), h.HTTP.masked()
	}
	return out
}

func maskedCommand(argv []string) []string {
	out := slices.Clone(argv)
	for i := range out {
		if i > 0 {
			out[i] = hiddenText
		}
	}
	return out
}

func (c *Call) masked() *Call {
	if c == nil {
		return nil
	}
	m := *c
	m.URL = m.URL.withoutQuery()
	return &m
}
