package process

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"weir/services/shared/config"
)

// Health is the command that asks the service beside it whether it is alive, for the
// health check of a container that has no shell. It reads the same settings as the
// service; address picks what it needs of them.
func Health[C any](address func(C) (config.Base, int)) Subcommand[C] {
	return Subcommand[C]{
		Name: "health", Help: "ask the service that runs with the same settings whether it is alive; exit code 0 when it is",
		Run: func(ctx context.Context, c C, _ []string, stdout io.Writer) error {
			base, port := address(c)
			return askHealth(ctx, base, port, stdout)
		},
	}
}

func askHealth(ctx context.Context, base config.Base, port int, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	host := base.BindHost
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	scheme, transport := "http", &http.Transport{}
	defer transport.CloseIdleConnections()
	if base.TLS.Enabled() {
		pinned, err := tls.LoadX509KeyPair(base.TLS.Certificate, base.TLS.Key)
		if err != nil {
			return fmt.Errorf("read certificate: %w", err)
		}
		// Its names are those that clients use, not localhost: what counts here is that
		// it is the service's own.
		scheme, transport.TLSClientConfig = "https", &tls.Config{
			MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, // #nosec G402 -- pinned below
			VerifyConnection: func(s tls.ConnectionState) error {
				if !s.PeerCertificates[0].Equal(pinned.Leaf) {
					return errors.New("not the service's certificate")
				}
				return nil
			},
		}
	}
	url := scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port)) + "/healthz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("ask for health: the service answered %s", answer.Status)
	}
	fmt.Fprintln(stdout, "alive")
	return nil
}
