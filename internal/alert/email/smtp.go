package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"rotatord/internal/alert/wire"
	"rotatord/internal/rotate"
)

// session with the smarthost, within one time limit.
type session struct {
	e      *Notifier
	client *smtp.Client
	end    func()
}

// send one mail to everybody whom the server takes.
func (e *Notifier) send(ctx context.Context, raw []byte) error {
	s, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	refused, err := s.envelope()
	if err != nil {
		return err
	}
	w, err := s.client.Data()
	if err != nil {
		return e.failed("send mail", err)
	}
	if _, err = w.Write(raw); err == nil {
		err = w.Close()
	}
	if err != nil {
		return e.failed("send mail", err)
	}
	for _, err := range refused {
		e.o.Log.WarnContext(ctx, "mail server refused one of the recipients", slog.Any("err", err))
	}
	// The mail is the server's now; what it says to QUIT changes nothing.
	_ = s.client.Quit()
	return nil
}

// open connects, secures the connection and signs in.
func (e *Notifier) open(ctx context.Context) (*session, error) {
	const op = "connect to the mail server"
	conf, err := e.o.TLS.Config() // read anew: authorities change
	if err != nil {
		return nil, &rotate.Error{Op: op, Kind: rotate.KindAuth, Err: err}
	}
	if conf.ServerName == "" {
		conf.ServerName = e.host
	}
	ctx, cancel := context.WithTimeout(ctx, e.o.Timeout)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", e.o.Smarthost)
	if err != nil {
		cancel()
		return nil, e.failed(op, err)
	}
	// Whoever waits for the server is woken by the end of ctx.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	s := &session{e: e, end: func() { stop(); cancel(); _ = conn.Close() }}
	if err := s.greet(ctx, conn, conf); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		s.end()
		return nil, e.failed(op, err)
	}
	if err := s.signIn(ctx); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

func (s *session) greet(ctx context.Context, conn net.Conn, conf *tls.Config) error {
	if s.e.o.Security == SecurityTLS {
		secured := tls.Client(conn, conf)
		if err := secured.HandshakeContext(ctx); err != nil {
			return err
		}
		conn = secured
	}
	client, err := smtp.NewClient(conn, s.e.host)
	if err != nil {
		return err
	}
	s.client = client
	s.client.SkipSMTPUTF8(true) // all that we send is ASCII
	if err := s.client.Hello(s.e.o.Hello); err != nil {
		return err
	}
	if s.e.o.Security != SecuritySTARTTLS {
		return nil
	}
	if offered, _ := s.client.Extension("STARTTLS"); !offered {
		return errNoSTARTTLS
	}
	return s.client.StartTLS(conf)
}

var (
	errNoSTARTTLS = errors.New("it does not offer STARTTLS; see security")
	errNoAuth     = errors.New("it does not offer the way to sign in; see auth")
)

func (s *session) signIn(ctx context.Context) error {
	o := s.e.o
	if o.Username == "" {
		return nil
	}
	const op = "sign in to the mail server"
	password, err := o.Password(ctx)
	if err != nil {
		return &rotate.Error{Op: op, Kind: rotate.KindAuth, Err: err}
	}
	_, offered := s.client.Extension("AUTH")
	has := func(a Auth) bool { return slices.Contains(strings.Fields(strings.ToLower(offered)), string(a)) }
	var auth smtp.Auth
	switch {
	case o.Auth != AuthLogin && has(AuthPlain):
		auth = smtp.PlainAuth("", o.Username, password.Reveal(), s.e.host, o.Security == SecurityNone)
	case o.Auth != AuthPlain && has(AuthLogin):
		auth = smtp.LoginAuth(o.Username, password.Reveal(), s.e.host, o.Security == SecurityNone)
	default:
		return &rotate.Error{Op: op, Kind: rotate.KindAuth, Err: errNoAuth}
	}
	if err := s.client.Auth(auth); err != nil {
		out := s.e.failed(op, err)
		if out.Kind == rotate.KindPermanent {
			out.Kind, out.Cause = rotate.KindAuth, rotate.CauseForbidden
		}
		return out
	}
	return nil
}

// envelope names sender and recipients. It fails if the server takes none of them; else
// it says who is refused.
func (s *session) envelope() (refused []error, err error) {
	if err := s.client.Mail("<" + s.e.from.Address + ">"); err != nil {
		return nil, about(s.e.failed("send mail from "+s.e.from.Address, err))
	}
	var worst *rotate.Error
	for _, to := range s.e.to {
		err := s.client.Rcpt("<" + to.Address + ">")
		if err == nil {
			continue
		}
		out := about(s.e.failed("send mail to "+to.Address, err))
		if _, ok := errors.AsType[*textproto.Error](err); !ok {
			return nil, out // the connection is gone, not the recipient
		}
		refused = append(refused, out)
		if worst == nil || out.Kind == rotate.KindTransient {
			worst = out
		}
	}
	if len(refused) == len(s.e.to) {
		return nil, worst
	}
	return refused, nil
}

// about the way, not about this notice: a sender or recipient that is refused for good
// is refused to every notice.
func about(e *rotate.Error) *rotate.Error {
	if e.Kind == rotate.KindPermanent {
		e.Kind, e.Cause = rotate.KindAuth, rotate.CauseForbidden
	}
	return e
}

func (s *session) close() { s.end() }

// failed says what went wrong: the server's code, without its text, or what broke.
func (e *Notifier) failed(op string, err error) *rotate.Error {
	out := &rotate.Error{Op: op, Kind: rotate.KindTransient}
	reply, ok := errors.AsType[*textproto.Error](err)
	switch {
	case errors.Is(err, errNoSTARTTLS), errors.Is(err, smtp.ErrUnencrypted):
		out.Kind, out.Err = rotate.KindAuth, errNoSTARTTLS
	case !ok:
		out.Cause, out.Err = rotate.CauseUnreachable, wire.Broke(err)
	default:
		out.Err = fmt.Errorf("SMTP %d%s", reply.Code, words(reply))
		switch {
		case reply.Code == 530, reply.Code == 534, reply.Code == 535, reply.Code == 538:
			out.Kind, out.Cause = rotate.KindAuth, rotate.CauseForbidden
		case reply.Code >= 500:
			out.Kind = rotate.KindPermanent
		}
	}
	return out
}

// words of ours for a code, with the enhanced status code (RFC 3463) where there is one.
func words(reply *textproto.Error) string {
	text := ""
	if enhanced, _, _ := strings.Cut(reply.Msg, " "); isStatus(enhanced) {
		text = " " + enhanced
	}
	known := map[int]string{
		421: "it is closing", 450: "mailbox busy, or greylisted", 451: "an error of its own, or greylisted", 452: "it has no room",
		530: "it wants a sign-in", 535: "user name or password refused", 550: "refused, or no such mailbox", 551: "not here",
		552: "too large", 553: "mailbox name not allowed", 554: "refused",
	}[reply.Code]
	if known != "" {
		text += ": " + known
	}
	return text
}

// isStatus tells whether a word is of the form 5.7.1.
func isStatus(word string) bool {
	parts := strings.Split(word, ".")
	if len(parts) != 3 || (parts[0] != "4" && parts[0] != "5") {
		return false
	}
	return !slices.ContainsFunc(parts, func(p string) bool {
		return p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != ""
	})
}
