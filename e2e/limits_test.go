package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/api"
	"weir/services/consumer"
	"weir/services/ingestion"
)

func limits(change func(*ingestion.Config)) setting {
	return func(_ *api.Config, _ *consumer.Config, i *ingestion.Config) { change(i) }
}

func TestAKeyIsNeededAndTheRightOneAtEveryEntrance(t *testing.T) {
	t.Parallel()
	w := start(t, keys("web=secret", "app=other"))
	now := time.Now().UTC().Format(time.RFC3339)
	for path, body := range map[string]string{
		"/v1/events":      `{"type":"a","user_id":"u","source":"forged"}`,
		"/v1/track":       `{"event":"a","userId":"u"}`,
		"/v1/batch":       `{"batch":[{"type":"track","event":"a","userId":"u"}]}`,
		"/v1/cloudevents": `{"specversion":"1.0","id":"` + "1" + `","source":"/s","type":"a","time":"` + now + `","userid":"u"}`,
	} {
		contentType := "application/json"
		if path == "/v1/cloudevents" {
			contentType = "application/cloudevents+json"
		}
		post := func(query string, header ...string) reply {
			return postWhenUp(t, w.ingestion+path+query, contentType, body, header...)
		}
		none := post("")
		require.Equal(t, http.StatusUnauthorized, none.status, path)
		require.Contains(t, none.header.Get("WWW-Authenticate"), "Bearer", path)
		require.Equal(t, "application/problem+json", none.header.Get("Content-Type"), path)
		require.Equal(t, http.StatusForbidden, post("", "X-Write-Key", "web").status, path)
		require.Equal(t, http.StatusForbidden, post("?write_key=guess").status, path)
		require.Less(t, post("", "Authorization", "Bearer secret").status, 300, path)
		require.Less(t, post("?write_key=other").status, 300, path)
	}
	reach(t, w.pool, 8, `SELECT count(*) FROM events`)
	require.EqualValues(t, 4, number(t, w.pool, `SELECT count(*) FROM events WHERE source = 'web'`), "the key decides the source")
	require.EqualValues(t, 4, number(t, w.pool, `SELECT count(*) FROM events WHERE source = 'app'`))
}

func TestAKeyThatSendsTooMuchIsToldWhenToComeBackAndOthersAreNotHeldUp(t *testing.T) {
	t.Parallel()
	w := start(t, keys("web=secret", "app=other"), limits(func(i *ingestion.Config) { i.Collector.RateLimit, i.Collector.RateBurst = 50, 100 }))
	batch := func(n int, key string) reply {
		return w.post("["+strings.TrimSuffix(strings.Repeat(`{"type":"a","user_id":"u"},`, n), ",")+"]", "X-Write-Key", key)
	}
	first := batch(80, "secret")
	require.Equal(t, http.StatusAccepted, first.status, first.body)
	require.Equal(t, `"events";q=100;w=2`, first.header.Get("RateLimit-Policy"))
	require.Regexp(t, `^"events";r=2\d;t=2$`, first.header.Get("RateLimit"))

	refused := batch(90, "secret")
	require.Equal(t, http.StatusTooManyRequests, refused.status, refused.body)
	require.Equal(t, "application/problem+json", refused.header.Get("Content-Type"))
	require.Contains(t, refused.header.Get("RateLimit"), `"events";r=`)
	wait, err := strconv.Atoi(refused.header.Get("Retry-After"))
	require.NoError(t, err)
	require.InDelta(t, 2, wait, 1)

	require.Equal(t, http.StatusAccepted, batch(90, "other").status, "another key has its own share")
	require.Equal(t, http.StatusRequestEntityTooLarge, batch(101, "secret").status, "no waiting would help")

	// Who does as it is told is served.
	require.Eventually(t, func() bool { return batch(90, "secret").status == http.StatusAccepted }, time.Duration(wait+3)*time.Second, 100*time.Millisecond)
	reach(t, w.pool, 260, `SELECT count(*) FROM events`)
}

// TestSlowClientsAreCutOff: neither who is slow with the headers nor who is slow with the
// body holds the service up.
func TestSlowClientsAreCutOff(t *testing.T) {
	t.Parallel()
	w := start(t, limits(func(i *ingestion.Config) { i.Collector.BodyTimeout, i.Collector.MaxRequests = time.Second, 4 }))
	for name, c := range map[string]struct {
		head string
		says string
	}{
		"headers":             {"POST /v1/events HTTP/1.1\r\nHost: x\r\n", ""},
		"body":                {"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n", "408"},
		"chunks":              {"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", "408"},
		"compressed body":     {"POST /v1/cloudevents HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents+json\r\nContent-Encoding: gzip\r\nContent-Length: 1000\r\n\r\n\x1f\x8b\x08", "408"},
		"body without events": {"GET /v1/pixel.gif HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, drip(t, w.ingestion, c.head), c.says)
		})
	}
}

