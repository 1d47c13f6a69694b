package event_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"weir/services/shared/event"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const full = `{"id":"0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f","type":"purchase","time":"2026-03-01T11:59:58.123456Z","source":"web-shop","user_id":"u-17","anonymous_id":"a-9","session_id":"s-4","path":"/checkout/done","referrer":"https://www.example.com/","country":"DE","device":"mobile","browser":"Firefox","os":"Android","value":49.95,"currency":"EUR","properties":{"order":"A-1","items":[{"sku":"x","n":2}],"gift":false}}`

func parse(payload string) (event.Event, event.Invalid) {
	var e event.Event
	v := e.Parse(payload)
	return e, e.Validate(now, v)
}

func TestEventSurvivesTheStreamUnchanged(t *testing.T) {
	t.Parallel()
	e, invalid := parse(full)
	require.Empty(t, invalid)
	require.Equal(t, full, string(e.AppendJSON(nil)))
	require.Equal(t, int64(49_950_000), e.Value)
}

func TestEveryFaultOfAnEventIsNamed(t *testing.T) {
	t.Parallel()
	_, invalid := parse(`{"id":7,"type":"Page View","time":"yesterday","country":"Germany","value":"12","properties":[],"colour":"red"}`)
	var fields []string
	for _, f := range invalid {
		fields = append(fields, f.Field)
	}
	require.ElementsMatch(t, []string{"id", "type", "time", "country", "value", "properties", "colour", "source", "user_id"}, fields)
}

func TestOfVeryManyFaultsTheFirstAreTold(t *testing.T) {
	t.Parallel()
	_, invalid := parse(`{"type":"Page View"` + strings.Repeat(`,"x":1`, 10_000) + `}`)
	require.Len(t, invalid, event.MaxFaults+1)
	require.Equal(t, "x", invalid[0].Field)
	require.True(t, strings.HasSuffix(invalid.Error(), "x is not a field of an event: put it in properties; … and 9985 more faults"), invalid.Error())
	require.Less(t, cap(invalid), 10*event.MaxFaults, "the others' memory is not kept")
}

func TestInvalidEvents(t *testing.T) {
	t.Parallel()
	with := func(member string) string { return strings.TrimSuffix(full, "}") + "," + member + "}" }
	swap := func(old, new string) string { return strings.Replace(full, old, new, 1) }
	for name, c := range map[string]struct{ payload, field, rule string }{
		"empty":              {``, "", "JSON object"},
		"array":              {`[]`, "", "JSON object"},
		"truncated":          {full[:200], "", "not valid JSON"},
		"trailing text":      {full + "x", "", "after the event"},
		"trailing comma":     {`{"id":"x",}`, "", "not valid JSON"},
		"repeated field":     {with(`"os":"iOS"`), "os", "twice"},
		"NUL":                {swap("/checkout", `/\u0000`), "path", "NUL"},
		"NUL in properties":  {swap("A-1", `\u0000`), "properties", "NUL"},
		"lone surrogate":     {swap("A-1", `\ud800`), "properties", "surrogate"},
		"invalid UTF-8":      {swap("A-1", "\xff"), "", "UTF-8"},
		"raw control":        {swap("A-1", "\x01"), "", "control"},
		"huge number":        {swap("false", "1e999999"), "properties", "float64"},
		"very fine number":   {swap("false", decimal(16_384)), "properties", "16383 decimal places"},
		"huge value":         {swap("49.95", "1e12"), "value", "must be a number"},
		"leading zero":       {swap("49.95", "049"), "", "leading zero"},
		"deep":               {swap("false", strings.Repeat("[", 10_000)+strings.Repeat("]", 10_000)), "", "nested too deeply"},
		"big properties":     {swap("A-1", strings.Repeat("x", event.MaxPropertiesSize)), "properties", "at most"},
		"big event":          {swap("A-1", strings.Repeat("x", event.MaxSize)), "", "at most"},
		"year 0":             {swap("2026-03-01T", "0000-03-01T"), "time", "before"},
		"year 1":             {swap("2026-03-01T11:59:58.123456Z", "0001-01-01T00:00:00Z"), "time", "before"},
		"year 10000":         {swap("2026-03-01T", "10000-03-01T"), "time", "RFC 3339"},
		"far future":         {swap("2026-03-01T", "2026-03-03T"), "time", "ahead"},
		"no zone":            {swap("456Z", "456"), "time", "RFC 3339"},
		"nil id":             {swap("0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f", "00000000-0000-0000-0000-000000000000"), "id", "UUID"},
		"id is no UUID":      {swap("0193a5b0-7c1e-7e4f-9d2a-3f5b8c6d7e1f", "order-17"), "id", "UUID"},
		"lower-case country": {swap(`"DE"`, `"de"`), "country", "ISO 3166"},
		"long path":          {swap("/checkout", "/"+strings.Repeat("x", 3000)), "path", "2048"},
		"source with spaces": {swap("web-shop", "web shop"), "source", "letters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, invalid := parse(c.payload)
			require.Len(t, invalid, 1, "%v", invalid)
			require.Equal(t, c.field, invalid[0].Field)
			require.Contains(t, invalid[0].Rule, c.rule)
		})
	}
}

