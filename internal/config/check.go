package config

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// checker looks at what the single values mean together.
type checker struct {
	*document
	c *Config
}

func (k *checker) run() {
	k.portals()
	k.vault()
	k.sinks()
	k.credentials()
	k.cycles()
	k.calendars()
	k.quiets()
	k.budgets()
	k.fleet()
	k.schedule()
	k.daemon()
}

// bad notes a problem at the value of path, or at the nearest place above it that
// is in the file.
func (k *checker) bad(path, cure, format string, args ...any) {
	k.add(k.at(path), path, cure, format, args...)
}

func (k *checker) at(path string) mark {
	if p, ok := k.places[path]; ok {
		return p.value
	}
	for p := parent(path); p != ""; p = parent(p) {
		if pl, ok := k.places[p]; ok {
			return pl.key
		}
	}
	return mark{1, 1}
}

// has tells whether the key is in the file; readable or not.
func (k *checker) has(path string) bool {
	_, ok := k.places[path]
	return ok || k.broken[path]
}

// anyBroken tells whether something at, above or below path could not be read, so
// that complaints about what follows from it would only confuse.
func (k *checker) anyBroken(path string) bool {
	if k.brokenBelow[path] {
		return true
	}
	for p := path; p != ""; p = parent(p) {
		if k.broken[p] {
			return true
		}
	}
	return false
}

// oneOf wants exactly one of some keys.
func (k *checker) oneOf(path, cure string, keys ...string) {
	var there []string
	for _, key := range keys {
		if k.has(join(path, key)) {
			there = append(there, key)
		}
	}
	switch {
	case k.broken[path]:
	case len(there) == 0:
		k.bad(path, cure, "has none of %s", strings.Join(keys, ", "))
	case len(there) > 1:
		k.bad(join(path, there[1]), cure, "stands beside %s; only one of %s can be used", there[0], strings.Join(keys, ", "))
	}
}

func (k *checker) portals() {
	if k.has("portals") && !k.broken["portals"] && len(k.c.Portals) == 0 {
		k.bad("portals", "name at least one portal", "is empty")
	}
	for _, name := range slices.Sorted(maps.Keys(k.c.Portals)) {
		p, path := k.c.Portals[name], join("portals", name)
		if strings.HasSuffix(strings.TrimRight(string(p.URL), "/"), "/sharing/rest") || strings.Contains(string(p.URL), "?") {
			k.bad(path+".url", "end the address before /sharing and without ?", "is not the portal's own address")
		}
		if k.has(path + ".identity") {
			k.identity(path+".identity", name, p.Identity)
		}
		k.store(path+".identity_store", p.IdentityStore)
	}
}

func (k *checker) vault() {
	if k.c.Vault == nil {
		return
	}
	if k.has("vault.auth") {
		k.approle("vault.auth.approle")
		k.oneOf("vault.auth", "give token_file, or approle, or kubernetes, or cert", "token_file", "approle", "kubernetes", "cert")
	}
}

func (k *checker) approle(path string) {
	a := k.c.Vault.Auth.AppRole
	if a == nil || k.broken[path] {
		return
	}
	k.secretID(path, a)
	if a.Mount != "" && !plainPath(a.Mount) {
		k.bad(path+".mount", "write it without auth/ and without a slash at either end", "is not the path of an auth mount")
	}
}

func (k *checker) sinks() {
	for _, name := range slices.Sorted(maps.Keys(k.c.Sinks)) {
		s, path := k.c.Sinks[name], join("sinks", name)
		k.oneOf(path, "give vault or file", "vault", "file")
		if s.Vault != nil {
			k.vaultSink(path+".vault", s.Vault)
		}
		if s.File != nil {
			k.fileSink(path+".file", s.File)
		}
	}
}

func (k *checker) vaultSink(path string, s *VaultSink) {
	if k.c.Vault == nil && !k.has("vault") {
		k.bad(path, "add the section vault", "needs a Vault, but the section vault is missing")
	}
	if s.KeyField != "" && s.KeyField == s.MetaField {
		k.bad(path+".key_field", "use two different fields", "is the same field as meta_field")
	}
	const cure = "write it as vault kv would show it, without data/ and without a slash at either end"
	if s.Mount != "" && !plainPath(s.Mount) {
		k.bad(path+".mount", cure, "is not the path of a mount")
	}
	if p := s.Path; strings.HasPrefix(p, "data/") || strings.HasPrefix(p, "metadata/") || strings.Trim(p, "/") != p {
		k.bad(path+".path", cure, "is not the path of a secret under its mount")
	}
}

