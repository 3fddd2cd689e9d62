package quiet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"rotatord/internal/rotate"
)

// Options of what is asked: a command or an HTTP address.
type Options struct {
	// Name for history and messages; "" is made of the command's or the host's name.
	Name    string
	Command []string // a program by absolute path, and its arguments; no shell

	URL        string // https; http only to this machine
	CAFile     string // PEM of the authorities to trust instead of the system's
	ServerName string // in the server's certificate, if not the host
	// Token goes into the Authorization header, read anew for each call; nil: none.
	Token func(context.Context) (rotate.Secret, error)

	Timeout time.Duration // of one call; 0 is DefaultTimeout
}

// DefaultTimeout of a call.
const DefaultTimeout = 30 * time.Second

// caller asks and gets a yes or a no. An error is neither.
type caller interface {
	ask(ctx context.Context, q question) (verdict, error)
}

// question is what a command finds on its standard input, and a server in a request's body.
type question struct {
	kind kind
	body []byte
	env  []string // of a command, beside its path
}

// kind of a question: the word in "ask", and the field of an HTTP answer.
type kind string

const (
	askQuiet kind = "quiet"
	askAllow kind = "allow"
)

type verdict struct {
	yes    bool
	detail string
}

// limited is a caller with a name and a time limit.
type limited struct {
	caller
	name    string
	timeout time.Duration
}

func newCaller(o Options) (limited, error) {
	l := limited{name: o.Name, timeout: o.Timeout}
	if l.timeout <= 0 {
		l.timeout = DefaultTimeout
	}
	switch {
	case len(o.Command) > 0 && o.URL != "":
		return l, errors.New("a command or an address is asked, not both")
	case len(o.Command) > 0:
		if !filepath.IsAbs(o.Command[0]) {
			return l, fmt.Errorf("command %q is no absolute path", o.Command[0])
		}
		l.caller = command{argv: slices.Clone(o.Command)}
		l.name = or(l.name, "command "+filepath.Base(o.Command[0]))
		return l, nil
	}
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return l, errors.New("the address is not of the form https://host/path")
	case u.User != nil:
		return l, errors.New("the address must not carry a user name or password")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return l, errors.New("the address is plain http to another machine")
	}
	if l.caller, err = newRemote(o); err != nil {
		return l, err
	}
	l.name = or(l.name, "http "+u.Host)
	return l, nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || (ip != nil && ip.IsLoopback())
}

// ask within the time limit.
func (l limited) ask(ctx context.Context, q question) (verdict, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.timeout, fmt.Errorf("no answer within %s", l.timeout))
	defer cancel()
	v, err := l.caller.ask(ctx, q)
	if err == nil {
		return v, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause // what was under way when the time was up only confuses
	}
	return verdict{}, err // whoever asks knows the name
}

// Gate asks a command or a server whether a previous key is out of use.
type Gate struct{ limited }

var _ rotate.Gate = Gate{}

// NewGate checks the options. It asks nothing.
func NewGate(o Options) (Gate, error) {
	l, err := newCaller(o)
	if err != nil {
		return Gate{}, fmt.Errorf("make gate: %w", err)
	}
	return Gate{l}, nil
}

// Name of the gate.
func (g Gate) Name() string { return g.name }

// quietQuestion is documented in docs/gates.md.
type quietQuestion struct {
	Ask        kind            `json:"ask"`
	Credential rotate.Name     `json:"credential"`
	Portal     rotate.PortalID `json:"portal"`
	Item       rotate.ItemID   `json:"item"`
	Live       rotate.KeyFacts `json:"live"`
	Previous   rotate.KeyFacts `json:"previous"`
	RetireAt   time.Time       `json:"retire_at,omitzero"`
	Now        time.Time       `json:"now"`
}

// Ask it.
func (g Gate) Ask(ctx context.Context, q rotate.Quiet) (rotate.QuietAnswer, error) {
	body, err := json.Marshal(quietQuestion{askQuiet, q.Name, q.ID.Portal, q.ID.Item, q.Live, q.Previous, q.RetireAt, q.Now})
	if err != nil {
		return rotate.QuietAnswer{}, fmt.Errorf("ask %s: %w", g.name, err)
	}
	v, err := g.ask(ctx, question{askQuiet, body, environment(askQuiet, q.Name, q.Live.Generation, q.Live.Fingerprint)})
	if err != nil {
		return rotate.QuietAnswer{}, err
	}
	return rotate.QuietAnswer{Quiet: v.yes, Detail: v.detail}, nil
}