// decimal is a number with so many decimal places, in fewer digits.
func decimal(places int) string { return "0." + strings.Repeat("0", places-301) + "1e-300" }

func TestNumbersThatPostgreSQLHasRoomForAreStorable(t *testing.T) {
	t.Parallel()
	for _, number := range []string{decimal(16_383), strings.Replace(decimal(16_384), "e-", "e+", 1), "1e-300", "1e308"} {
		_, invalid := parse(`{"properties":{"x":` + number + `}}`)
		require.False(t, invalid.Has("properties"), "%v", invalid)
	}
}

func TestValueIsExactToSixPlaces(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0": "0", "-0": "0", "0.1": "0.1", "-1.5": "-1.5", "19.99": "19.99", "0.30000000000000004": "0.3",
		"0.0000005": "0.000001", "-0.0000005": "-0.000001", "1.0000004": "1", "1e3": "1000", "2.5E-3": "0.0025",
		"999999999999.999999": "999999999999.999999",
	} {
		e, invalid := parse(strings.Replace(full, "49.95", text, 1))
		require.Empty(t, invalid, text)
		require.Equal(t, want, string(event.AppendMicros(nil, e.Value)), text)
	}
}

func TestAValueIsNoFaultOfTheNextField(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"1e-320", decimal(16_384)} {
		e, invalid := parse(strings.Replace(full, "49.95", value, 1))
		require.Empty(t, invalid)
		require.True(t, e.HasValue)
		require.Zero(t, e.Value)
	}
	_, invalid := parse(strings.Replace(full, "49.95", `"\u0000"`, 1))
	require.Len(t, invalid, 1)
	require.Equal(t, "value", invalid[0].Field)
}

func TestEscapesAreResolved(t *testing.T) {
	t.Parallel()
	e, invalid := parse(strings.Replace(full, "/checkout/done", `\/caf\u00e9 \"\\\b\f\n\r\t\ud83d\ude00`, 1))
	require.Empty(t, invalid)
	require.Equal(t, "/café \"\\\b\f\n\r\t😀", e.Path)
	again, invalid := parse(string(e.AppendJSON(nil)))
	require.Empty(t, invalid)
	require.Equal(t, e, again)
}

func TestDerivedIDIsStableAndSortsByTime(t *testing.T) {
	t.Parallel()
	a := event.DeriveID(now, "web", "msg-1")
	require.Equal(t, a, event.DeriveID(now, "web", "msg-1"))
	require.NotEqual(t, a, event.DeriveID(now, "app", "msg-1"))
	require.NotEqual(t, event.DeriveID(now, "a", "bc"), event.DeriveID(now, "ab", "c"))
	later := event.DeriveID(now.Add(time.Millisecond), "web", "msg-0")
	require.Less(t, a.String(), later.String())
	require.Less(t, event.NewID(now).String(), event.NewID(now.Add(time.Millisecond)).String())
	back, ok := event.ParseUUID(strings.ToUpper(a.String()))
	require.True(t, ok)
	require.Equal(t, a, back)
}

func TestPartitionsShareTheActors(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"events"}, event.StreamKeys("events", 1))
	require.Equal(t, []string{"events:{0}", "events:{1}"}, event.StreamKeys("events", 2))
	counts := make([]int, 4)
	for i := range 4000 {
		counts[event.Partition("user-"+string(rune('a'+i%26))+strings.Repeat("x", i/26), 4)]++
	}
	for _, n := range counts {
		require.InDelta(t, 1000, n, 250)
	}
}

// FuzzParse holds the parser to encoding/json: what it accepts is JSON, and what
// is JSON but not an event gets a fault that says so.
func FuzzParse(f *testing.F) {
	f.Add(full)
	f.Add(`{"properties":{"a":[1,-0.5e-3,null,true,"\u00e9\ud83d\ude00"]},"x":{}}`)
	f.Add(`{"id":"","time":"2026-03-01T11:59:58+02:00"}`)
	f.Fuzz(func(t *testing.T, payload string) {
		var e event.Event
		v := e.Parse(payload)
		if len(payload) > event.MaxSize {
			require.NotEmpty(t, v)
			return
		}
		valid := json.Valid([]byte(payload)) && utf8.ValidString(payload)
		syntax := len(v) == 1 && v[0].Field == ""
		if syntax && strings.Contains(v[0].Rule, "nested too deeply") {
			return
		}
		if !valid {
			require.True(t, syntax, "accepted what is not JSON")
			return
		}
		isObject := strings.HasPrefix(strings.TrimLeft(payload, " \t\r\n"), "{")
		require.Equal(t, isObject, !syntax, "refused JSON: %v", v)
		if v = e.Validate(now, v); len(v) > 0 {
			return
		}
		var again event.Event
		require.Empty(t, again.Validate(now, again.Parse(string(e.AppendJSON(nil)))))
		require.Equal(t, e, again)
	})
}

func BenchmarkParse(b *testing.B) {
	b.SetBytes(int64(len(full)))
	b.ReportAllocs()
	var e event.Event
	for b.Loop() {
		if v := e.Validate(now, e.Parse(full)); v != nil {
			b.Fatal(v)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	e, _ := parse(full)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendJSON(buf[:0])
	}
}
