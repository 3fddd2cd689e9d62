package config

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// CheckFiles looks at the files that the configuration points to, as the user that
// runs it: secrets must be there, readable, not readable by everybody, and belong to
// this user or root. What only the service sees (systemd credentials, its
// environment) gives warnings. With the freezes that are in files it also knows when
// keys may rotate, and that each has its chance from now on.
func (c *Config) CheckFiles() []Problem { return c.checkFiles(os.Geteuid(), time.Now()) }

func (c *Config) checkFiles(uid int, now time.Time) []Problem {
	d := newDocument(c.doc.name, c.doc.src)
	d.root, d.hide, d.places = c.doc.root, c.doc.hide, c.doc.places
	f := &fileChecker{checker: checker{document: d, c: c}, uid: uid, seen: map[string]bool{}}
	for _, name := range slices.Sorted(maps.Keys(c.Portals)) {
		p, path := c.Portals[name], join("portals", name)
		f.secret(path+".identity.password", p.Identity.Password)
		f.secret(path+".identity.api_key", p.Identity.APIKey)
		f.plain(path+".tls.ca_file", p.TLS.CAFile)
		if p.Identity.OAuth != nil || p.Identity.OwnKey != "" {
			f.store(path+".identity_store", p.IdentityStore, "rotatord login "+name)
		}
	}
	f.vaultFiles()
	for _, name := range slices.Sorted(maps.Keys(c.Sinks)) {
		if s := c.Sinks[name].File; s != nil && s.AfterWrite != nil && len(s.AfterWrite.Command) > 0 {
			f.program(join("sinks", name)+".file.after_write.command[0]", s.AfterWrite.Command[0])
		}
	}
	f.plain("http.web_config_file", c.HTTP.WebConfigFile)
	if s := c.Alerts.Slack; s != nil {
		f.slackFiles(s)
	}
	f.notifiers()
	if h := c.Heartbeat; h != nil {
		f.secret("heartbeat.url", h.URL)
	}
	f.calendars(now)
	f.quiets()
	f.creates()
	return d.sorted()
}

type fileChecker struct {
	checker
	uid  int             // of the daemon's user
	seen map[string]bool // key and file: what ten places share is looked at once
}

func (f *fileChecker) vaultFiles() {
	v := f.c.Vault
	if v == nil {
		return
	}
	f.plain("vault.tls.ca_file", v.TLS.CAFile)
	f.secretFile("vault.auth.token_file", string(v.Auth.TokenFile))
	if a := v.Auth.AppRole; a != nil {
		f.secret("vault.auth.approle.secret_id", a.SecretID)
		if a.Rotate != nil {
			f.store("vault.auth.approle.rotate", a.Rotate.IdentityStore, "rotatord login --vault")
		}
	}
	if k := v.Auth.Kubernetes; k != nil {
		f.plain("vault.auth.kubernetes.jwt_file", k.JWTFile) // the kubelet sets its mode
	}
	if ct := v.Auth.Cert; ct != nil {
		f.plain("vault.auth.cert.cert_file", ct.CertFile)
		f.secretFile("vault.auth.cert.key_file", string(ct.KeyFile))
	}
}

// store warns of an identity store that nobody has filled yet. What cannot be looked at
// from here, the service's own folder, is not complained of.
func (f *fileChecker) store(path string, s IdentityStore, cure string) {
	if s.Vault != nil || s.File == "" {
		return
	}
	if _, err := os.Stat(string(s.File)); errors.Is(err, fs.ErrNotExist) {
		f.warn(path, cure, string(s.File)+" is not there yet: rotatord cannot sign in")
	}
}

// secret checks what a reference names.
func (f *fileChecker) secret(path string, r SecretRef) {
	switch r.kind {
	case "file":
		f.secretFile(path, r.arg)
	case "credential":
		file, err := r.File()
		if err != nil {
			f.warn(path, "add LoadCredential="+r.arg+":/path to the unit", "systemd credential "+r.arg+" cannot be seen from here; systemd shows it to the service alone")
			return
		}
		f.exists(path, file)
	case "env":
		v, set := os.LookupEnv(r.arg)
		switch {
		case !set:
			f.warn(path, "set it where the daemon runs, or use file: or credential:", "environment variable "+r.arg+" is not set here")
		case v == "":
			f.bad(path, "give it a value", "environment variable %s is empty", r.arg)
		}
	}
}

func (f *fileChecker) warn(path, cure, message string) {
	f.bad(path, cure, "%s", message)
	f.problems[len(f.problems)-1].Warning = true
}

func (f *fileChecker) plain(path string, file Path) {
	if file != "" {
		f.exists(path, string(file))
	}
}

func (f *fileChecker) program(path, file string) {
	if fi := f.exists(path, file); fi != nil && fi.Mode()&0o111 == 0 {
		f.bad(path, "chmod +x "+file, "%s is not executable", file)
	}
}

// secretFile checks a file that holds a secret.
func (f *fileChecker) secretFile(path, file string) {
	if file == "" {
		return
	}
	fi := f.exists(path, file)
	if fi == nil {
		return
	}
	if perm := fi.Mode().Perm(); perm&0o007 != 0 {
		f.bad(path, "chmod o= "+file, "%s is open to every user (mode %04o)", file, uint32(perm))
	} else if perm&0o020 != 0 {
		f.bad(path, "chmod g-w "+file, "%s can be written by its group (mode %04o)", file, uint32(perm))
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != f.uid {
		f.bad(path, "chown it to the user that runs rotatord", "%s belongs to another user (uid %s)", file, strconv.Itoa(int(st.Uid)))
	}
	if fi.Size() == 0 {
		f.bad(path, "write the secret into it", "%s is empty", file)
	}
	if fi.Size() > maxSecret {
		f.bad(path, "check that it is the right file", "%s is longer than 64 KiB", file)
	}
}

// exists opens the file as the daemon would; nil if it was looked at before or
// cannot be used.
func (f *fileChecker) exists(path, file string) fs.FileInfo {
	if f.seen[path+"\x00"+file] {
		return nil
	}
	f.seen[path+"\x00"+file] = true
	fi, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.bad(path, "create it, or correct the path", "%s does not exist", file)
		return nil
	case err != nil:
		f.bad(path, "let the user that runs rotatord enter its folder", "%s cannot be looked at: %v", file, errors.Unwrap(err))
		return nil
	case !fi.Mode().IsRegular():
		f.bad(path, "name a regular file", "%s is no regular file", file)
		return nil
	}
	r, err := os.Open(file)
	if err != nil {
		f.bad(path, "let the user that runs rotatord read it", "%s cannot be read: %v", file, errors.Unwrap(err))
		return nil
	}
	_ = r.Close()
	return fi
}
