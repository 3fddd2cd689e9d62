package config

import (
	"reflect"
	"slices"
)

// Changes between two configurations, for a reload.
type Changes struct {
	// Added, Removed and Changed name credentials. One is changed if its own keys,
	// its portal or one of its sinks differ.
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	Changed []string `json:"changed,omitempty"`
	// Sections are the top-level keys that differ.
	Sections []string `json:"sections,omitempty"`
	// Restart names keys whose new value is taken only by a restart.
	Restart []string `json:"restart,omitempty"`
}

// Empty tells whether nothing differs.
func (c Changes) Empty() bool { return len(c.Sections) == 0 }

// Diff compares the running configuration with a new one.
func Diff(was, is *Config) Changes {
	var ch Changes
	before, after := was.byName(), is.byName()
	for _, cr := range is.Credentials {
		o, there := before[cr.Name]
		switch {
		case !there:
			ch.Added = append(ch.Added, string(cr.Name))
		case !sameCredential(was, is, o, cr):
			ch.Changed = append(ch.Changed, string(cr.Name))
		}
	}
	for _, cr := range was.Credentials {
		if _, there := after[cr.Name]; !there {
			ch.Removed = append(ch.Removed, string(cr.Name))
		}
	}
	for _, s := range [][]string{ch.Added, ch.Removed, ch.Changed} {
		slices.Sort(s)
	}
	a, b := reflect.ValueOf(*was), reflect.ValueOf(*is)
	for i := range a.NumField() {
		key := yamlKey(a.Type().Field(i))
		if key != "" && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			ch.Sections = append(ch.Sections, key)
		}
	}
	for _, r := range []struct {
		key  string
		same bool
	}{
		{"state.dir", was.State.Dir == is.State.Dir},
		{"http.credential_series", was.HTTP.CredentialSeries == is.HTTP.CredentialSeries},
		{"http.listen", was.HTTP.Listen == is.HTTP.Listen},
		{"http.off", was.HTTP.Off == is.HTTP.Off},
		{"http.status_page", was.HTTP.StatusPage == is.HTTP.StatusPage},
		{"acks.listen", value(was.Acks).Listen == value(is.Acks).Listen},
		{"acks.cert_file", value(was.Acks).CertFile == value(is.Acks).CertFile},
		{"acks.key_file", value(was.Acks).KeyFile == value(is.Acks).KeyFile},
		{"http.web_config_file", was.HTTP.WebConfigFile == is.HTTP.WebConfigFile},
		{"admin.socket", was.Admin.Socket == is.Admin.Socket},
		{"admin.group", was.Admin.Group == is.Admin.Group},
		{"log.format", was.Log.Format == is.Log.Format},
	} {
		if !r.same {
			ch.Restart = append(ch.Restart, r.key)
		}
	}
	return ch
}

func (c *Config) byName() map[Name]*Credential {
	m := make(map[Name]*Credential, len(c.Credentials))
	for _, cr := range c.Credentials {
		m[cr.Name] = cr
	}
	return m
}

// sameCredential compares what two credentials come to, portal and sinks included.
func sameCredential(was, is *Config, a, b *Credential) bool {
	return reflect.DeepEqual(a, b) && reflect.DeepEqual(was.Portals[a.Portal], is.Portals[b.Portal]) &&
		(reflect.DeepEqual(was.Vault, is.Vault) || !slices.ContainsFunc(b.targets, func(t Target) bool { return t.Vault != nil }))
}
