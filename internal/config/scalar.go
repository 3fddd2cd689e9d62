package config

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// valueError explains one bad value. Its text never holds a secret: types that
// could meet one do not repeat what they were given.
type valueError struct{ msg, cure string }

func (e *valueError) Error() string { return e.msg }

func badValue(cure, format string, args ...any) error {
	return &valueError{msg: fmt.Sprintf(format, args...), cure: cure}
}

// Duration in Prometheus' notation: 90s, 15m, 12h, 30d, 2w, 1d12h. A year is 365 days.
type Duration time.Duration

const durationCure = "write whole numbers with units, the largest first: 90s, 15m, 12h, 30d, 2w, 1d12h"

// UnmarshalText parses a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := model.ParseDuration(string(b))
	if err != nil {
		return badValue(durationCure, "%s is no duration", shown(string(b)))
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes the same notation.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Duration) String() string { return model.Duration(d).String() }

// Std is the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Span is a duration or a share of a key's lifetime; one of its fields is set.
type Span struct {
	Time  time.Duration
	Share float64 // above 0, below 1
}

// UnmarshalText parses "30d" or "25%".
func (s *Span) UnmarshalText(b []byte) error {
	const cure = "write a duration such as 30d, or a share of the lifetime from 1% to 99%"
	text := string(b)
	if n, ok := strings.CutSuffix(text, "%"); ok {
		pct, err := strconv.Atoi(n)
		if err != nil || pct < 1 || pct > 99 {
			return badValue(cure, "%s is no share", shown(text))
		}
		s.Share = float64(pct) / 100
		return nil
	}
	v, err := model.ParseDuration(text)
	if err != nil {
		return badValue(cure, "%s is no duration and no share", shown(text))
	}
	if v == 0 {
		return badValue(cure, "must be above zero")
	}
	s.Time = time.Duration(v)
	return nil
}

// MarshalText writes the same notation.
func (s Span) MarshalText() ([]byte, error) {
	if s.Share > 0 {
		return fmt.Appendf(nil, "%.0f%%", s.Share*100), nil
	}
	return []byte(model.Duration(s.Time).String()), nil
}

// Share of a whole, above 0 and up to 1; written as a percentage.
type Share float64

// UnmarshalText parses "5%".
func (s *Share) UnmarshalText(b []byte) error {
	n, ok := strings.CutSuffix(string(b), "%")
	pct, err := strconv.Atoi(n)
	if !ok || err != nil || pct < 1 || pct > 100 {
		return badValue("write a share from 1% to 100%", "%s is no share", shown(string(b)))
	}
	*s = Share(float64(pct) / 100)
	return nil
}

// MarshalText writes the same notation.
func (s Share) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%.0f%%", float64(s)*100), nil }

// Path is absolute and clean.
type Path string

// UnmarshalText refuses relative paths.
func (p *Path) UnmarshalText(b []byte) error {
	s := string(b)
	switch {
	case !filepath.IsAbs(s):
		return badValue("write it from the root, as in /etc/rotatord/NAME", "is not an absolute path")
	case strings.ContainsRune(s, 0):
		return badValue("remove the NUL character", "is not a path")
	}
	*p = Path(filepath.Clean(s))
	return nil
}

// FileMode is a file's permission bits, in octal.
type FileMode uint32

// UnmarshalText parses 0600, 600 or 0o600.
func (m *FileMode) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(strings.TrimPrefix(string(b), "0o"), 8, 32)
	if err != nil || n > 0o777 {
		return badValue("write octal permissions, as in 0600 or 0640", "%s is no file mode", shown(string(b)))
	}
	*m = FileMode(n)
	return nil
}

// MarshalText writes it with a leading zero.
func (m FileMode) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%04o", uint32(m)), nil }

// URL is an http or https address without user name, query password or fragment;
// http only to this machine.
type URL string

// UnmarshalText checks the address. It does not repeat it: it may hold a password.
func (u *URL) UnmarshalText(b []byte) error {
	p, err := url.Parse(string(b))
	const cure = "write it as https://HOST[:PORT]/PATH"
	switch {
	case err != nil || p.Host == "" || p.Opaque != "" || p.Hostname() == "":
		return badValue(cure, "is no http or https address")
	case p.Scheme != "http" && p.Scheme != "https":
		return badValue(cure, "is no http or https address")
	case p.User != nil:
		return badValue("take user name and password out of the address; secrets are references in their own keys", "holds a user name or password")
	case secretForms.MatchString(string(b)):
		return badValue("take it out of the address", "holds a literal secret")
	case p.Fragment != "":
		return badValue("remove everything from # on", "holds a fragment")
	case p.Scheme == "http" && !loopback(p.Hostname()):
		return badValue("use https; http is accepted only for 127.0.0.1, ::1 and localhost", "sends secrets in clear text over the network")
	}
	*u = URL(b)
	return nil
}

// Host is the host name, with the port if the address has one.
func (u URL) Host() string {
	p, err := url.Parse(string(u))
	if err != nil {
		return ""
	}
	return p.Host
}

// ProxyURL is the address of a forward proxy.
type ProxyURL string

// UnmarshalText checks the address.
func (u *ProxyURL) UnmarshalText(b []byte) error {
	p, err := url.Parse(string(b))
	const cure = "write it as http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT"
	switch {
	case err != nil || p.Hostname() == "":
		return badValue(cure, "is no proxy address")
	case p.Scheme != "http" && p.Scheme != "https" && p.Scheme != "socks5":
		return badValue(cure, "is no proxy address")
	case p.User != nil:
		return badValue("use a proxy that knows this machine by its address", "holds a literal secret")
	}
	*u = ProxyURL(b)
	return nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// Name of a credential, portal or sink: safe as a metric label and a path segment.
type Name string

const nameCure = "use lower-case letters, digits, dot, dash and underscore, a letter or digit first, at most 63"

var (
	nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	itemForm = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)
)

// UnmarshalText checks a name.
func (n *Name) UnmarshalText(b []byte) error {
	if !nameForm.Match(b) {
		return badValue(nameCure, "%s is no usable name", shown(string(b)))
	}
	*n = Name(b)
	return nil
}

// ItemID is a portal item's id, in lower case.
type ItemID string

// UnmarshalText checks an id.
func (i *ItemID) UnmarshalText(b []byte) error {
	if !itemForm.Match(b) {
		return badValue("copy the 32 hexadecimal digits after id= from the address of the item's page", "is no item id")
	}
	*i = ItemID(strings.ToLower(string(b)))
	return nil
}

// shown repeats a value in a message, if it is short.
func shown(s string) string {
	if n := len(s); n > 40 {
		return fmt.Sprintf("a value of %d characters", n)
	}
	return strconv.Quote(s)
}

// withoutQuery hides what stands behind the question mark.
func (u URL) withoutQuery() URL {
	base, _, found := strings.Cut(string(u), "?")
	if !found {
		return u
	}
	return URL(base + "?" + hiddenText)
}