// Hook lets a command or a server veto at points of a rotation.
type Hook struct {
	limited
	points []rotate.HookPoint
}

var _ rotate.Hook = Hook{}

// NewHook checks the options. It calls nothing.
func NewHook(o Options, points []rotate.HookPoint) (Hook, error) {
	l, err := newCaller(o)
	if err == nil && len(points) == 0 {
		err = errors.New("it names no point of a rotation")
	}
	for i, p := range points {
		switch {
		case err != nil:
		case !slices.Contains(rotate.HookPoints(), p):
			err = fmt.Errorf("there is no point %q in a rotation", p)
		case slices.Contains(points[:i], p):
			err = fmt.Errorf("point %s is there twice", p)
		}
	}
	if err != nil {
		return Hook{}, fmt.Errorf("make hook: %w", err)
	}
	return Hook{l, slices.Clone(points)}, nil
}

// Name of the hook.
func (h Hook) Name() string { return h.name }

// Points at which it is called.
func (h Hook) Points() []rotate.HookPoint { return slices.Clone(h.points) }

// VetoError is a hook's no.
type VetoError struct{ Detail string }

func (e *VetoError) Error() string { return "it says no: " + or(e.Detail, "without a reason") }

// Call it. A veto is a *VetoError; what keeps it from answering is another error.
func (h Hook) Call(ctx context.Context, c rotate.HookCall) error {
	body, err := json.Marshal(struct {
		Ask kind `json:"ask"`
		rotate.HookCall
	}{askAllow, c})
	if err != nil {
		return fmt.Errorf("ask %s: %w", h.name, err)
	}
	env := append(environment(askAllow, c.Name, c.Generation, c.Fingerprint), "ROTATORD_POINT="+string(c.Point))
	v, err := h.ask(ctx, question{askAllow, body, env})
	if err != nil {
		return err
	}
	if !v.yes {
		return &VetoError{v.detail}
	}
	return nil
}

// environment spares a shell script a JSON parser. Nothing in it is secret.
func environment(k kind, name rotate.Name, generation int64, f rotate.Fingerprint) []string {
	return []string{"ROTATORD_ASK=" + string(k), "ROTATORD_CREDENTIAL=" + string(name),
		fmt.Sprintf("ROTATORD_GENERATION=%d", generation), "ROTATORD_FINGERPRINT=" + string(f)}
}

// errNoBool: an HTTP answer without the one field that counts.
var errNoBool = errors.New("the answer has no field of the name that was asked for, with true or false")

// decide reads an HTTP answer; fields that it does not need are left alone.
func decide(k kind, body []byte) (verdict, error) {
	var a struct {
		Quiet  *bool  `json:"quiet"`
		Allow  *bool  `json:"allow"`
		Detail string `json:"detail"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		return verdict{}, errors.New("the answer is not the JSON that docs/gates.md asks for") // the cause may quote it
	}
	said := a.Quiet
	if k == askAllow {
		said = a.Allow
	}
	if said == nil {
		return verdict{}, errNoBool
	}
	return verdict{*said, clean(a.Detail)}, nil
}

const maxDetail = 300 // characters; it goes into history and alerts

// secretForms are API keys, Vault tokens and their like, which a detail may hold by mistake.
var secretForms = regexp.MustCompile(`AAP[TK][A-Za-z0-9._-]{8,}|\bhv[sb]\.[A-Za-z0-9._-]{8,}|\bxox[a-z]-[A-Za-z0-9-]{8,}|\bxapp-[A-Za-z0-9-]{8,}|\bwhsec_[A-Za-z0-9+/=]{8,}|(?i:bearer)\s+\S+`)

// clean makes one printable line of what somebody else wrote.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "�")
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.TrimSpace(secretForms.ReplaceAllString(s, "[hidden]"))
	if utf8.RuneCountInString(s) > maxDetail {
		s = string([]rune(s)[:maxDetail-1]) + "…"
	}
	return s
}

func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
