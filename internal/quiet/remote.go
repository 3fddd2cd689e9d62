package quiet

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"rotatord/internal/rotate"
)

// maxAnswer of a server, in bytes.
const maxAnswer = 64 << 10

// remote is asked by a POST of JSON.
type remote struct {
	url    string
	token  func(context.Context) (rotate.Secret, error)
	client *http.Client
}

func newRemote(o Options) (*remote, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: o.ServerName}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA file %s: no certificate in it", o.CAFile)
		}
	}
	// No proxy of the environment's. A question comes rarely, and a connection that is kept
	// would have to be closed by somebody.
	transport := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true, DisableKeepAlives: true, MaxResponseHeaderBytes: maxAnswer}
	return &remote{url: o.URL, token: o.Token, client: &http.Client{Transport: transport, CheckRedirect: noRedirects}}, nil
}

func (r *remote) ask(ctx context.Context, q question) (verdict, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(q.body))
	if err != nil {
		return verdict{}, errors.New("the address cannot be used") // the cause quotes it
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "rotatord")
	sent := ""
	if r.token != nil {
		token, err := r.token(ctx)
		if err != nil {
			return verdict{}, err
		}
		sent = token.Reveal() //nolint:forbidigo // it goes to whom it is for
		if strings.ContainsFunc(sent, func(c rune) bool { return c < ' ' || c > '~' }) {
			return verdict{}, errors.New("the token has characters that an Authorization header cannot hold")
		}
		req.Header.Set("Authorization", "Bearer "+sent)
	}
	res, err := r.client.Do(req)
	if err != nil {
		return verdict{}, plainly(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return verdict{}, fmt.Errorf("the answer is HTTP %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return verdict{}, fmt.Errorf("read the answer: %w", plainly(err))
	case len(body) > maxAnswer:
		return verdict{}, fmt.Errorf("the answer is longer than %d KiB", maxAnswer>>10)
	}
	v, err := decide(q.kind, body)
	if sent != "" {
		v.detail = strings.ReplaceAll(v.detail, sent, "[hidden]")
	}
	return v, err
}

// plainly says what went wrong without the address, and without what the server sent:
// net/http quotes a status line or a Location that it cannot read, and those may give
// back the token.
func plainly(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return errors.New("no answer in time")
	}
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it closed the connection")
	}
	return errors.New("the answer is no HTTP that can be read")
}
