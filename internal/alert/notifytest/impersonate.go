package notifytest

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Impersonate has a handler answer as https://host for whoever is started with the
// environment that it returns: a forward proxy leads there, and to nowhere else, and its
// certificate is trusted.
func Impersonate(t *testing.T, host string, h http.Handler) (env []string) {
	t.Helper()
	cert := NewCertificate(t, host)
	front := httptest.NewUnstartedServer(h)
	front.TLS = &tls.Config{Certificates: []tls.Certificate{cert.Pair}}
	front.StartTLS()
	var tunnels sync.WaitGroup
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != host+":443" {
			t.Errorf("the proxy is asked for %s %s", r.Method, r.Host)
			w.WriteHeader(http.StatusForbidden)
			return
		}
		up, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", front.Listener.Addr().String())
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		down, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
		for _, pair := range [][2]net.Conn{{up, down}, {down, up}} {
			tunnels.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			})
		}
	}))
	t.Cleanup(func() { proxy.Close(); front.CloseClientConnections(); tunnels.Wait(); front.Close() })
	return []string{"HTTPS_PROXY=" + proxy.URL, "SSL_CERT_FILE=" + cert.CertFile}
}
