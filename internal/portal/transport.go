package portal

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
)

// ownWords is what a transport's error may say. Errors of the network and of TLS say
// what this machine found. All others come from reading an answer and may quote it,
// with a key in it ("malformed HTTP status code", "failed to parse Location header").
func ownWords(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if says := found[*net.OpError](err); says != "" {
		return says
	}
	if says := found[*net.DNSError](err); says != "" {
		return says
	}
	if says := found[*tls.CertificateVerificationError](err); says != "" {
		return says
	}
	if says := found[x509.UnknownAuthorityError](err); says != "" {
		return says
	}
	if says := found[x509.HostnameError](err); says != "" {
		return says
	}
	if says := found[x509.CertificateInvalidError](err); says != "" {
		return says
	}
	if says := found[tls.RecordHeaderError](err); says != "" {
		return says
	}
	if says := found[syscall.Errno](err); says != "" {
		return says
	}
	for _, known := range []error{context.Canceled, io.ErrUnexpectedEOF, io.EOF, http.ErrSchemeMismatch} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		return "no answer in time"
	}
	return "the answer is no HTTP that can be read"
}

func found[E error](err error) string {
	if e, ok := errors.AsType[E](err); ok {
		return e.Error()
	}
	return ""
}

// hostForm is a host as people name them; no part is as long as a key or a client secret.
var hostForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,30}(\.[A-Za-z0-9-]{1,30})*(:[0-9]{1,5})?$`)

// redirectHost names where an answer sends us, as far as that is fit to be repeated.
func redirectHost(h http.Header) string {
	u, err := url.Parse(h.Get("Location"))
	switch {
	case err != nil || u.Host == "":
		return "the same host"
	case !strings.HasPrefix(u.Scheme, "http") || !hostForm.MatchString(u.Host):
		return "another host"
	}
	return u.Host
}

// longPart is what could be a token, a key or a client secret in an address.
const longPart = 20

// addsLongPart tells whether a redirect leads to an address with a part in it that could
// be a secret and was not there before: following it would write that into logs on the way.
func addsLongPart(from, to *url.URL) bool {
	known := from.String()
	for _, part := range strings.FieldsFunc(to.String(), func(r rune) bool { return strings.ContainsRune("/?&=#:", r) }) {
		if len(part) >= longPart && !strings.Contains(known, part) {
			return true
		}
	}
	return false
}
