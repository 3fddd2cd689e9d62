package config

import (
	"net"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Webhook is a service that alerts are posted to.
type Webhook struct {
	URL     SecretRef   `yaml:"url" jsonschema:"required" doc:"Reference to the address, which often holds a token: https, or http to this machine. No redirects."`
	Secrets []SecretRef `yaml:"secrets" jsonschema:"required" doc:"References to the secrets that sign: one, or two while it is changed. Each of 24 bytes at least, or whsec_ and base64."`
	TLS     TLS         `yaml:"tls,omitempty" doc:"How its certificate is checked."`
	Proxy   ProxyURL    `yaml:"proxy,omitempty" doc:"Forward proxy. The environment's proxy variables are not used."`
	Timeout Duration    `yaml:"timeout,omitempty" jsonschema:"default=10s" doc:"Longest time for one message."`
}

// Alertmanager of Prometheus.
type Alertmanager struct {
	URLs     []URL     `yaml:"urls" jsonschema:"required" doc:"Addresses, as in https://alertmanager.acme.example:9093. Each is told; one that takes an alert is enough."`
	Token    SecretRef `yaml:"token,omitempty" doc:"Reference to a bearer token."`
	Username string    `yaml:"username,omitempty" doc:"User name for basic auth."`
	Password SecretRef `yaml:"password,omitempty" doc:"Reference to its password."`
	TLS      TLS       `yaml:"tls,omitempty" doc:"How the servers' certificates are checked."`
	CertFile Path      `yaml:"cert_file,omitempty" doc:"PEM file of a certificate of our own that they ask for."`
	KeyFile  Path      `yaml:"key_file,omitempty" doc:"PEM file of its key."`
	Proxy    ProxyURL  `yaml:"proxy,omitempty" doc:"Forward proxy. The environment's proxy variables are not used."`
	Keep     Duration  `yaml:"keep,omitempty" jsonschema:"default=15m" doc:"How long an alert stands without being told again, at least 1m: longer than a restart. It is told again four times as often."`
	Timeout  Duration  `yaml:"timeout,omitempty" jsonschema:"default=10s" doc:"Longest time for one request."`
}

// Email through a server that takes mail for delivery.
type Email struct {
	Smarthost string    `yaml:"smarthost" jsonschema:"required" doc:"HOST:PORT of the server that takes mail for delivery, usually port 587 or 465."`
	Security  string    `yaml:"security,omitempty" jsonschema:"enum=starttls,enum=tls,enum=none,default=starttls" doc:"starttls; tls from the start (port 465); none, to this machine alone."`
	TLS       TLS       `yaml:"tls,omitempty" doc:"How its certificate is checked."`
	From      string    `yaml:"from" jsonschema:"required" doc:"Sender's address."`
	To        []string  `yaml:"to" jsonschema:"required" doc:"Recipients' addresses: a list or a team, rather than one who may leave."`
	Username  string    `yaml:"username,omitempty" doc:"User name to sign in with."`
	Password  SecretRef `yaml:"password,omitempty" doc:"Reference to its password."`
	Auth      string    `yaml:"auth,omitempty" jsonschema:"enum=any,enum=plain,enum=login,default=any" doc:"How to sign in: any is PLAIN where it is offered, else LOGIN."`
	Hello     string    `yaml:"hello,omitempty" doc:"Host name that rotatord greets with, if the server wants a real one. localhost if left out."`
	Timeout   Duration  `yaml:"timeout,omitempty" jsonschema:"default=30s" doc:"Longest time for one mail."`
}

// notifiers checks the ways of telling people.
func (k *checker) notifiers() {
	a := k.c.Alerts
	if k.broken["alerts"] {
		return
	}
	if w := a.Webhook; w != nil && !k.anyBroken("alerts.webhook.secrets") && k.has("alerts.webhook.secrets") {
		const most = 2
		if n := len(w.Secrets); n == 0 || n > most {
			k.bad("alerts.webhook.secrets", "name one, or two while it is changed", "has %d secrets", n)
		}
	}
	if s := a.Slack; s != nil {
		k.slack(s)
	}
	if m := a.Alertmanager; m != nil {
		k.alertmanager(m)
	}
	if m := a.Email; m != nil {
		k.email(m)
	}
}

func (k *checker) alertmanager(m *Alertmanager) {
	const at = "alerts.alertmanager"
	if k.has(at+".urls") && len(m.URLs) == 0 && !k.broken[at+".urls"] {
		k.bad(at+".urls", "name one, or remove the section", "is empty")
	}
	for i, u := range m.URLs {
		place := at + ".urls[" + strconv.Itoa(i) + "]"
		switch {
		case u != "" && slices.Contains(m.URLs[:i], u):
			k.bad(place, "name each once", "is there twice")
		case strings.Contains(string(u), "/api/") || strings.Contains(string(u), "?"):
			k.bad(place, "end it before /api", "is not the address of Alertmanager itself")
		}
	}
	if m.Keep != 0 && m.Keep.Std() < time.Minute && !k.anyBroken(at+".keep") {
		k.bad(at+".keep", "write 1m or more", "is shorter than a request and a restart may take")
	}
	k.together(at, "username", "password")
	k.together(at, "cert_file", "key_file")
	if k.has(at+".token") && k.has(at+".username") {
		k.bad(at+".token", "give token, or username and password", "stands beside username")
	}
}

// together wants both keys or none.
func (k *checker) together(at, a, b string) {
	if k.broken[at] {
		return
	}
	for _, pair := range [][2]string{{a, b}, {b, a}} {
		if there, missing := join(at, pair[0]), join(at, pair[1]); k.has(there) && !k.has(missing) {
			k.bad(there, "add "+pair[1]+", or remove "+pair[0], "stands without %s", pair[1])
		}
	}
}

func (k *checker) email(m *Email) {
	const at = "alerts.email"
	host, port, err := net.SplitHostPort(m.Smarthost)
	if k.has(at+".smarthost") && !k.anyBroken(at+".smarthost") {
		n, numErr := strconv.ParseUint(port, 10, 16)
		switch {
		case err != nil || host == "" || numErr != nil || n == 0:
			k.bad(at+".smarthost", "write HOST:PORT, as in smtp.acme.example:587", "%s is no address of a server", shown(m.Smarthost))
		case m.Security == "none" && !loopback(host):
			k.bad(at+".security", "use starttls, or tls where the server speaks it from the start", "sends mail in clear text over the network")
		}
	}
	k.mailAddress(at+".from", m.From)
	if k.has(at+".to") && len(m.To) == 0 && !k.broken[at+".to"] {
		k.bad(at+".to", "name somebody, or remove the section", "is empty")
	}
	for i, to := range m.To {
		k.mailAddress(at+".to["+strconv.Itoa(i)+"]", to)
	}
	k.together(at, "username", "password")
	if strings.ContainsAny(m.Hello, " \t\r\n") {
		k.bad(at+".hello", "write a host name", "is no host name")
	}
}

func (k *checker) mailAddress(path, text string) {
	if text == "" || k.anyBroken(path) {
		return
	}
	a, err := mail.ParseAddress(text)
	switch {
	case err != nil:
		k.bad(path, "write NAME@DOMAIN, or Name <NAME@DOMAIN>", "%s is no mail address", shown(text))
	case strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' }):
		k.bad(path, "write the domain in its xn-- form", "has characters beyond ASCII in its address, which not every mail server takes")
	}
}

// notifiers looks at the files of the ways of telling people.
func (f *fileChecker) notifiers() {
	if w := f.c.Alerts.Webhook; w != nil {
		f.secret("alerts.webhook.url", w.URL)
		for i, s := range w.Secrets {
			f.secret("alerts.webhook.secrets["+strconv.Itoa(i)+"]", s)
		}
		f.plain("alerts.webhook.tls.ca_file", w.TLS.CAFile)
	}
	if m := f.c.Alerts.Alertmanager; m != nil {
		f.secret("alerts.alertmanager.token", m.Token)
		f.secret("alerts.alertmanager.password", m.Password)
		f.plain("alerts.alertmanager.tls.ca_file", m.TLS.CAFile)
		f.plain("alerts.alertmanager.cert_file", m.CertFile)
		f.secretFile("alerts.alertmanager.key_file", string(m.KeyFile))
	}
	if m := f.c.Alerts.Email; m != nil {
		f.secret("alerts.email.password", m.Password)
		f.plain("alerts.email.tls.ca_file", m.TLS.CAFile)
	}
}
