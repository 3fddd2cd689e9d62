package notifytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"text/template"
	"time"

	"rotatord/internal/testkit"
)

// How one signs in to an Exim, and whom it does not know.
const (
	EximUser     = "rotatord"
	EximPassword = "s3cret-0f-the-smarthost"
	EximGone     = "gone" // local part of a recipient whom it refuses
)

// Exim is Debian's own mail server, which takes mail from whoever signs in, and delivers
// it into a maildir.
type Exim struct {
	STARTTLS, TLS string // host:port of its two ports
	CAFile        string
	dir           string
}

const eximConf = `spool_directory = <<.Dir>>/spool
log_file_path = <<.Dir>>/log/%s
pid_file_path = <<.Dir>>/pid
primary_hostname = mail.acme.example
keep_environment =
deliver_drop_privilege
host_lookup =
rfc1413_query_timeout = 0s
local_interfaces = 127.0.0.1
daemon_startup_retries = 0
daemon_smtp_ports = <<.Port>> : <<.TLSPort>>
tls_on_connect_ports = <<.TLSPort>>
tls_advertise_hosts = *
tls_certificate = <<.Dir>>/cert.pem
tls_privatekey = <<.Dir>>/key.pem
auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
begin acl
rcpt:
  deny ! authenticated = *
       message = sign in first
  deny local_parts = <<.Gone>>
       message = no such mailbox
  accept
begin routers
all:
  driver = accept
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = <<.Dir>>/mail
  maildir_format
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{<<.User>>}}{eq{$auth3}{<<.Password>>}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${if and{{eq{$auth1}{<<.User>>}}{eq{$auth2}{<<.Password>>}}}}
  server_set_id = $auth1
`

// StartExim for as long as the test runs. It starts for root, who hands it over to the
// user of its package.
func StartExim(t *testing.T) *Exim {
	t.Helper()
	program, err := exec.LookPath("/usr/sbin/exim4")
	testkit.Need(t, err == nil, "exim4", "apt-get install exim4-daemon-light, or test/scripts/setup.sh")
	testkit.Need(t, os.Getuid() == 0, "exim4 as root", "run the test as root: for anybody else exim4 takes no mail from the network")
	uid, gid := eximOwner(t)
	var e *Exim
	StartServer(t, func() (*exec.Cmd, string) {
		e = newExim(t, uid, gid)
		cmd := exec.Command(program, "-bdf", "-C", filepath.Join(e.dir, "conf"))
		cmd.Env, cmd.Dir = []string{"PATH=/usr/bin:/bin"}, e.dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		return cmd, e.STARTTLS
	})
	return e
}

// newExim writes all that one needs into a folder that is its user's.
func newExim(t *testing.T, uid, gid int) *Exim {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil { // or it could not get there
		t.Fatal(err)
	}
	cert, port := NewCertificate(t), testkit.FreePorts(t, 2)
	e := &Exim{STARTTLS: fmt.Sprintf("127.0.0.1:%d", port), TLS: fmt.Sprintf("127.0.0.1:%d", port+1), CAFile: cert.CertFile, dir: dir}
	var conf bytes.Buffer
	err := template.Must(template.New("exim").Delims("<<", ">>").Parse(eximConf)).Execute(&conf, map[string]any{"Dir": dir, "Port": port, "TLSPort": port + 1,
		"Gone": EximGone, "User": EximUser, "Password": EximPassword})
	for file, to := range map[string]string{cert.CertFile: "cert.pem", cert.KeyFile: "key.pem"} {
		b, readErr := os.ReadFile(file)
		err = errors.Join(err, readErr, os.WriteFile(filepath.Join(dir, to), b, 0o600))
	}
	for _, d := range []string{"spool", "log", "mail"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(dir, d), 0o700))
	}
	err = errors.Join(err, os.WriteFile(filepath.Join(dir, "conf"), conf.Bytes(), 0o600))
	err = errors.Join(err, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error { return errors.Join(err, os.Chown(path, uid, gid)) }))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func eximOwner(t *testing.T) (uid, gid int) {
	t.Helper()
	u, err := user.Lookup("Debian-exim")
	if err == nil {
		uid, err = strconv.Atoi(u.Uid)
	}
	if err == nil {
		gid, err = strconv.Atoi(u.Gid)
	}
	if err != nil {
		t.Fatalf("the user of Debian's exim4: %v", err)
	}
	return uid, gid
}

// Mails waits until so many have been delivered, and returns all of them as they came.
func (e *Exim) Mails(t *testing.T, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), serverPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		files, err := filepath.Glob(filepath.Join(e.dir, "mail", "new", "*")) // by name, which begins with the time
		if err != nil {
			t.Fatal(err)
		}
		if len(files) >= n {
			var out []string
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, string(b))
			}
			return out
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d mails were delivered, want %d; exim says: %s", len(files), n, e.Log(t))
		}
	}
}

// Log of the server: who signed in how, what was delivered, what was refused.
func (e *Exim) Log(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(e.dir, "log", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return string(out)
}
