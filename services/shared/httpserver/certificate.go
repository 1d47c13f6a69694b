package httpserver

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"weir/services/shared/config"
)

// certificate is a key pair in files that may be replaced while the service runs, as
// cert-manager and certbot do.
type certificate struct {
	files config.TLS
	log   *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	written [2]time.Time // when the files that pair was read from were written
}

// tlsConfig reads the certificate once, so that a wrong one is found at start, and
// again for the next handshake after its files changed.
func tlsConfig(files config.TLS, log *slog.Logger) (*tls.Config, error) {
	c := &certificate{files: files, log: log}
	if err := c.read(); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: c.get}, nil
}

// get looks at the files' times at each handshake: two calls of stat, against the
// hundreds of microseconds that a handshake takes.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now, err := c.times(); err == nil && now != c.written {
		if err := c.read(); err != nil {
			// Half of a change, or a fault: the old one serves on, and the next
			// handshake tries again.
			c.log.Warn("The certificate's files changed and cannot be read; the old one is used.", "error", err)
		} else {
			c.log.Info("The certificate was read anew.")
		}
	}
	return c.pair, nil
}

func (c *certificate) read() error {
	written, err := c.times()
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.files.Certificate, c.files.Key)
	if err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	c.pair, c.written = &pair, written
	return nil
}

func (c *certificate) times() (at [2]time.Time, err error) {
	for i, name := range []string{c.files.Certificate, c.files.Key} {
		info, err := os.Stat(name)
		if err != nil {
			return at, err
		}
		at[i] = info.ModTime()
	}
	return at, nil
}