func (k *checker) fileSink(path string, s *FileSink) {
	if s.Path != "" && !filepath.IsAbs(s.Path) {
		k.bad(path+".path", "write it from the root, as in /run/keys/{{.Name}}", "is not an absolute path")
	}
	switch {
	case s.Mode&0o400 == 0 && !k.anyBroken(path+".mode"):
		k.bad(path+".mode", "use 0600", "would keep rotatord itself from reading the file")
	case s.Mode&0o111 != 0:
		k.bad(path+".mode", "use 0600, or 0640 for a group", "makes a key file executable")
	case s.Mode&^0o640 != 0 && !s.AllowWiderMode:
		k.bad(path+".mode", "use 0600, or 0640 for a group, or say allow_wider_mode: true", "lets more than owner and group read, or others write, the key")
	}
	if v := s.Variable; v != "" && !envForm.MatchString(v) {
		k.bad(path+".variable", "use letters, digits and underscore", "%s is no variable name", shown(v))
	}
	a := s.AfterWrite
	if a == nil {
		return
	}
	path += ".after_write"
	k.oneOf(path, "give command or reload_unit", "command", "reload_unit")
	if len(a.Command) > 0 && !filepath.IsAbs(a.Command[0]) && !k.anyBroken(path+".command") {
		k.bad(path+".command[0]", "write the program from the root, as in /usr/bin/systemctl", "is not an absolute path")
	}
	if k.has(path+".command") && len(a.Command) == 0 && !k.broken[path+".command"] {
		k.bad(path+".command", "name the program by absolute path", "is empty")
	}
	if u := a.ReloadUnit; u != "" && (!segmentForm.MatchString(u) || strings.HasPrefix(u, "-") || !strings.Contains(u, ".")) {
		k.bad(path+".reload_unit", "write the unit's full name, as in nginx.service", "%s is no unit name", shown(u))
	}
}

func (k *checker) schedule() {
	s := k.c.Schedules
	if k.anyBroken("schedules") {
		return
	}
	if _, err := zone(s.TimeZone); err != nil {
		k.bad("schedules.time_zone", "write a name as in Europe/Berlin, or UTC", "%v", err)
		s.TimeZone = ""
	}
	for _, line := range []struct{ key, spec string }{{"tick", s.Tick}, {"survey", s.Survey}, {"usage", s.Usage}, {"settings", s.Settings}} {
		if _, err := ParseSchedule(line.spec, s.TimeZone); err != nil {
			k.bad("schedules."+line.key, cronCure(err, "*/5 * * * *, or @every 5m", "schedules.time_zone"), "%v", err)
		}
	}
}

// cronCure of an error of ParseSchedule.
func cronCure(err error, example, zoneKey string) string {
	switch {
	case errors.Is(err, ErrCronZone):
		return "write minute, hour, day, month, weekday here, and the zone to " + zoneKey
	case errors.Is(err, ErrCronNever):
		return "write a day that the month has"
	}
	return "write minute, hour, day, month, weekday, as in " + example
}

// daemon checks the sections about the daemon itself.
func (k *checker) daemon() {
	k.listen()
	k.alerts()
	seen := Duration(0)
	for i, d := range k.c.Alerts.WarnBefore {
		if i > 0 && d >= seen && !k.anyBroken("alerts.warn_before") {
			k.bad("alerts.warn_before["+strconv.Itoa(i)+"]", "write the longest first", "is not shorter than the one before it")
		}
		seen = d
	}
	for i, u := range k.c.Admin.Users {
		if u == "" || strings.ContainsAny(u, ": \t\n") {
			k.bad("admin.users["+strconv.Itoa(i)+"]", "write a user's name as in /etc/passwd", "is no user name")
		}
	}
	if n := len(k.c.Admin.Socket); n > 100 { // sun_path is 108 bytes, the name of a temporary one is longer
		k.bad("admin.socket", "use a shorter path", "is too long for a unix socket (%d characters, 100 at most)", n)
	}
}

func (k *checker) listen() {
	h := k.c.HTTP
	if h.Off || h.Listen == "" || k.anyBroken("http.listen") {
		return
	}
	host, ok := "", true // whatever a socket unit opens
	if h.Listen != "systemd" {
		host, ok = k.hostPort("http.listen", "write HOST:PORT, as in 127.0.0.1:9805, or systemd", h.Listen)
	}
	if !ok {
		return
	}
	if !loopback(host) && h.WebConfigFile == "" && !h.AllowOpen && !k.has("http.web_config_file") {
		k.bad("http.listen", "set web_config_file with TLS and basic auth, or say allow_open: true", "listens beyond this machine without TLS or sign-in")
	}
}

// hostPort of an address to listen on.
func (k *checker) hostPort(path, cure, addr string) (host string, ok bool) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		k.bad(path, cure, "%s is no address to listen on", shown(addr))
		return "", false
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || (n == 0 && !loopback(host)) {
		k.bad(path, cure, "%s has no usable port", shown(addr))
		return "", false
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && host != "localhost" {
		k.bad(path, "write the address of an interface of this machine", "%s is no IP address", shown(host))
		return "", false
	}
	return host, true
}