// drip sends the head of a request and then a byte now and then, so that the connection
// is not idle. It returns what the server said until it closed, which is to be soon.
func drip(t *testing.T, url, head string) (answer string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, head)
	require.NoError(t, err)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := conn.Write([]byte("1")); err != nil {
				return
			}
		}
	}()
	started := time.Now()
	const soon = 20 * time.Second // the limits are seconds; a busy machine adds some
	require.NoError(t, conn.SetReadDeadline(started.Add(soon+5*time.Second)))
	said, _ := io.ReadAll(conn) // returns when the server closes, whichever way
	require.Less(t, time.Since(started), soon)
	return string(said)
}

func TestAClientThatDoesNotReadItsAnswerIsCutOff(t *testing.T) {
	t.Parallel()
	w := start(t, limits(func(i *ingestion.Config) { i.Collector.MaxRequests, i.Collector.BodyTimeout = 1, time.Second }))
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.ingestion, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
	// One good event and 19,999 that break four rules: an answer of several megabytes.
	body := `{"type":"a","user_id":"u"}` + strings.Repeat("\n"+`{"country":1}`, 19_999)
	_, err = fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	require.NoError(t, err)
	reach(t, w.pool, 1, `SELECT count(*) FROM events`)
	const one = `{"type":"a","user_id":"u"}`
	require.Equal(t, http.StatusServiceUnavailable, w.post(one).status, "the one place is taken by who does not read")
	require.Eventually(t, func() bool { return w.post(one).status == http.StatusAccepted }, patience, 100*time.Millisecond)
}

func TestRequestsBeyondTheLimitAreRefusedAndServedLater(t *testing.T) {
	t.Parallel()
	w := start(t, limits(func(i *ingestion.Config) { i.Collector.MaxRequests, i.Collector.BodyTimeout = 3, 10*time.Minute }))
	const one = `{"type":"a","user_id":"u1234"}`
	require.Eventually(t, func() bool { return w.post(one).status == http.StatusAccepted }, patience, 10*time.Millisecond, "the way is open")
	var held []*bufio.ReadWriter
	for range 3 {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.ingestion, "http://"))
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 30\r\nExpect: 100-continue\r\n\r\n")
		require.NoError(t, err)
		client := bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
		line, err := client.ReadString('\n') // it has a place once it is asked for its body
		require.NoError(t, err)
		require.Contains(t, line, "100 Continue")
		_, err = client.ReadString('\n')
		require.NoError(t, err)
		held = append(held, client)
	}
	var r reply
	require.Eventually(t, func() bool { r = w.post(one); return r.status == http.StatusServiceUnavailable }, patience, 10*time.Millisecond)
	require.Equal(t, "application/problem+json", r.header.Get("Content-Type"))
	require.NotEmpty(t, r.header.Get("Retry-After"))
	require.Equal(t, http.StatusOK, do(t, http.MethodGet, w.ingestion+"/healthz", "", "").status, "the probes are not counted")
	require.Contains(t, do(t, http.MethodGet, w.ingestion+"/metrics", "", "").body, `weir_ingestion_refused_requests_total{status="503"}`)

	for _, client := range held {
		_, err := client.WriteString(one)
		require.NoError(t, err)
		require.NoError(t, client.Flush())
		response, err := http.ReadResponse(client.Reader, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusAccepted, response.StatusCode)
	}
	require.Eventually(t, func() bool { return w.post(one).status == http.StatusAccepted }, patience, 10*time.Millisecond)
}

func TestBodiesUnderWayShareABoundedMemory(t *testing.T) {
	t.Parallel()
	w := start(t, limits(func(i *ingestion.Config) {
		i.Collector.BodyMemory, i.Collector.BodyTimeout = 12<<20, 10*time.Minute // the slow client stays as slow as it is
	}))
	require.Eventually(t, func() bool { return w.post(`{"type":"a","user_id":"u"}`).status == http.StatusAccepted }, patience, 10*time.Millisecond, "the way is open")
	const size = 9 << 20
	hold := func() net.Conn {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.ingestion, "http://"))
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		_, _ = fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", size)
		_, _ = conn.Write(bytes.Repeat([]byte(" "), size-1))
		return conn
	}
	conn := hold()

	big := "[" + strings.Repeat(" ", 5<<20) + `{"type":"a","user_id":"u"}]`
	answers := func(status int) func() bool {
		return func() bool { // a client that is slow to send may find the connection closed instead
			response, err := http.Post(w.ingestion+"/v1/events", "application/json", strings.NewReader(big))
			if err != nil {
				return false
			}
			defer response.Body.Close()
			return response.StatusCode == status
		}
	}
	require.Eventually(t, func() bool {
		if answers(http.StatusServiceUnavailable)() {
			return true
		}
		conn.Close() // while both were read, it may have been the slow one that found no room
		conn = hold()
		return false
	}, patience, 50*time.Millisecond)
	require.Equal(t, http.StatusAccepted, w.post(`{"type":"a","user_id":"u"}`).status, "small ones still pass")
	require.NoError(t, conn.Close())
	require.Eventually(t, answers(http.StatusAccepted), patience, 50*time.Millisecond)
}
