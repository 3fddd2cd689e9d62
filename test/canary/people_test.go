package canary

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"rotatord/internal/alert/notifytest"
	"rotatord/internal/alert/slack/slacktest"
	"rotatord/internal/portal/portaltest"
	"rotatord/internal/rotate"
	"rotatord/internal/testkit"
)

// people are the secrets of all ways in which people and their programs are told.
func (w *world) people(pager string) {
	w.slack.Bot = w.secret("bot-token", "Slack's bot token", "xoxb-%s")
	w.slack.App = w.secret("app-token", "Slack's app token", "xapp-%s")
	w.secret("alert-hook", "the alert hook", pager+"/alerts/%s")
	w.secret("alert-hook-secret", "the alert hook's signing secret", "%s")
	w.secret("alertmanager-password", "Alertmanager's password", "%s")
	w.secret("mail-password", "the mail password", "%s")
	w.secret("ack-token", "the consumer's token", "%s")
	w.secret("gate-token", "the gate's token", "%s")
	w.secret("hook-token", "the hook's token", "%s")
	w.acks = fmt.Sprintf("127.0.0.1:%d", testkit.FreePorts(w.t, 1))
	cert := notifytest.NewCertificate(w.t)
	for from, to := range map[string]string{cert.CertFile: "acks.pem", cert.KeyFile: "acks.key"} {
		text, err := os.ReadFile(from)
		w.must(err)
		w.must(os.WriteFile(filepath.Join(w.dir, "secrets", to), text, 0o600))
		if to == "acks.key" {
			w.sieve.add("the listener's key", strings.Split(string(text), "\n")[1])
		}
	}
}

// gates and hooks of a credential, of every kind.
func (w *world) gates(pager string) string {
	var points []string
	for _, p := range rotate.HookPoints() {
		points = append(points, string(p))
	}
	on := strings.Join(points, ", ")
	return fmt.Sprintf(`, quiet: {acks: [web], command: [%[1]s/ask.sh, %[1]s/asked], http: {url: '%[2]s/gate', token: 'file:%[1]s/secrets/gate-token'}},`+
		` hooks: [{on: [%[3]s], command: [%[1]s/ask.sh, %[1]s/asked]}, {on: [%[3]s], http: {url: '%[2]s/hook', token: 'file:%[1]s/secrets/hook-token'}}]`, w.dir, pager, on)
}

// identities that are no user name with a password: an API key in a file, and an app
// whose client id it returns.
func (w *world) identities() string {
	own := w.emu.AddCredential(portaltest.CredentialSeed{Title: "rotatord", Minted: true, Expires: [2]time.Time{time.Now().Add(24 * time.Hour)},
		Privileges: []string{"portal:admin:viewItems", "portal:admin:updateItems"}})
	w.must(os.WriteFile(filepath.Join(w.dir, "secrets", "admin-key"), []byte(own.Keys[0]), 0o600))
	w.sieve.add("the client secret of rotatord's own key", own.ClientSecret)
	app := w.emu.AddOAuthApp(portaltest.SSOUser, "rotatord", "http://127.0.0.1/")
	w.sieve.add("the app's client secret", app.ClientSecret)
	return app.ClientID
}

// paged is whoever is posted to: it answers yes, and with the address that it was called
// by, which may be a secret.
func (w *world) paged(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h := r.Header.Clone()
	h.Del("Authorization") // it is for them
	w.seen("messages", fmt.Appendf(nil, "%v %s", h, body))
	if strings.HasPrefix(r.URL.Path, "/alerts/") {
		w.seen("events", body)
	}
	if strings.HasPrefix(r.URL.Path, "/api/v2/alerts") {
		w.seen("alerts", body)
	}
	if r.URL.Path == "/gate" || r.URL.Path == "/hook" {
		w.seen("questions", body)
	}
	rw.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(rw, `{"token":%q,"quiet":true,"allow":true,"detail":"nobody uses it","versionInfo":{"version":"0.25.0"}}`, r.URL.Path)
}

// chatted is Slack; what people read there is kept.
func (w *world) chatted(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if form, err := url.ParseQuery(string(body)); err == nil {
		form.Del("token") // it is for Slack
		w.seen("Slack", []byte(form.Encode()+" "+form.Get("text")+" "+form.Get("blocks")))
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.slack.ServeHTTP(rw, r)
}

// evilMail spoils the mail server's answers.
type evilMail struct{ on atomic.Bool }

// mailServer takes mail in clear text, which goes to this machine alone. Its answers give
// back what it was sent, if it is evil.
func (w *world) mailServer() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.converse(conn)
		}
	}()
	w.t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// converse in SMTP with one client.
