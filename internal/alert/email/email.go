// Package email tells alerts by mail, through a server that takes mail for delivery
// (a smarthost): STARTTLS or TLS from the start, in clear text to this machine alone.
//
// One alert is one thread. The first mail's Message-ID is made from the notice's Key and
// its beginning, so that one that is sent twice is thrown away by whoever has it; Ref
// holds it, and what follows names it in In-Reply-To and References. A mail that is out
// cannot be brought up to date, so a quiet notice is told to nobody.
//
// Contract: the password is read at each use. What the server says is in no error, since
// it may repeat what it was sent; its codes are. Mails go to all recipients that the
// server takes: one who has left does not silence the others.
package email

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"strings"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/wire"
	"rotatord/internal/rotate"
)

// Security of the connection.
type Security string

// The securities.
const (
	SecuritySTARTTLS Security = "starttls" // usually port 587; a server without it is refused
	SecurityTLS      Security = "tls"      // from the start, usually port 465
	SecurityNone     Security = "none"     // to this machine alone
)

// Auth is how we sign in.
type Auth string

// The ways to sign in.
const (
	AuthAny   Auth = "any"   // PLAIN where the server offers it, else LOGIN
	AuthPlain Auth = "plain" // RFC 4616
	AuthLogin Auth = "login" // what old Exchange servers want
)

// Options of New.
type Options struct {
	Smarthost string // host:port
	Security  Security
	TLS       wire.TLS
	From      string // an address, with a name or without
	To        []string
	Username  string // "": not signed in
	Password  wire.Source
	Auth      Auth
	Hello     string        // the name that we greet with; "" is localhost
	Timeout   time.Duration // of one mail, from the connection to its end
	Log       *slog.Logger  // nil: none; a recipient who is refused is said here
}

// Notifier sends mails. It is safe for concurrent use.
type Notifier struct {
	o    Options
	host string // of Smarthost
	from *mail.Address
	to   []*mail.Address
}

var _ alert.Notifier = (*Notifier)(nil)

// New checks the options. It sends nothing.
func New(o Options) (*Notifier, error) {
	fail := func(format string, args ...any) (*Notifier, error) {
		return nil, fmt.Errorf("configure e-mail: "+format, args...)
	}
	host, _, err := net.SplitHostPort(o.Smarthost)
	switch {
	case err != nil || host == "":
		return fail("smarthost is not of the form host:port")
	case o.Security != SecuritySTARTTLS && o.Security != SecurityTLS && o.Security != SecurityNone:
		return fail("security is none of starttls, tls, none")
	case o.Security == SecurityNone && !wire.Loopback(host):
		return fail("mail in clear text goes to this machine alone; use starttls or tls")
	case (o.Username == "") != (o.Password == nil):
		return fail("user name and password go together")
	case o.Auth != AuthAny && o.Auth != AuthPlain && o.Auth != AuthLogin:
		return fail("auth is none of any, plain, login")
	case o.Timeout <= 0:
		return fail("timeout must be above zero")
	case len(o.To) == 0:
		return fail("nobody is named to send to")
	case strings.ContainsAny(o.Hello, " \r\n"):
		return fail("hello is no host name")
	}
	n := &Notifier{o: o, host: host}
	if n.from, err = address(o.From); err != nil {
		return fail("from %w", err)
	}
	for i, to := range o.To {
		a, err := address(to)
		if err != nil {
			return fail("recipient %d %w", i+1, err)
		}
		n.to = append(n.to, a)
	}
	if _, err := o.TLS.Config(); err != nil {
		return fail("%w", err)
	}
	if o.Hello == "" {
		n.o.Hello = "localhost"
	}
	if o.Log == nil {
		n.o.Log = slog.New(slog.DiscardHandler)
	}
	return n, nil
}

// address of a mailbox. What is beyond ASCII wants SMTPUTF8, which not every server on
// the way has.
func address(s string) (*mail.Address, error) {
	a, err := mail.ParseAddress(s)
	switch {
	case err != nil:
		return nil, errors.New("is no mail address")
	case strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("has characters beyond ASCII in its address; write the domain in its xn-- form")
	}
	return a, nil
}

// Name is the route's word.
func (*Notifier) Name() string { return "email" }

// Tell sends a mail for a loud notice. The ref is the Message-ID of the thread's first.
func (e *Notifier) Tell(ctx context.Context, n alert.Notice) (string, error) {
	if !n.Loud && n.Kind != alert.NoticeSample {
		return n.Ref, nil
	}
	raw, thread, err := e.compose(wire.Clean(n), time.Now().UTC())
	if err != nil {
		return n.Ref, &rotate.Error{Op: "write mail", Kind: rotate.KindPermanent, Err: errors.New("the notice cannot be written as a mail")}
	}
	if err := e.send(ctx, raw); err != nil {
		return n.Ref, err
	}
	return thread, nil
}

// Check signs in and asks the server whether it takes mail from us to each recipient,
// without sending one.
func (e *Notifier) Check(ctx context.Context) error {
	s, err := e.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	refused, err := s.envelope()
	if err != nil {
		return err
	}
	return errors.Join(refused...)
}
