package httpserver_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/shared/config"
	"weir/services/shared/httpserver"
)

// writeCertificate makes a certificate of a serial number and writes it with its key.
func writeCertificate(t *testing.T, files config.TLS, serial int64, at time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"weir.example"}, NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{
		files.Certificate: {Type: "CERTIFICATE", Bytes: certificate}, files.Key: {Type: "PRIVATE KEY", Bytes: private},
	} {
		require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(block), 0o600))
		require.NoError(t, os.Chtimes(name, at, at)) // a disk may tell only whole seconds
	}
}

func TestCertificateIsReadAnewWhenItsFilesChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := config.TLS{Certificate: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	now := time.Now()
	writeCertificate(t, files, 1, now)

	address := make(chan string, 1)
	var said bytes.Buffer
	server := httpserver.Server{
		Addr: "127.0.0.1:0", API: httpserver.NewAPI("test", ""), Log: slog.New(slog.NewTextHandler(&said, nil)),
		Grace: time.Second, TLS: files, Listening: func(a string) { address <- a },
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	defer func() {
		stop()
		require.NoError(t, <-ended)
		require.Contains(t, said.String(), "the old one is used")
	}()
	at := <-address
	serial := func() int64 {
		t.Helper()
		conn, err := (&tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", at) // its number is looked at, not its name
		require.NoError(t, err)
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	require.EqualValues(t, 1, serial())
	writeCertificate(t, files, 2, now.Add(time.Minute))
	require.EqualValues(t, 2, serial())
	require.NoError(t, os.WriteFile(files.Key, []byte("half of a"), 0o600))
	require.EqualValues(t, 2, serial(), "what cannot be read does not take the place of what works")
	writeCertificate(t, files, 3, now.Add(2*time.Minute))
	require.EqualValues(t, 3, serial())
}

func TestWrongCertificateIsFoundAtStart(t *testing.T) {
	t.Parallel()
	server := httpserver.Server{
		Addr: "127.0.0.1:0", API: httpserver.NewAPI("test", ""), Log: slog.New(slog.DiscardHandler),
		TLS: config.TLS{Certificate: "no-such-file", Key: "nor-this"},
	}
	require.ErrorContains(t, server.Run(t.Context()), "read certificate")
}
