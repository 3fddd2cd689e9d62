package sinks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
)

// VaultOptions describe one connection to Vault, shared by any number of sinks.
// Vault's environment variables (VAULT_ADDR, VAULT_TOKEN, ...) are not obeyed.
type VaultOptions struct {
	Address   string // https://vault.example.org:8200
	Namespace string // "" is the root namespace
	// CAFile has the CAs that may have signed the server's certificate (PEM);
	// "" trusts the system's.
	CAFile     string
	ServerName string // name in the server's certificate, if not the address's
	// ClientCertFile and ClientKeyFile are read again at each handshake, so that a
	// renewed certificate needs no restart.
	ClientCertFile, ClientKeyFile string
	Proxy                         string        // URL of an HTTP proxy; "" is none
	Timeout                       time.Duration // of one request; 0 is 15 s
	Auth                          VaultAuth
	OnNotice                      func(Notice) // may be called from several goroutines; nil: nobody
}

const (
	defaultTimeout = 15 * time.Second
	idleTimeout    = 30 * time.Second
	maxIdle        = 16
	maxReply       = 4 << 20 // bytes; Vault refuses secrets over 1 MiB
	retryWait      = time.Second
)

// Vault is one connection. Its methods may be called from several goroutines.
type Vault struct {
	opt       VaultOptions
	client    *api.Client // has no token: each request brings its own
	transport http.RoundTripper
	session   session
	// namespaceProved is set once the server was seen to obey opt.Namespace.
	namespaceProved atomic.Bool
	// mounts that were seen to be KV version 2, by path.
	mounts sync.Map
}

// NewVault checks the options and builds the client. It sends nothing.
func NewVault(opt VaultOptions) (*Vault, error) {
	if err := checkAddress(opt.Address); err != nil {
		return nil, fmt.Errorf("set up vault: %w", err)
	}
	if opt.Namespace != "" {
		if err := checkPath(strings.TrimSuffix(opt.Namespace, "/")); err != nil {
			return nil, fmt.Errorf("set up vault: namespace %q: %w", opt.Namespace, err)
		}
	}
	if opt.Timeout <= 0 {
		opt.Timeout = defaultTimeout
	}
	if opt.OnNotice == nil {
		opt.OnNotice = func(Notice) {}
	}
	method, err := newSigner(opt)
	if err != nil {
		return nil, fmt.Errorf("set up vault sign-in: %w", err)
	}
	transport, err := newTransport(opt)
	if err != nil {
		return nil, fmt.Errorf("set up vault: %w", err)
	}
	client, err := newClient(opt, transport)
	if err != nil {
		return nil, fmt.Errorf("set up vault: %w", err)
	}
	return &Vault{opt: opt, client: client, transport: transport, session: session{method: method}}, nil
}

func checkAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return errors.New("the address is no URL") // the parser's error quotes it
	case u.User != nil:
		return errors.New("the address must not carry a user name or password")
	case (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return errors.New("the address is not of the form https://host:port")
	}
	return nil
}

// newClient sets everything that api.NewClient would otherwise take from the
// environment, and undoes what it takes regardless. Retries and redirects are off:
// a repeated write comes back as a conflict with oneself.
func newClient(opt VaultOptions, transport http.RoundTripper) (*api.Client, error) {
	c, err := api.NewClient(&api.Config{
		Address:          opt.Address,
		HttpClient:       &http.Client{Transport: transport, CheckRedirect: noRedirects},
		MinRetryWait:     retryWait, // unused, but 0 would be filled in
		MaxRetryWait:     retryWait,
		MaxRetries:       0,
		DisableRedirects: true,
	})
	if err != nil {
		return nil, fmt.Errorf("make client (a VAULT_ variable of the environment may be malformed): %w", err)
	}
	c.ClearToken()
	c.SetHeaders(http.Header{api.RequestHeaderName: {"true"}})
	if opt.Namespace != "" {
		c.SetNamespace(opt.Namespace)
	}
	// The default one obeys VAULT_WRAP_TTL, which wraps every reply.
	c.SetWrappingLookupFunc(func(string, string) string { return "" })
	return c, nil
}

func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func newTransport(opt VaultOptions) (http.RoundTripper, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: opt.ServerName}
	if opt.CAFile != "" {
		pem, err := os.ReadFile(opt.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read CA file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA file %s: no certificate in it", opt.CAFile)
		}
	}
	if (opt.ClientCertFile == "") != (opt.ClientKeyFile == "") {
		return nil, errors.New("a client certificate needs both its file and its key's file")
	}
	if opt.ClientCertFile != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(opt.ClientCertFile, opt.ClientKeyFile)
			if err != nil {
				return nil, fmt.Errorf("load client certificate: %w", err)
			}
			return &pair, nil
		}
		if _, err := load(); err != nil {
			return nil, err
		}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	}
	t := &http.Transport{
		TLSClientConfig:       conf,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   opt.Timeout,
		ResponseHeaderTimeout: opt.Timeout,
		IdleConnTimeout:       idleTimeout,
		MaxIdleConnsPerHost:   maxIdle,
	}
	if opt.Proxy != "" {
		proxy, err := url.Parse(opt.Proxy)
		if err != nil || proxy.Host == "" {
			return nil, errors.New("the proxy is no URL")
		}
		t.Proxy = http.ProxyURL(proxy)
	}
	return guard{next: t}, nil
}

// Run renews the token in time, and signs in again when that is no longer possible,
// until ctx ends. Without it the same happens before requests.
func (v *Vault) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		wait := v.session.untilRenewal(time.Now())
		if wait <= 0 {
			if _, err := v.signedIn(ctx); err != nil && ctx.Err() == nil {
				v.opt.OnNotice(Notice{Text: "the sign-in to Vault was not renewed; the next try follows", Err: err})
			}
			wait = v.session.untilRenewal(time.Now())
		}
		timer.Reset(min(max(wait, retryWait), time.Hour))
	}
}

// TokenExpiry is when the present token ends; zero if it never does, or if there is
// none yet.
func (v *Vault) TokenExpiry() time.Time {
	v.session.mu.Lock()
	defer v.session.mu.Unlock()
	return v.session.expiry
}
