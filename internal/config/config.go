// Package config turns config.yaml into a validated Config.
//
// It works in two stages. Parse is pure: it reads no file, no environment and no
// clock, and reports every problem at once with its place, an excerpt and the cure.
// CheckFiles then looks at what the config points to: secrets, certificates, hooks.
// A secret is only ever a reference here (SecretRef); its value is read when it is
// used, and the text of a literal that somebody wrote by mistake is never repeated.
//
// The struct tags are the single source of keys, defaults and explanations: the
// decoder, the JSON Schema and docs/config.md are made from them.
//
// It has more files than other packages because each is one small subject: the tree of
// keys, values, decoding, what may be shown, checks, schedules, files, differences.
package config

import (
	"fmt"
	"os"
	"reflect"
)

// DefaultPath is where the daemon looks without --config.
const DefaultPath = "/etc/rotatord/config.yaml"

// maxSize bounds what Parse reads; ten thousand credentials take about 4 MiB.
const maxSize = 32 << 20

// Config is a valid configuration with every default filled in.
type Config struct {
	Portals     map[string]*Portal   `yaml:"portals" jsonschema:"required" doc:"ArcGIS portals by a name of yours."`
	Vault       *Vault               `yaml:"vault,omitempty" doc:"The HashiCorp Vault that vault sinks write to. Leave it out if no sink needs it."`
	Sinks       map[string]*SinkSpec `yaml:"sinks,omitempty" doc:"Places that consumers read keys from, by a name of yours."`
	Defaults    Defaults             `yaml:"defaults,omitempty" doc:"What every credential has unless it says otherwise."`
	Fleet       Fleet                `yaml:"fleet,omitempty" doc:"What binds the credentials to each other: stages, the most rotations at once, and a stop after failed proofs. Dead, compromised and critical ones neither wait nor count."`
	Credentials []*Credential        `yaml:"credentials" doc:"The API key credentials to watch or rotate."`
	Schedules   Schedules            `yaml:"schedules,omitempty" doc:"When the daemon wakes up. What is due is decided by stored dates, so a missed or doubled wake-up harms nothing."`
	HTTP        HTTP                 `yaml:"http,omitempty" doc:"Metrics, health and the status page."`
	Acks        *AckListener         `yaml:"acks,omitempty" doc:"A listener on which consumers acknowledge the key that they run. It can do nothing else. None if left out."`
	Alerts      Alerts               `yaml:"alerts,omitempty" doc:"What people are told."`
	Heartbeat   *Heartbeat           `yaml:"heartbeat,omitempty" doc:"A dead man's switch, called after a pass in which every due credential advanced or is knowingly held."`
	State       State                `yaml:"state,omitempty" doc:"What the daemon keeps on disk."`
	Admin       Admin                `yaml:"admin,omitempty" doc:"The socket that the commands talk to the daemon over."`
	Log         Log                  `yaml:"log,omitempty" doc:"Logging, to standard error."`
	Workers     int                  `yaml:"workers,omitempty" jsonschema:"default=8,minimum=1,maximum=1024" doc:"How many credentials of one portal are worked on at the same time."`

	doc *document
}

// Load reads and parses a file.
func Load(path string) (*Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return Parse(path, src)
}

// Parse checks and completes a configuration; name appears in its problems. An
// error is of type Problems and holds all of them.
func Parse(name string, src []byte) (*Config, error) {
	d := newDocument(name, src)
	c := &Config{doc: d}
	root := d.load()
	if root != nil {
		d.decode(root, reflect.ValueOf(c).Elem(), "", field{})
		c.inherit()
		d.fill(reflect.ValueOf(c).Elem(), "")
		c.fillStores()
		(&checker{document: d, c: c}).run()
	}
	if len(d.problems) > 0 {
		return nil, d.sorted()
	}
	return c, nil
}

// Settings is the config without its credentials and without its text: what a daemon
// still asks for once the credentials have their adapters. Of ten thousand of them the
// rest would be a third of its memory.
func (c *Config) Settings() *Config {
	s := *c
	s.Credentials, s.doc = nil, &document{name: c.doc.name}
	return &s
}

// Name is the file name that Parse was given.
func (c *Config) Name() string { return c.doc.name }
