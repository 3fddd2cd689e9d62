package email

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"rotatord/internal/alert/notifytest"
)

const (
	username = "rotatord"
	password = "c0rrect-h0rse-battery"
)

// server is a real SMTP server (emersion/go-smtp) whose mailboxes the test decides on.
type server struct {
	t      *testing.T
	addr   string
	caFile string
	mechs  []string

	mu     sync.Mutex
	answer notifytest.Answer          // guarded by mu
	mails  []mailbox                  // guarded by mu
	codes  map[string]*smtp.SMTPError // guarded by mu: of MAIL, RCPT address, DATA
}

// mailbox holds one mail as it arrived.
type mailbox struct {
	from string
	to   []string
	raw  string
}

// newServer offers STARTTLS, or TLS from the start.
func newServer(t *testing.T, fromStart bool, mechs ...string) *server {
	t.Helper()
	s := &server{t: t, answer: notifytest.Takes, mechs: mechs, codes: map[string]*smtp.SMTPError{}}
	files := notifytest.NewCertificate(t)
	s.caFile = files.CertFile
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	conf := &tls.Config{Certificates: []tls.Certificate{files.Pair}, MinVersion: tls.VersionTLS12}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &conversation{s: s}, nil }))
	srv.Domain, srv.TLSConfig, srv.MaxMessageBytes, srv.ErrorLog = "mail.example", conf, 1<<20, slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	gate := &gatekeeper{Listener: l, s: s, stop: make(chan struct{})}
	var serve net.Listener = gate
	if fromStart {
		serve = tls.NewListener(gate, conf)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(serve) }()
	t.Cleanup(func() { close(gate.stop); _ = srv.Close(); _ = l.Close(); <-done })
	return s
}

// newPlainServer offers neither STARTTLS nor a sign-in.
func newPlainServer(t *testing.T) *plainServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &plainServer{addr: l.Addr().String()}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &conversation{s: &server{t: t, answer: notifytest.Takes, codes: map[string]*smtp.SMTPError{}}}, nil
	}))
	srv.Domain, srv.Debug = "mail.example", p
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return p
}

// plainServer notes what is said.
type plainServer struct {
	addr string
	mu   sync.Mutex
	said bytes.Buffer // guarded by mu
}

func (p *plainServer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

func (p *plainServer) heard() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// gatekeeper is what the server does before it speaks.
type gatekeeper struct {
	net.Listener
	s    *server
	stop chan struct{}
}

func (g *gatekeeper) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		switch g.s.does() {
		case notifytest.Closes:
			_ = conn.Close()
		case notifytest.Garbles:
			_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.2p1\r\n")
			_ = conn.Close()
		case notifytest.Hangs:
			go func() { <-g.stop; _ = conn.Close() }()
		default:
			return conn, nil
		}
	}
}

func (s *server) does() notifytest.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answer
}

func (s *server) set(a notifytest.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = a
}

// say makes it answer MAIL, DATA or RCPT of an address with a code.
func (s *server) say(to string, code int, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codes[to] = &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 7, 1}, Message: text}
}

func (s *server) code(of string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.codes[of]; e != nil {
		return e
	}
	return nil
}

func (s *server) arrived() []mailbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// conversation is one client's.
type conversation struct {
	s      *server
	mail   mailbox
	signed bool
}

func (c *conversation) AuthMechanisms() []string { return c.s.mechs }

func (c *conversation) Auth(mech string) (sasl.Server, error) {
	check := func(user, pass string) error {
		switch c.s.does() {
		case notifytest.RefusesUs:
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "no " + user}
		case notifytest.Echoes:
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "no " + user + " with " + pass}
		case notifytest.EchoesAsBusy:
			return &smtp.SMTPError{Code: 454, EnhancedCode: smtp.EnhancedCode{4, 7, 0}, Message: "not now " + user + " with " + pass}
		default:
		}
		if user != username || pass != password {
			return &smtp.SMTPError{Code: 535, EnhancedCode: smtp.EnhancedCode{5, 7, 8}, Message: "wrong"}
		}
		c.signed = true
		return nil
	}
	if mech == "LOGIN" {
		return &loginServer{check: check}, nil
	}
	return sasl.NewPlainServer(func(_, user, pass string) error { return check(user, pass) }), nil
}

// loginServer is the server's half of LOGIN, as Exchange has it.
type loginServer struct {
	check func(user, pass string) error
	step  int
	user  string
}

func (l *loginServer) Next(response []byte) ([]byte, bool, error) {
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		l.user = string(response)
		return []byte("Password:"), false, nil
	}
	return nil, true, l.check(l.user, string(response))
}

func (c *conversation) Reset()        { c.mail = mailbox{} }
func (c *conversation) Logout() error { return nil }

func (c *conversation) Mail(from string, _ *smtp.MailOptions) error {
	if len(c.s.mechs) > 0 && !c.signed {
		return &smtp.SMTPError{Code: 530, EnhancedCode: smtp.EnhancedCode{5, 7, 0}, Message: "sign in first"}
	}
	c.mail.from = from
	return c.s.code("MAIL")
}

func (c *conversation) Rcpt(to string, _ *smtp.RcptOptions) error {
	if err := c.s.code(to); err != nil {
		return err
	}
	if c.s.does() == notifytest.Busy {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted, come again"}
	}
	c.mail.to = append(c.mail.to, to)
	return nil
}

func (c *conversation) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if c.s.does() == notifytest.RefusesIt {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "smells of spam: " + string(raw[:40])}
	}
	if err := c.s.code("DATA"); err != nil {
		return err
	}
	c.mail.raw = string(raw)
	c.s.mu.Lock()
	c.s.mails = append(c.s.mails, c.mail)
	c.s.mu.Unlock()
	return nil
}

// parts of a mail as a reader's program shows them.
type parts struct {
	header mail.Header
	plain  string
	html   string
}

func (m mailbox) read(t *testing.T) parts {
	t.Helper()
	if i := strings.IndexFunc(m.raw, func(r rune) bool { return r > '~' || (r < ' ' && r != '\r' && r != '\n' && r != '\t') }); i >= 0 {
		t.Errorf("a byte beyond ASCII at %d of %q", i, m.raw)
	}
	msg, err := mail.ReadMessage(strings.NewReader(m.raw))
	if err != nil {
		t.Fatal(err)
	}
	p := parts{header: msg.Header}
	media, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || media != "multipart/alternative" {
		t.Fatalf("content type %s, %v", media, err)
	}
	for mr := multipart.NewReader(msg.Body, params["boundary"]); ; {
		part, err := mr.NextRawPart()
		if errors.Is(err, io.EOF) {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		if enc := part.Header.Get("Content-Transfer-Encoding"); enc != "quoted-printable" {
			t.Errorf("a part in %q", enc)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		text := string(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")))
		switch part.Header.Get("Content-Type") {
		case "text/plain; charset=UTF-8":
			p.plain = text
		case "text/html; charset=UTF-8":
			p.html = text
		default:
			t.Errorf("a part of %s", part.Header.Get("Content-Type"))
		}
	}
}

// text of all of it, headers decoded.
func (p parts) text(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for k, values := range p.header {
		for _, v := range values {
			d, err := new(mime.WordDecoder).DecodeHeader(v)
			if err != nil {
				t.Errorf("header %s: %v", k, err)
			}
			fmt.Fprintf(&b, "%s: %s\n", k, d)
		}
	}
	return b.String() + p.plain + p.html
}
