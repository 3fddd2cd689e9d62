package quiet

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certLook is how often the files of a certificate are looked at, at most.
const certLook = time.Second

// certificate is a server's, read again when its files change.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate // guarded by mu, as is all below
	seen   fileStamps
	looked time.Time
}

// fileStamps tell whether certificate and key are other files than before.
type fileStamps [2]struct {
	at   time.Time
	size int64
}

func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.load(time.Now()); err != nil {
		return nil, err
	}
	return c, nil
}

// get is tls.Config.GetCertificate. While new files are half written, or wrong, the
// certificate from before is served.
func (c *certificate) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.looked).Abs() < certLook {
		return c.pair, nil
	}
	before := c.seen
	switch err := c.load(now); {
	case err != nil && c.seen != before:
		c.log.LogAttrs(hello.Context(), slog.LevelError, "new certificate not taken; the one from before is served", slog.Any("err", err))
	case err == nil && c.seen != before:
		c.log.LogAttrs(context.WithoutCancel(hello.Context()), slog.LevelInfo, "certificate read again", slog.String("file", c.certFile))
	}
	return c.pair, nil
}

// load the files unless they are those that were seen last.
func (c *certificate) load(now time.Time) error {
	c.looked = now
	var is fileStamps
	for i, file := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(file)
		if err != nil {
			return fmt.Errorf("read certificate: %w", err)
		}
		is[i].at, is[i].size = info.ModTime(), info.Size()
	}
	if c.pair != nil && is == c.seen {
		return nil
	}
	c.seen = is
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("read certificate %s: %w", c.certFile, err)
	}
	c.pair = &pair
	return nil
}
