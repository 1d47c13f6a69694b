package harness

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Secure has both servers show a certificate (PEM) from now on: Redis takes nothing but
// TLS then, and RedisURL is rediss://; PostgreSQL does with clients that ask for it. It
// may be called again, with another certificate. Both is lost when they are stopped, so
// it is for servers of a test's own; those given by URL are an error.
func (s *Servers) Secure(ctx context.Context, certificate, key []byte) error {
	return errors.Join(wrap("secure Redis", s.secureRedis(ctx, certificate, key)),
		wrap("secure PostgreSQL", s.securePostgres(ctx, certificate, key)))
}

// placer is a server into whose file system files can be put.
type placer interface {
	place(ctx context.Context, name string, content []byte) (path string, err error)
}

func (s *Servers) secureRedis(ctx context.Context, certificate, key []byte) error {
	into, ok := s.redis.(placer)
	if !ok {
		return errors.New("the harness does not change what it does not run")
	}
	client, err := newRedis(s.RedisURL)
	if err != nil {
		return err
	}
	defer client.Close()
	port := "6379"
	if p, ok := s.redis.(*process); ok {
		port = fmt.Sprint(p.port)
	}
	if options := client.Options(); options.TLSConfig != nil {
		options.TLSConfig = &tls.Config{InsecureSkipVerify: true} // #nosec G402 -- the certificate that is about to be exchanged
	}
	certificateFile, err := into.place(ctx, "tls.crt", certificate)
	if err != nil {
		return err
	}
	keyFile, err := into.place(ctx, "tls.key", key)
	if err != nil {
		return err
	}
	conn := client.Conn() // which stays open while the port changes
	defer conn.Close()
	err = conn.Do(ctx, "CONFIG", "SET", "tls-auth-clients", "no", "tls-cert-file", certificateFile, "tls-key-file", keyFile).Err()
	if err != nil || strings.HasPrefix(s.RedisURL, "rediss:") {
		return err
	}
	if err := conn.Do(ctx, "CONFIG", "SET", "port", "0").Err(); err != nil {
		return err
	}
	if err := conn.Do(ctx, "CONFIG", "SET", "tls-port", port).Err(); err != nil {
		return err
	}
	s.RedisURL = strings.Replace(s.RedisURL, "redis:", "rediss:", 1)
	return nil
}

// securePostgres has the server write the files itself: it refuses a key that is not its
// own, or that others may read.
func (s *Servers) securePostgres(ctx context.Context, certificate, key []byte) error {
	if _, ok := s.postgres.(placer); !ok {
		return errors.New("the harness does not change what it does not run")
	}
	for _, statement := range []string{
		fmt.Sprintf(`COPY (SELECT unnest(string_to_array('%s', E'\n'))) TO PROGRAM 'cat > tls.crt'`, certificate),
		fmt.Sprintf(`COPY (SELECT unnest(string_to_array('%s', E'\n'))) TO PROGRAM 'umask 077 && cat > tls.key'`, key),
		`ALTER SYSTEM SET ssl_cert_file = 'tls.crt'`, `ALTER SYSTEM SET ssl_key_file = 'tls.key'`, `ALTER SYSTEM SET ssl = on`,
		`SELECT pg_reload_conf()`,
	} {
		if err := execute(ctx, s.PostgresURL, statement); err != nil {
			return err
		}
	}
	for { // the signal is on its way
		var on bool
		conn, err := pgx.Connect(ctx, s.PostgresURL)
		if err == nil {
			err = conn.QueryRow(ctx, `SELECT current_setting('ssl')::bool`).Scan(&on)
			_ = conn.Close(ctx)
		}
		if err != nil || on {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *container) place(ctx context.Context, name string, content []byte) (string, error) {
	path := "/tmp/" + name
	return path, c.tc.CopyToContainer(ctx, content, path, 0o644)
}

func (p *process) place(_ context.Context, name string, content []byte) (string, error) {
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return "", err
	}
	return path, p.own(path)
}
