package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/migrations"
)

// authority issues certificates.
type authority struct {
	t           *testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string // its certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	a := &authority{t, certificate, key, filepath.Join(t.TempDir(), "ca.pem")}
	require.NoError(t, os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return a
}

// issue makes the certificate and key of a server, in PEM form.
func (a *authority) issue(host string) (certificate, key []byte) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, private.Public(), a.key)
	require.NoError(a.t, err)
	text, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(a.t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})
}

// TestServicesReachRedisAndPostgreSQLByTLSAlone has the servers show a certificate of
// another name first: nobody connects, until they show the right one.
func TestServicesReachRedisAndPostgreSQLByTLSAlone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	servers := harness.Private(t)
	box, err := servers.Sandbox(ctx, "tls")
	require.NoError(t, err)
	_, err = migrations.Up(ctx, box.PostgresURL)
	require.NoError(t, err)
	pool := open(t, box)
	address, err := url.Parse(box.PostgresURL)
	require.NoError(t, err)

	trusted, other := newAuthority(t), newAuthority(t)
	show := func(host string) {
		t.Helper()
		certificate, key := trusted.issue(host)
		require.NoError(t, servers.Secure(ctx, certificate, key))
	}
	show("192.0.2.1") // which nobody has
	by := func(a *authority) []string {
		query := url.Values{"sslmode": {"verify-full"}, "sslrootcert": {a.file}}
		address.RawQuery = query.Encode()
		return []string{"REDIS_URL=" + servers.RedisURL, "REDIS_CA_FILE=" + a.file, "POSTGRES_URL=" + address.String()}
	}
	require.Contains(t, attempt(t, box, "weir-migrate", "x509: ", by(trusted)...), "certificate is")
	require.Contains(t, attempt(t, box, "weir-api", "x509: ", by(trusted)...), "certificate is")

	show(address.Hostname())
	for _, name := range []string{"weir-migrate", "weir-api", "weir-consumer", "weir-ingestion"} {
		attempt(t, box, name, "unknown authority", by(other)...)
	}
	attempt(t, box, "weir-migrate", "The schema is at version", by(trusted)...)

	run(t, box, "weir-consumer", by(trusted)...)
	questions := run(t, box, "weir-api", by(trusted)...)
	ingestion := run(t, box, "weir-ingestion", by(trusted)...)
	require.Equal(t, http.StatusAccepted, postWhenUp(t, ingestion.URL+"/v1/events", "application/json", `{"type":"a","user_id":"u"}`).status)
	reach(t, pool, 1, `SELECT count(*) FROM events`)
	require.Contains(t, do(t, http.MethodGet, questions.URL+"/v1/events", "", "").body, `"type":"a"`)
	const sessions = `SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE application_name IN ('weir-api', 'weir-consumer')`
	require.Positive(t, number(t, pool, sessions+` AND ssl`))
	require.Zero(t, number(t, pool, sessions+` AND NOT ssl`))
	attempt(t, box, "weir-ingestion", "not available yet", "REDIS_URL="+strings.Replace(servers.RedisURL, "rediss:", "redis:", 1))
}

func TestAnAuthorityForRedisThatCannotBeUsedIsAFault(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	none := filepath.Join(t.TempDir(), "none.pem")
	require.NoError(t, os.WriteFile(none, []byte("nothing"), 0o600))
	attempt(t, box, "weir-ingestion", "REDIS_CA_FILE is for TLS", "REDIS_CA_FILE="+none)
	attempt(t, box, "weir-ingestion", "REDIS_CA_FILE has no certificate", "REDIS_URL=rediss://x", "REDIS_CA_FILE="+none)
	attempt(t, box, "weir-ingestion", "REDIS_CA_FILE cannot be read", "REDIS_URL=rediss://x", "REDIS_CA_FILE="+none+"-not")
}
