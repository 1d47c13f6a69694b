package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// TestNoInputIsEverTheServersFault sends what is broken in every way to every entrance:
// the answer is a problem of the client's or a result for each event, and what the
// results say was accepted is what is stored.
func TestNoInputIsEverTheServersFault(t *testing.T) {
	t.Parallel()
	w := start(t)
	last := time.Now().UTC().Truncate(time.Second)
	now := func() string { // another one each time, so that no two events are the same
		last = last.Add(time.Millisecond)
		return last.Format(time.RFC3339Nano)
	}

	// Every entrance takes an event with a member of the attacker's choice.
	entrances := []struct {
		path, contentType string
		body              func(member string) string
	}{
		{"/v1/events", "application/json", func(m string) string { return `{"type":"a","user_id":"u",` + m + `}` }},
		{"/v1/events", "application/json", func(m string) string { return `[{"type":"a","user_id":"u",` + m + `}]` }},
		{"/v1/events", "application/x-ndjson", func(m string) string { return `{"type":"a","user_id":"u",` + m + `}` + "\n" }},
		{"/v1/events", "text/plain", func(m string) string { return `{"type":"a","user_id":"u",` + m + `}` }},
		{"/v1/track", "application/json", func(m string) string { return `{"event":"a","userId":"u",` + m + `}` }},
		{"/v1/identify", "text/plain", func(m string) string { return `{"userId":"u",` + m + `}` }},
		{"/v1/batch", "application/json", func(m string) string { return `{"batch":[{"type":"page","userId":"u",` + m + `}]}` }},
		{"/v1/cloudevents", "application/cloudevents+json", func(m string) string {
			return `{"specversion":"1.0","id":"i","source":"/s","type":"a","userid":"u","time":"` + now() + `",` + m + `}`
		}},
		{"/v1/cloudevents", "application/cloudevents-batch+json", func(m string) string {
			return `[{"specversion":"1.0","id":"j","source":"/s","type":"a","userid":"u","time":"` + now() + `",` + m + `}]`
		}},
	}
	deep := strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000)
	members := map[string]string{
		"deep":                  `"properties":{"a":` + deep + `},"data":` + deep + `,"traits":{"a":` + deep + `}`,
		"deep at the top":       `"x":` + deep,
		"huge number":           `"properties":{"a":1e999999},"data":{"a":1e999999},"traits":{"a":1e999999},"value":1e400`,
		"huge integer":          `"properties":{"revenue":` + strings.Repeat("9", 400) + `},"data":{"value":` + strings.Repeat("9", 400) + `},"value":` + strings.Repeat("9", 400),
		"repeated":              `"type":"b","type":"c","userId":"v","user_id":"v","user_id":"w","id":"k","id":"l"`,
		"repeated in object":    `"properties":{"a":1,"a":2},"data":{"a":1,"a":2},"traits":{"a":1,"a":2}`,
		"invalid UTF-8":         "\"properties\":{\"a\":\"\xff\xfe\"},\"data\":{\"a\":\"\xc3\x28\"},\"name\":\"\xed\xa0\x80\"",
		"NUL":                   `"properties":{"a":"\u0000"},"data":{"a":"\u0000"},"traits":{"a":"\u0000"},"path":"\u0000"`,
		"NUL in names":          `"properties":{"\u0000":1},"data":{"\u0000":1},"traits":{"\u0000":1}`,
		"half a surrogate":      `"properties":{"a":"\ud800"},"data":{"a":"\udc00\ud800"},"traits":{"a":"\ud800"}`,
		"year 0":                `"timestamp":"0000-01-01T00:00:00Z","time":"0000-01-01T00:00:00Z"`,
		"year 1":                `"timestamp":"0001-01-01T00:00:00Z","time":"0001-01-01T00:00:00Z"`,
		"year 10000":            `"timestamp":"10000-01-01T00:00:00Z","time":"10000-01-01T00:00:00Z"`,
		"year 9999":             `"timestamp":"9999-12-31T23:59:60Z","time":"9999-12-31T23:59:59.999999999Z"`,
		"other kinds":           `"timestamp":{},"time":[],"properties":"x","context":[1],"data":false,"userId":{},"messageId":[],"traits":7`,
		"long texts":            `"path":"` + strings.Repeat("x", 20<<10) + `"`,
		"long names":            `"` + strings.Repeat("n", 20<<10) + `":1`,
		"long id":               `"id":"` + strings.Repeat("i", 20<<10) + `","messageId":"m"`,
		"nested context":        `"context":{"page":{"path":{},"url":"%zz://["},"location":"x","userAgent":"` + strings.Repeat("(;", 5000) + `","device":{"type":9}}`,
		"cut off":               `"properties":{"a":"`,
		"text behind the event": `"properties":{}} x {`,
		"control character":     "\"properties\":{\"a\":\"\x01\"}",
		"nothing wrong":         `"properties":{},"x":1`,
	}
	var accepted int64
	count := func(r reply, what string) {
		t.Helper()
		require.Less(t, r.status, 500, "%s: %s", what, r.body)
		if r.status >= 400 {
			require.Equal(t, "application/problem+json", r.header.Get("Content-Type"), what)
			var p problem
			r.into(t, &p)
			require.NotEmpty(t, p.Detail, what)
			return
		}
		var a struct {
			Success bool
			answer
		}
		r.into(t, &a)
		if a.Success { // Segment's answer
			a.Accepted++
		}
		require.LessOrEqual(t, a.Accepted, 1, what)
		accepted += int64(a.Accepted)
		if a.Accepted == 0 && len(a.Results) > 0 { // a batch of CloudEvents may be empty
			require.NotEmpty(t, a.Results[0].Errors, "%s: nothing says why: %s", what, r.body)
		}
	}
	for _, e := range entrances {
		for name, member := range members {
			what := fmt.Sprintf("%s as %s: %s", e.path, e.contentType, name)
			count(postWhenUp(t, w.ingestion+e.path, e.contentType, e.body(member)), what)
			count(postWhenUp(t, w.ingestion+e.path, e.contentType, string(compressed(t, "gzip", e.body(member))), "Content-Encoding", "gzip"), what+", gzip")
		}
		for name, body := range map[string]string{
			"empty": "", "space": " \n", "null": "null", "number": "7", "string": `"x"`, "array": "[]", "arrays": "[[[]]]", "object": "{}", "byte order mark": "\ufeff{}",
			"UTF-16": "\xff\xfe{\x00}\x00", "opened": strings.Repeat("{\"a\":", 10_000), "zeros": strings.Repeat("\x00", 1000), "many objects": strings.Repeat("{}", 1000),
		} {
			count(postWhenUp(t, w.ingestion+e.path, e.contentType, body), e.path+" "+name)
		}
		for _, encoding := range []string{"gzip", "deflate", "zstd"} {
			whole := e.body(`"properties":{}`)
			good := compressed(t, encoding, whole)
			for name, body := range map[string][]byte{
				"bomb":      compressed(t, encoding, strings.Repeat(strings.Repeat(" ", 1<<20), 12)+whole),
				"truncated": good[:len(good)/2], "shortened": good[:len(good)-1], "empty": {}, "plain": []byte(whole),
				"another": compressed(t, map[string]string{"gzip": "zstd", "deflate": "gzip", "zstd": "deflate"}[encoding], whole),
				"twice":   compressed(t, encoding, string(good)),
			} {
				r := postWhenUp(t, w.ingestion+e.path, e.contentType, string(body), "Content-Encoding", encoding)
				require.Contains(t, []int{400, 413, 422}, r.status, "%s %s %s: %s", e.path, encoding, name, r.body)
				count(r, name)
			}
			count(postWhenUp(t, w.ingestion+e.path, e.contentType, string(good), "Content-Encoding", encoding), encoding)
		}
		require.Equal(t, http.StatusUnsupportedMediaType,
			postWhenUp(t, w.ingestion+e.path, e.contentType, "{}", "Content-Encoding", "br").status, e.path)
	}
	for name, query := range map[string]string{
		"deep": "user_id=u&properties=" + deep, "number": "user_id=u&value=1e999", "UTF-8": "user_id=%ff", "NUL": "user_id=%00", "year 0": "user_id=u&time=0000-01-01T00:00:00Z",
		"year 10000": "user_id=u&time=10000-01-01T00:00:00Z", "twice": "type=a&type=b", "semicolons": "a;b;c", "half": "%", "long": "user_id=u&x=" + strings.Repeat("x", 30<<10),
	} {
		r := do(t, http.MethodGet, w.ingestion+"/v1/pixel.gif?"+query, "", "")
		require.Equal(t, http.StatusOK, r.status, name)
		require.Contains(t, r.header.Get("Weir-Result"), "rejected: ", name)
	}

	settle(t, w)
	require.Equal(t, accepted, number(t, w.pool, `SELECT count(*) FROM events`), "what the results say is what is stored")
	require.Zero(t, number(t, w.pool, `SELECT count(*) FROM dead_letters`), "what was accepted can be stored")
	require.Equal(t, http.StatusOK, do(t, http.MethodGet, w.ingestion+"/readyz", "", "").status)
}

func compressed(t *testing.T, encoding, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch encoding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "zstd":
		var err error
		w, err = zstd.NewWriter(&b)
		require.NoError(t, err)
	}
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}