func (w *world) converse(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	say := func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
	say("220 mail.example")
	in := bufio.NewScanner(conn)
	for in.Scan() {
		line := in.Text()
		verb := strings.ToUpper(strings.SplitN(line, " ", 2)[0])
		switch {
		case verb == "EHLO":
			say("250-mail.example\r\n250 AUTH PLAIN")
		case verb == "AUTH" && w.mail.on.Load():
			plain, _ := base64.StdEncoding.DecodeString(line[strings.LastIndexByte(line, ' ')+1:])
			say("535 5.7.8 no " + strings.ReplaceAll(string(plain), "\x00", " ") + " by " + line)
		case verb == "AUTH":
			say("235 2.7.0 yes")
		case verb == "DATA":
			say("354 go on")
			for in.Scan() && in.Text() != "." {
				w.seen("mails", in.Bytes())
			}
			say("250 2.0.0 taken")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 2.0.0 yes")
		}
	}
}

// signIn to a portal as a person does in a browser, by rotatord login.
func (w *world) signIn(portal string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), w.binary, "--config", w.config, "login", portal)
	cmd.Env = w.env()
	var out bytes.Buffer
	cmd.Stdout = &out
	said, err := cmd.StderrPipe()
	w.must(err)
	w.must(cmd.Start())
	var lines bytes.Buffer
	address := ""
	for in := bufio.NewScanner(io.TeeReader(said, &lines)); address == "" && in.Scan(); {
		if text := strings.TrimSpace(in.Text()); strings.HasPrefix(text, "http://") && strings.Contains(text, "oauth2/authorize") {
			address = text
		}
	}
	u, err := url.Parse(address)
	w.must(err)
	form := u.Query()
	form.Set("username", portaltest.SSOUser)
	form.Set("password", portaltest.StandardPassword)
	u.RawQuery = ""
	res, err := http.PostForm(u.String(), form) // and back to rotatord by the redirect
	w.must(err)
	page, err := io.ReadAll(res.Body)
	w.must(errors.Join(err, res.Body.Close()))
	rest, err := io.ReadAll(said)
	w.must(err)
	w.must(cmd.Wait())
	w.seen("rotatord login "+portal, slices.Concat(out.Bytes(), lines.Bytes(), rest, page))
	if !strings.Contains(string(page), "Signed in.") {
		w.t.Fatalf("the browser ends on %q", page)
	}
}

// acknowledge as a consumer does, and as somebody who guesses.
func (w *world) acknowledge() {
	w.t.Helper()
	token, err := os.ReadFile(filepath.Join(w.dir, "secrets", "ack-token"))
	w.must(err)
	guess := w.secret("guess", "a guessed token", "%s")
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	for want, auth := range map[int]string{http.StatusOK: string(token), http.StatusUnauthorized: guess} {
		for _, body := range []string{`{"credential":"app-gated","generation":1}`, `{"credential":"app-gated","fingerprint":"` + auth + `"}`, auth} {
			req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, "https://"+w.acks+"/v1/ack", strings.NewReader(body))
			w.must(err)
			req.Header.Set("Authorization", "Bearer "+auth)
			res, err := client.Do(req)
			w.must(err)
			answer, err := io.ReadAll(res.Body)
			w.must(errors.Join(err, res.Body.Close()))
			w.seen("the listener for acknowledgements", fmt.Appendf(nil, "%d %v %s", res.StatusCode, res.Header, answer))
			if strings.Contains(body, "generation") && res.StatusCode != want {
				w.t.Errorf("an acknowledgement is answered with %d %s, want %d", res.StatusCode, answer, want)
			}
		}
	}
}

// presses the buttons of Slack, and types a key where a reason is asked for.
func (w *world) presses() {
	w.t.Helper()
	socket := w.slack.Socket(w.t)
	key := w.served("app-vault")
	dialog := func(why string) map[string]any {
		private, err := json.Marshal(map[string]any{"t": map[string]any{"k": "dead/app-vault", "c": "app-vault"}, "ch": slacktest.Channel, "ts": "1772370000.000001"})
		w.must(err)
		return slacktest.Submit("U0ADA00001", "trigger "+why, "rotatord_compromised", string(private), map[string]string{"name": "app-vault", "why": why})
	}
	value := `{"k":"dead/app-vault","c":"app-vault"}`
	for i, payload := range []map[string]any{
		slacktest.Press("U0ADA00001", "trigger 1", "rotatord_acknowledge", value, "", "1772370000.000001"),
		slacktest.Press("U0ADA00001", "trigger 2", "rotatord_rotate", key, "", "1772370000.000001"),
		slacktest.Press("U0EVE00001", "trigger 3", "rotatord_hold", value, "", "1772370000.000001"),
		dialog("I found " + key), dialog("in a gist"),
	} {
		e := w.slack.Push(w.t, socket, fmt.Sprint("envelope ", i), payload)
		w.seen("Slack's dialogs", e.Payload)
	}
}
