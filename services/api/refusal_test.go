package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/api"
)

// required is what an operation cannot be asked without.
func required(path string) url.Values {
	const anyView = `type is "page_view"`
	return map[string]url.Values{
		"/v1/metrics/top":       {"by": {"path"}},
		"/v1/metrics/breakdown": {"rows": {"country"}, "columns": {"type"}},
		"/v1/funnel":            {"step": {anyView, `type is "purchase"`}},
		"/v1/paths":             {"start": {anyView}},
		"/v1/live":              {"epoch": {"00ff"}, "seq": {"1"}},
		"/v1/live/events":       {"epoch": {"00ff"}, "seq": {"1"}},
	}[path]
}

// No parameter of any operation takes what is none of its values, whatever the document
// may list in times to come.
func TestEveryParameterOfEveryOperationRefusesNonsense(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t)).start()
	nonsense := []string{
		"'; DROP TABLE events; --", `type is "a" or 1=1 --`, `type is "a" union select 1`, "\x00", "\xff", "-1", "+99999999999999999999",
		strings.Repeat("(", 4000), strings.Repeat("not ", 1000) + "os exists", strings.Repeat("a", 5000),
	}
	ranges := [][2]string{ // from and to, of which one or both are wrong
		{"2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"}, {"2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"},
		{"1970-01-01T00:00:00Z", "2999-01-01T00:00:00Z"}, {"0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"},
		{"2026-02-30T00:00:00Z", "2026-03-01T00:00:00Z"}, {"2026-01-01", "2026-01-02"},
	}
	tried := map[string]int{}
	for path, item := range api.OpenAPI().Paths {
		if item.Get == nil || !strings.HasPrefix(path, "/v1") {
			continue
		}
		path = strings.Replace(path, "{id}", "0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f", 1)
		refuses := func(params url.Values, names string) {
			t.Helper()
			var p problem
			response := w.get(path, params, &p)
			require.Equal(t, http.StatusUnprocessableEntity, response.StatusCode, "%s %.200v", path, params)
			require.Equal(t, "application/problem+json", response.Header.Get("Content-Type"))
			where := p.Detail
			for _, e := range p.Errors {
				where += " " + e.Location
			}
			require.Regexp(t, names, where, "%s %.200v", path, params)
			tried[path]++
		}
		with := func(pairs ...string) url.Values {
			params := url.Values{}
			for name, values := range required(path) {
				params[name] = values
			}
			for i := 0; i < len(pairs); i += 2 {
				params[pairs[i]] = []string{pairs[i+1]}
			}
			return params
		}
		refuses(with("colour", "red"), "query.colour")
		ranged := 0
		for _, parameter := range item.Get.Parameters {
			if parameter.In != "query" || parameter.Name == "ticket" { // which is a key, and judged as one
				continue
			}
			if parameter.Name == "from" || parameter.Name == "to" {
				ranged++
			}
			for _, value := range nonsense {
				refuses(with(parameter.Name, value), "query."+parameter.Name)
			}
		}
		if ranged < 2 {
			continue
		}
		for i, r := range ranges {
			if (i == 2 || i == 3) && (path == "/v1/events" || path == "/v1/export") {
				continue // a page is bounded, and an export is as long as is asked for
			}
			refuses(with("from", r[0], "to", r[1]), `query\.(from|to|interval)`)
		}
	}
	require.Len(t, tried, 15, "%v", tried)
}

const raw = "filter=os+exists+or+not+os+exists"

// questions are every way to make the database work.
var questions = []string{
	"/v1/metrics/summary?metrics=users,sessions&compare=previous", "/v1/metrics/summary?" + raw,
	"/v1/metrics/timeseries?group_by=path", "/v1/metrics/timeseries?metrics=events,users&" + raw,
	"/v1/metrics/top?by=path", "/v1/metrics/top?by=path&" + raw,
	"/v1/metrics/breakdown?rows=country&columns=type", "/v1/metrics/breakdown?rows=country&columns=path",
	"/v1/metrics/users", "/v1/metrics/users?" + raw,
	"/v1/sessions", "/v1/funnel?step=type+exists&step=type+exists", "/v1/retention", "/v1/paths?start=type+exists",
	"/v1/events", "/v1/events?" + raw, "/v1/events/0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f", "/v1/export", "/v1/export?format=csv&" + raw,
}

