package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/invopop/jsonschema"
	yaml "go.yaml.in/yaml/v4"
)

// Schema is the JSON Schema of the configuration file, for editors.
func Schema() ([]byte, error) {
	r := jsonschema.Reflector{FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true,
		LookupComment: func(t reflect.Type, name string) string {
			if t.Kind() != reflect.Struct {
				return ""
			}
			f, _ := t.FieldByName(name)
			return f.Tag.Get("doc")
		}}
	s := r.Reflect(&Config{})
	s.ID = ""
	s.Title = "rotatord configuration"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode schema: %w", err)
	}
	return append(b, '\n'), nil
}

const durationForm = `^([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$`

// JSONSchema of the types that parse themselves.
func (Duration) JSONSchema() *jsonschema.Schema { return textSchema(durationForm) }

// JSONSchema allows a duration or a percentage.
func (Span) JSONSchema() *jsonschema.Schema {
	return textSchema(`^([1-9][0-9]?%|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$`)
}

// JSONSchema allows a reference only.
func (SecretRef) JSONSchema() *jsonschema.Schema {
	return textSchema(`^(file:/.+|credential:[A-Za-z0-9][A-Za-z0-9._-]*|env:[A-Za-z_][A-Za-z0-9_]*)$`)
}

// JSONSchema wants an absolute path.
func (Path) JSONSchema() *jsonschema.Schema { return textSchema(`^/`) }

// JSONSchema wants an http or https address.
func (URL) JSONSchema() *jsonschema.Schema { return textSchema(`^https?://`) }

// JSONSchema wants a proxy's address.
func (ProxyURL) JSONSchema() *jsonschema.Schema { return textSchema(`^(https?|socks5)://`) }

// JSONSchema wants a usable name.
func (Name) JSONSchema() *jsonschema.Schema { return textSchema(nameForm.String()) }

// JSONSchema wants a percentage.
func (Share) JSONSchema() *jsonschema.Schema { return textSchema(`^([1-9][0-9]?|100)%$`) }

// JSONSchema wants a date, or a time with its zone.
func (When) JSONSchema() *jsonschema.Schema { return textSchema(whenForm) }

// JSONSchema wants 32 hexadecimal digits.
func (ItemID) JSONSchema() *jsonschema.Schema { return textSchema(itemForm.String()) }

// JSONSchema takes octal digits, which editors read as a number or as text.
func (FileMode) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string", Pattern: `^(0o?)?[0-7]{3}$`}, {Type: "integer", Minimum: "0", Maximum: "777"}}}
}

func textSchema(pattern string) *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: pattern}
}

// Masked is the effective configuration as YAML for a support bundle. References to
// secrets stay, since they are none; arguments of hooks and queries of addresses,
// which may hide some, do not.
func (c *Config) Masked() ([]byte, error) {
	m := *c
	m.Sinks = maps.Clone(c.Sinks)
	for name, s := range c.Sinks {
		m.Sinks[name] = s.masked()
	}
	m.Credentials = slices.Clone(c.Credentials)
	for i, cr := range c.Credentials {
		if len(cr.Probe.URLs) > 0 {
			masked := *cr
			masked.Probe.URLs = slices.Clone(cr.Probe.URLs)
			for j, u := range masked.Probe.URLs {
				masked.Probe.URLs[j] = u.withoutQuery()
			}
			m.Credentials[i] = &masked
		}
	}
	m.maskCalls()
	m.Alerts.RunbookURL = m.Alerts.RunbookURL.withoutQuery()
	m.Alerts.DashboardURL, m.Alerts.StatusURL = m.Alerts.DashboardURL.withoutQuery(), m.Alerts.StatusURL.withoutQuery()
	b, err := yaml.Dump(&m, yaml.WithV4Defaults())
	if err != nil {
		return nil, fmt.Errorf("encode config: %w", err)
	}
	return secretForms.ReplaceAll(b, []byte(hiddenText)), nil
}

// masked is a copy without the hook's arguments.
func (s *SinkSpec) masked() *SinkSpec {
	if s.File == nil || s.File.AfterWrite == nil {
		return s
	}
	file, after := *s.File, *s.File.AfterWrite
	after.Command = slices.Clone(after.Command)
	for i := range after.Command {
		if i > 0 {
			after.Command[i] = hiddenText
		}
	}
	file.AfterWrite = &after
	return &SinkSpec{File: &file}
}
