// Package webhook tells alerts to a service of the customer's: one HTTP POST for each
// notice, a CloudEvent (version 1.0, structured JSON) that is signed.
//
// The signature is that of Standard Webhooks (standardwebhooks.com, symmetric): the
// headers webhook-id, webhook-timestamp in seconds, and webhook-signature, a list of
// "v1," and the base64 of HMAC-SHA256 over id.timestamp.body. While a secret is changed
// there are two secrets, and two signatures in the list. A receiver refuses what is older
// than Replay: a message that somebody kept cannot be sent again later.
//
// Contract: the address is a secret, and so is each signing secret; both are read at each
// use and are in no error.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"rotatord/internal/alert"
	"rotatord/internal/alert/wire"
	"rotatord/internal/rotate"
)

// Replay is how old a message may be that a receiver accepts, or how far in its future.
const Replay = 5 * time.Minute

// minSecret in bytes is what Standard Webhooks asks for.
const minSecret = 24

// Options of New.
type Options struct {
	URL wire.Source // https, or http to this machine
	// Secrets sign: one, or two while it is changed.
	Secrets []wire.Source
	Source  string // which rotatord this is, of any characters
	TLS     wire.TLS
	Proxy   string
	Timeout time.Duration
}

// Notifier posts notices. It is safe for concurrent use.
type Notifier struct {
	url     wire.Source
	secrets []wire.Source
	source  string
	client  *wire.Client
}

var _ alert.Notifier = (*Notifier)(nil)

// New checks the options. It sends nothing.
func New(o Options) (*Notifier, error) {
	const most = 2
	if o.URL == nil || len(o.Secrets) == 0 || len(o.Secrets) > most {
		return nil, errors.New("configure webhook: an address and one or two signing secrets are needed")
	}
	client, err := wire.New(wire.Options{TLS: o.TLS, Proxy: o.Proxy, Timeout: o.Timeout})
	if err != nil {
		return nil, fmt.Errorf("configure webhook: %w", err)
	}
	return &Notifier{url: o.URL, secrets: o.Secrets, source: sourceURN(o.Source), client: client}, nil
}

// Name is the route's word.
func (*Notifier) Name() string { return "webhook" }

// Tell posts the notice, a quiet one too: what the receiver shows can be brought up to
// date. Nothing is needed to find it again but its Key, so there is no ref.
func (w *Notifier) Tell(ctx context.Context, n alert.Notice) (string, error) {
	const op = "post to the webhook"
	e := w.event(wire.Clean(n))
	body, err := json.Marshal(e)
	if err != nil {
		return n.Ref, &rotate.Error{Op: op, Kind: rotate.KindPermanent, Err: errors.New("the notice cannot be written as JSON")}
	}
	_, err = w.post(ctx, op, http.MethodPost, e.ID, body)
	return n.Ref, err
}

// Check asks for the address's OPTIONS, signed: what the network, TLS or the address
// itself refuses is found out, and nobody is told. Many receivers know no OPTIONS, so
// what an answer says of the method alone (403 of some gateways, 405, 501) is no fault.
func (w *Notifier) Check(ctx context.Context) error {
	a, err := w.post(ctx, "ask the webhook", http.MethodOptions, "check", nil)
	switch a.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity, http.StatusNotImplemented:
		return nil
	}
	return err
}

// post signs and sends. The answer's Status is 0 if there was none.
func (w *Notifier) post(ctx context.Context, op, method, id string, body []byte) (wire.Answer, error) {
	address, err := w.url(ctx)
	if err != nil {
		return wire.Answer{}, &rotate.Error{Op: op, Kind: rotate.KindAuth, Err: err}
	}
	at := strconv.FormatInt(time.Now().Unix(), 10)
	signature, err := w.sign(ctx, id, at, body)
	if err != nil {
		return wire.Answer{}, &rotate.Error{Op: op, Kind: rotate.KindAuth, Err: err}
	}
	h := http.Header{}
	h.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", at)
	h.Set("Webhook-Signature", signature)
	a, err := w.client.Do(ctx, wire.Request{Op: op, Method: method, URL: address, Header: h, Body: body})
	if err != nil {
		return wire.Answer{}, err
	}
	return a, a.Err(op)
}

// sign with every secret that there is.
func (w *Notifier) sign(ctx context.Context, id, at string, body []byte) (string, error) {
	var list []string
	for i, source := range w.secrets {
		secret, err := source(ctx)
		if err != nil {
			return "", err
		}
		key, err := keyOf(secret)
		if err != nil {
			return "", fmt.Errorf("signing secret %d: %w", i+1, err)
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(id + "." + at + "."))
		mac.Write(body)
		list = append(list, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(list, " "), nil
}

// keyOf a secret: what stands behind whsec_ is base64, as Standard Webhooks writes it;
// any other text is taken as it is.
func keyOf(s rotate.Secret) ([]byte, error) {
	key := []byte(s.Reveal())
	if rest, ok := strings.CutPrefix(s.Reveal(), "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(rest); err != nil {
			return nil, errors.New("what follows whsec_ is no base64") // the cause could show where
		}
	}
	if len(key) < minSecret {
		return nil, fmt.Errorf("it is shorter than %d bytes; make one: openssl rand -hex 32", minSecret)
	}
	return key, nil
}
