package cloudevent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"weir/services/ingestion/internal/collector"
	"weir/services/shared/event"
)

func keyOf(source, id string) string {
	sum := sha256.Sum256([]byte(source + "\x00" + id))
	return hex.EncodeToString(sum[:])
}

const attributes = `"specversion":"1.0","id":"1","source":"/s","type":"com.example.Order.Completed","time":"2026-01-02T15:04:05Z"`

func TestCloudEventsBecomeEvents(t *testing.T) {
	t.Parallel()
	const head = `"type":"com.example.order.completed","time":"2026-01-02T15:04:05Z"`
	const rest = `"cloudevent":{"id":"1","source":"/s","type":"com.example.Order.Completed"`
	for name, c := range map[string]struct{ given, event string }{
		"fields of the event in the data": {`"data":{"user_id":"u1","value":49.95,"currency":"eur","path":"/p","country":"DE","order":"A-1","properties":{"a":1,"order":"hidden"}}`,
			`{"id":"KEY",` + head + `,"user_id":"u1","path":"/p","country":"DE","value":49.95,"currency":"EUR","properties":{"a":1,"order":"A-1",` + rest + `}}}`},
		"what does not fit is a property": {`"userid":"u1","data":{"country":"Germany","value":{"net":1},"path":[]}`,
			`{"id":"KEY",` + head + `,"user_id":"u1","properties":{"country":"Germany","value":{"net":1},"path":[],` + rest + `}}}`},
		"data that is no object": {`"anonymousid":"a1","subject":"x","data":[1,2]`,
			`{"id":"KEY",` + head + `,"anonymous_id":"a1","properties":{"data":[1,2],` + rest + `,"subject":"x"}}}`},
		"JSON as base64": {`"datacontenttype":"application/vnd.x+json; charset=utf-8","data_base64":"eyJ1c2VyX2lkIjoidTEifQ=="`,
			`{"id":"KEY",` + head + `,"user_id":"u1","properties":{` + rest + `,"datacontenttype":"application/vnd.x+json; charset=utf-8"}}}`},
		"bytes": {`"authid":"u1","myflag":true,"mynumber":7,"datacontenttype":"image/png","data_base64":"/wA="`,
			`{"id":"KEY",` + head + `,"user_id":"u1","properties":{"data_base64":"/wA=",` + rest + `,"datacontenttype":"image/png","myflag":"true","mynumber":"7"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			payload, faults := structured(`{` + attributes + `,` + c.given + `}`)
			require.Empty(t, faults)
			require.JSONEq(t, strings.Replace(c.event, "KEY", keyOf("/s", "1"), 1), payload)
		})
	}
}

func TestBinaryModeSaysTheSame(t *testing.T) {
	t.Parallel()
	header := http.Header{}
	for name, value := range map[string]string{
		"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "com.example.Order.Completed", "ce-time": "2026-01-02T15:04:05Z", "ce-subject": "caf%C3%A9",
	} {
		header.Set(name, value)
	}
	got, faults := binary(header, "application/json", `{"user_id":"u1","n":1}`)
	require.Empty(t, faults)
	want, faults := structured(`{` + attributes + `,"subject":"café","datacontenttype":"application/json","data":{"user_id":"u1","n":1}}`)
	require.Empty(t, faults)
	require.JSONEq(t, want, got)

	header.Set("ce-subject", "%zz")
	_, faults = binary(header, "", "")
	require.True(t, faults.Has("subject"))
	header["Ce-Id"] = []string{"1", "2"}
	header.Del("ce-subject")
	_, faults = binary(header, "", "")
	require.True(t, faults.Has("id"))
}

func TestBatchesAreArraysOfBoundedLength(t *testing.T) {
	t.Parallel()
	for body, n := range map[string]int{
		`[]`: 0, " [ 1 ,\n{\"a\":[]}, \"\xff\"] ": 3, "[1" + strings.Repeat(",1", collector.MaxEvents-1) + "]": collector.MaxEvents,
	} {
		events, err := batched(body)
		require.NoError(t, err)
		require.Len(t, events.Payloads, n)
	}
	for _, bad := range []string{``, `null`, `1`, `{}`, `{"a":1}`, `[`, `[1`, `[1,`, `[1,]`, `[,1]`, `[1 2]`, `[]]`, `[] 1`, `[{"a":}]`, `[{]}`} {
		_, err := batched(bad)
		require.ErrorContains(t, err, "must be a JSON array", bad)
	}
	_, err := batched("[1" + strings.Repeat(",1", collector.MaxEvents) + "]")
	require.ErrorContains(t, err, "at most 20000")
}

// A body of 10 MiB can hold millions of CloudEvents of one byte.
func TestABatchIsSplitNoFurtherThanMaxEvents(t *testing.T) {
	body := "[1" + strings.Repeat(",1", 4<<20) + "]"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := batched(body)
	runtime.ReadMemStats(&after)
	require.ErrorContains(t, err, "at most 20000")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
}

func TestOfACloudEventsManyFaultsTheFirstAreTold(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, `,"a%d":[]`, i)
	}
	_, faults := structured(`{` + attributes + text.String() + `}`)
	require.Len(t, faults, event.MaxFaults+1)
}

func TestFaultsOfCloudEventsAreNamed(t *testing.T) {
	t.Parallel()
	for given, field := range map[string]string{
		`{"specversion":"1.0"}`: "id",
		`{"specversion":"0.3"}`: "specversion",
		`{"id":{},"source":[]}`: "source",
		`[]`:                    "",
		"{\"id\":\"\xff\"}":     "",
		`{` + attributes + `,"data":1,"data_base64":"AA=="}`: "data_base64",
		`{` + attributes + `,"data_base64":"%"}`:             "data_base64",
	} {
		_, faults := structured(given)
		require.True(t, faults.Has(field), "%s: %v", given, faults)
	}
}

// FuzzStructured: whatever comes, there is a fault, or JSON that package event can judge.
func FuzzStructured(f *testing.F) {
	f.Add(`{` + attributes + `,"data":{"user_id":"u1","value":49.95}}`)
	f.Add(`{` + attributes + `,"data_base64":"/wA=","datacontenttype":"application/json"}`)
	f.Add(`{` + attributes + `,"id":"2","data":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`)
	f.Add(`{` + attributes + `,"subject":"\u0000","data":{"x":1e999,"cloudevent":1,"properties":{"cloudevent_":null}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		payload, faults := structured(text)
		judge(t, payload, faults)
	})
}

func FuzzBinary(f *testing.F) {
	f.Add("1", "/s", "com.example", "2026-01-02T15:04:05Z", "caf%C3%A9", "application/json", `{"user_id":"u1"}`)
	f.Add("%", "\xff", "%00", "0000-01-01T00:00:00Z", "", "text/plain; charset=\"", "\xff\x00")
	f.Fuzz(func(t *testing.T, id, source, kind, at, subject, contentType, content string) {
		header := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {id}, "Ce-Source": {source}, "Ce-Type": {kind}, "Ce-Time": {at}, "Ce-Subject": {subject}}
		payload, faults := binary(header, contentType, content)
		judge(t, payload, faults)
	})
}

func judge(t *testing.T, payload string, faults event.Invalid) {
	t.Helper()
	if faults != nil {
		return
	}
	require.True(t, json.Valid([]byte(payload)), payload)
	require.True(t, utf8.ValidString(payload), payload)
	var e event.Event
	e.Validate(time.Now(), e.Parse(payload))
}
