package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// TLS settings of a client.
type TLS struct {
	CAFile     string // PEM of the authorities to trust instead of the system's
	ServerName string // in the server's certificate, if not the host
	CertFile   string // PEM of our own certificate, with KeyFile; "" is none
	KeyFile    string
}

// Config reads the files.
func (t TLS) Config() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA file %s: no certificate in it", t.CAFile)
		}
	}
	if t.CertFile == "" && t.KeyFile == "" {
		return conf, nil
	}
	if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
		return nil, fmt.Errorf("read own certificate: %w", err)
	}
	// Read at each connection: such certificates are short-lived and renewed in place.
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		return &c, err
	}
	return conf, nil
}

// Broke says what broke a connection, in words of our own: the errors of net/http and
// crypto/tls repeat addresses, and a host can be as secret as a path.
func Broke(err error) error {
	if err == nil {
		return nil
	}
	for _, e := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return fmt.Errorf("no answer in time (%w)", e)
		}
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return errors.New("its name does not resolve")
	}
	if e := certificate(err); e != nil {
		return e
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return errors.New("no answer in time")
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it closed the connection")
	}
	if strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") { // net/http has no type for it
		return errors.New("it speaks plain HTTP, not TLS")
	}
	return errors.New("the connection broke")
}

func certificate(err error) error {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return errors.New("its certificate is of an unknown authority; name it in tls.ca_file")
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return errors.New("its certificate is for another name; see tls.server_name")
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if e.Reason == x509.Expired {
			return errors.New("its certificate has expired or is not valid yet")
		}
		return errors.New("its certificate is not valid")
	}
	if e, ok := errors.AsType[tls.AlertError](err); ok {
		return fmt.Errorf("it broke off TLS: %w", e)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return errors.New("it does not speak TLS there")
	}
	return nil
}