// No question may work on for ever, however its SQL would be planned: the bound is the
// statement timeout, and every question has it.
func TestEveryQuestionIsEndedInTimeAndSaysHowToAskForLess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.store(pageView(time.Now()))
	w.start("API_STATEMENT_TIMEOUT", "100ms")
	defer w.lockTables()()
	for _, question := range questions {
		path, query, _ := strings.Cut(question, "?")
		params, err := url.ParseQuery(query)
		require.NoError(t, err)
		var p problem
		require.Equal(t, http.StatusGatewayTimeout, w.get(path, params, &p).StatusCode, question)
		require.Contains(t, p.Detail, "longer than 100ms; ask for a smaller range")
	}
	status := w.status()
	require.Contains(t, status.Stored.Error, "in time")
}

func TestEveryQuestionIsCancelledWithItsRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.store(pageView(time.Now()))
	w.start("LIVE_RECONCILE", "1h").current()
	unlock := w.lockTables()
	for _, question := range append(questions, "/v1/status") {
		ctx, cancel := context.WithCancel(t.Context())
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.address+question, nil)
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() {
			response, err := w.http.Do(request)
			if err == nil {
				err = fmt.Errorf("answered with %s", response.Status)
				response.Body.Close()
			}
			ended <- err
		}()
		eventually(t, question+" waits", func() bool { return w.waiting() == 1 })
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		eventually(t, question+" has ended", func() bool { return w.waiting() == 0 })
	}
	unlock()
	for _, question := range questions { // nothing was left behind that others would wait for
		if !strings.HasPrefix(question, "/v1/events/") {
			path, query, _ := strings.Cut(question, "?")
			params, err := url.ParseQuery(query)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, w.get(path, params, nil).StatusCode, question)
		}
	}
}

// frame is a frame as it is on the wire, masked or not; with a mask of zeros the text is
// as it was.
func frame(first byte, masked bool, text string) string {
	if masked {
		return string([]byte{first, 0x80 | byte(len(text)), 0, 0, 0, 0}) + text
	}
	return string([]byte{first, byte(len(text))}) + text
}

// What is no WebSocket any more after the handshake ends its own connection, with the
// code that the protocol has for it, and no other.
func TestBrokenFramesCloseTheirClientOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, harness.NewSandbox(t))
	w.start("LIVE_RECONCILE", "1h").current()
	good, listener := w.dial("", nil), w.listen("", "")
	good.next()
	listener.next()
	const text, protocol, tooBig = 0x81, websocket.StatusProtocolError, websocket.StatusMessageTooBig
	for name, c := range map[string]struct {
		bytes string
		code  websocket.StatusCode
	}{
		"not masked":          {frame(text, false, "{}"), -1},
		"reserved bits":       {frame(0xf1, true, "{}"), protocol},
		"unknown kind":        {frame(0x83, true, "{}"), protocol},
		"a middle first":      {frame(0x80, true, "{}"), protocol},
		"a ping in parts":     {frame(0x09, true, "{}"), protocol},
		"a frame of 2^62":     {"\x81\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("x", 9<<10), tooBig},
		"many parts":          {frame(0x01, true, "") + strings.Repeat(frame(0x00, true, strings.Repeat("x", 100)), 100), tooBig},
		"another protocol":    {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", protocol},
		"a flood of pings":    {strings.Repeat(frame(0x89, true, ""), 10_000), websocket.StatusPolicyViolation},
		"a flood of pongs":    {strings.Repeat(frame(0x8a, true, "x"), 100), websocket.StatusPolicyViolation},
		"not UTF-8, not JSON": {frame(text, true, "\xff\xfe"), websocket.StatusPolicyViolation},
	} {
		conn, err := net.Dial("tcp", w.address)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
		_, err = io.WriteString(conn, "GET /v1/live?metrics=false HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"+c.bytes)
		require.NoError(t, err)
		reader := bufio.NewReader(conn)
		response, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, response.StatusCode)
		require.Equal(t, c.code, closeCode(t, reader), name)
		require.NoError(t, conn.Close())
	}
	w.publish(w.store(pageView(time.Now())))
	good.total(1)
	listener.total(1)
}

// closeCode reads frames up to the one that closes; -1 is an end without one.
func closeCode(t *testing.T, r *bufio.Reader) websocket.StatusCode {
	t.Helper()
	for {
		var head [2]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			return -1
		}
		size := int(head[1])
		if size == 126 {
			var long [2]byte
			_, err := io.ReadFull(r, long[:])
			require.NoError(t, err)
			size = int(long[0])<<8 | int(long[1])
		}
		text := make([]byte, size)
		_, err := io.ReadFull(r, text)
		require.NoError(t, err)
		if head[0] == 0x88 {
			return websocket.StatusCode(int(text[0])<<8 | int(text[1]))
		}
	}
}
