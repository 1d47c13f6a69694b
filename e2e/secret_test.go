package e2e

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNoSecretIsEverSaid makes the services fail in every way that has to do with a
// secret, and looks for it in all that they write and answer.
func TestNoSecretIsEverSaid(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	const secret = "s3cr3t" // every made-up password and key begins so
	passwords := []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))[:8]}
	with := func(given, userinfo string) string { // the server's address, and another password
		address, err := url.Parse(given)
		require.NoError(t, err)
		password, _ := address.User.Password()
		passwords = append(passwords, password)
		return address.Scheme + "://" + userinfo + "@" + address.Host + address.RequestURI()
	}
	wrongRedis, wrongPostgres := with(box.RedisURL, ":s3cr3t-redis"), with(box.PostgresURL, "postgres:s3cr3t-postgres")
	unsaid := func(text string) {
		t.Helper()
		for _, p := range passwords {
			require.NotContains(t, text, p)
		}
	}

	const away, faulty = "not available yet", "must look like"
	for _, c := range []struct{ name, until, redis, postgres string }{
		{"unreachable", away, "redis://u:s3cr3t-redis@127.0.0.1:1/0", "postgres://u:s3cr3t-postgres@127.0.0.1:1/x"},
		{"unknown hosts", away, "redis://u:s3cr3t-redis@no-such-host.invalid:1", "postgres://u:s3cr3t-postgres@no-such-host.invalid/x"},
		{"wrong passwords", away, wrongRedis, wrongPostgres},
		{"unknown users", away, with(box.RedisURL, "nobody:s3cr3t-redis"), with(box.PostgresURL, "nobody:s3cr3t-postgres")},
		{"no TLS there", away, strings.Replace(wrongRedis, "redis:", "rediss:", 1), strings.Replace(wrongPostgres, "sslmode=disable", "sslmode=verify-full", 1)},
		{"not a URL", faulty, "redis://u:s3cr3t-redis@[::1", "postgres://u:s3cr3t-postgres@[::1/x"},
		{"bad port", faulty, "redis://u:s3cr3t-redis@host:s3cr3t/0", "postgres://u:s3cr3t-postgres@host:port/x"},
		{"bad escape", faulty, "redis://u:s3cr3t-%zz@host", "postgres://u:s3cr3t-%zz@host/x"},
		{"another scheme", faulty, "http://u:s3cr3t-redis@host", "mysql://u:s3cr3t-postgres@host/x"},
		{"bad setting", faulty, "redis://u:s3cr3t-redis@host/0?dial_timeout=s3cr3t", "postgres://u:s3cr3t-postgres@host/x?sslmode=s3cr3t"},
		{"words", faulty, "s3cr3t-redis", "host=localhost password=s3cr3t-postgres port=s3cr3t"},
	} {
		// One fault at a time, as the services wait for Redis first.
		unsaid(attempt(t, box, "weir-ingestion", c.until, "LOG_LEVEL=debug", "REDIS_URL="+c.redis))
		for _, name := range []string{"weir-consumer", "weir-api"} {
			unsaid(attempt(t, box, name, c.until, "LOG_LEVEL=debug", "REDIS_URL="+c.redis))
			unsaid(attempt(t, box, name, c.until, "LOG_LEVEL=debug", "POSTGRES_URL="+c.postgres))
		}
		withoutReplica := c.until
		if c.until == away {
			withoutReplica = "The replica does not answer" // and the primary does
		}
		unsaid(attempt(t, box, "weir-api", withoutReplica, "LOG_LEVEL=debug", "POSTGRES_READ_URL="+c.postgres))
		unsaid(attempt(t, box, "weir-migrate", "weir-migrate: ", "POSTGRES_URL="+c.postgres))
	}
	unsaid(attempt(t, box, "weir-ingestion", "must look like source=key", "INGESTION_WRITE_KEYS=s3cr3t-write,no spaces=s3cr3t", "ADMIN_KEYS=s3cr3t-admin"))
	unsaid(attempt(t, box, "weir-api", "cannot be read", "API_READ_KEYS_FILE=/no/such/file", "API_READ_KEYS="))

	for service, settings := range map[string][]string{
		"ingestion": {"INGESTION_WRITE_KEYS=web=s3cr3t-write", "ADMIN_KEYS=s3cr3t-admin"},
		"consumer":  {"ADMIN_KEYS=s3cr3t-admin"},
		"api":       {"API_READ_KEYS=s3cr3t-read"},
	} {
		said := &transcript{}
		p := startProgram(t, box, "weir-"+service, said, append(settings, "LOG_LEVEL=debug", "PPROF=true")...)
		for _, path := range []string{"/metrics", "/debug/pprof/cmdline", "/openapi.json", "/readyz", "/no/such/path"} {
			r := do(t, http.MethodGet, p.URL+path, "", "")
			unsaid(r.body)
			if strings.HasPrefix(path, "/debug") {
				require.Equal(t, http.StatusOK, r.status, "PPROF is for every service: %s", service)
			}
		}
		for _, o := range operations(t) {
			if o.service != service || openOperations[o.OperationID] {
				continue
			}
			for _, how := range []string{"Bearer s3cr3t-guess", "Basic " + base64.StdEncoding.EncodeToString([]byte("s3cr3t-guess:s3cr3t")), "Basic s3cr3t", "s3cr3t"} {
				request := o.request(t, p.URL, "", "")
				request.Header.Set("Authorization", how)
				r := send(t, request, "")
				require.Contains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, r.status, "%s: %s", o, r.body)
				unsaid(r.body)
			}
			if service == "ingestion" {
				request := o.request(t, p.URL, "", "")
				request.URL.RawQuery = "write_key=s3cr3t-guess"
				unsaid(send(t, request, "").body)
				request = o.request(t, p.URL, "", "")
				request.Header.Set("X-Write-Key", "s3cr3t-guess")
				unsaid(send(t, request, "").body)
			}
		}
		if service == "api" {
			unsaid(send(t, must(t, p.URL+"/v1/live/events?ticket=s3cr3t-ticket"), "").body)
		}
		stop(t, p)
		unsaid(said.String())
	}
}
