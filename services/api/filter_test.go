package api_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/migrations"
	"weir/services/api/internal/filter"
	"weir/services/shared/event"
)

// Every expression, made up at random, takes the same events as SQL and as Go.
func TestSQLAndMatchTakeTheSameEvents(t *testing.T) {
	t.Parallel()
	box := harness.NewSandbox(t)
	_, err := migrations.Up(t.Context(), box.PostgresURL)
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), box.PostgresURL)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()

	r := chance(t)
	made := maker{r}
	events := made.events(300)
	for i := range events {
		e := &events[i]
		_, err := conn.Exec(t.Context(), `
			INSERT INTO events (id, time, type, source, user_id, anonymous_id, session_id, path, referrer, country, device, browser, os, value, currency, properties)
			VALUES (gen_random_uuid(), $1, $2, $3, nullif($4, ''), nullif($5, ''), nullif($6, ''), nullif($7, ''), nullif($8, ''), nullif($9, ''),
			        nullif($10, ''), nullif($11, ''), nullif($12, ''), nullif($13, '')::numeric, nullif($14, ''), nullif($15, '')::jsonb)`,
			e.Time, e.Type, strconv.Itoa(i), e.UserID, e.AnonymousID, e.SessionID, e.Path, e.Referrer, e.Country,
			e.Device, e.Browser, e.OS, valueText(e), e.Currency, e.Properties)
		require.NoError(t, err)
		e.Source = strconv.Itoa(i)
	}
	taken := 0
	for range 600 {
		text := made.expression(3)
		e, err := filter.Parse(text)
		require.NoError(t, err, text)
		var want []string
		for i := range events {
			if e.Match(&events[i]) {
				want = append(want, events[i].Source)
			}
		}
		var args []any
		sql := e.SQL(func(v any) string { args = append(args, v); return "$" + strconv.Itoa(len(args)) })
		rows, err := conn.Query(t.Context(), "SELECT source FROM events WHERE "+sql, args...)
		require.NoError(t, err)
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err, "%s\n%s", text, sql)
		require.ElementsMatch(t, want, got, "%s\n%s", text, sql)
		if len(want) > 0 && len(want) < len(events) {
			taken++
		}
	}
	require.Greater(t, taken, 200, "most expressions must tell events apart")
}

func valueText(e *event.Event) string {
	if !e.HasValue {
		return ""
	}
	return string(event.AppendMicros(nil, e.Value))
}

// maker makes events and expressions from the same few values, awkward ones among them.
type maker struct{ *rand.Rand }

func (m maker) pick(from ...string) string { return from[m.IntN(len(from))] }

func (m maker) text() string {
	return m.pick("a", "A", "ä", "%", "_", "a'b", `a\"b`, `\\`, "/blog/x", "$1", "", "\\u00e9", "1")
}

func (m maker) number() string {
	return m.pick("0", "-0", "1", "1.0", "10", "1e1", "-1", "0.000001", "1e300", "-1e-300", "999999999999.999999", "12.5")
}

func (m maker) literal() string {
	switch m.IntN(4) {
	case 0:
		return m.number()
	case 1:
		return m.pick("true", "false")
	default:
		return `"` + m.text() + `"`
	}
}

func (m maker) value(depth int) string {
	switch n := m.IntN(6); {
	case n == 0:
		return "null"
	case n == 1:
		return "[" + m.literal() + "]"
	case n == 2 && depth > 0:
		return m.object(depth - 1)
	default:
		return m.literal()
	}
}

func (m maker) object(depth int) string {
	var members []string
	for range m.IntN(5) {
		members = append(members, `"`+m.pick("p", "q", "odd name", "0", "a'b", "p")+`":`+m.value(depth))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (m maker) events(n int) []event.Event {
	plain := func() string {
		return m.pick("a", "A", "ä", "%", "_", "a'b", `a"b`, `\`, "/blog/x", "$1", "", "é", "1")
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	list := make([]event.Event, n)
	for i := range list {
		list[i] = event.Event{
			Type: m.pick("a", "b", "c"), Time: start.Add(time.Duration(m.IntN(5)) * time.Microsecond),
			UserID: plain(), AnonymousID: plain(), SessionID: plain(), Path: plain(), Referrer: plain(),
			Country: plain(), Device: plain(), Browser: plain(), OS: plain(), Currency: plain(),
		}
		if m.IntN(3) > 0 {
			list[i].HasValue = true
			list[i].Value = []int64{0, 1, -1_000_000, 10_000_000, 12_500_000, 999999999999999999}[m.IntN(6)]
		}
		if m.IntN(4) > 0 {
			list[i].Properties = m.object(2)
		}
	}
	return list
}

func (m maker) expression(depth int) string {
	switch n := m.IntN(5); {
	case depth == 0 || n < 2:
		return m.condition()
	case n == 2:
		return "not " + m.pick("(", " (") + m.expression(depth-1) + ")"
	default:
		return "(" + m.expression(depth-1) + m.pick(" and ", " or ", " AND ") + m.expression(depth-1) + ")"
	}
}

func (m maker) condition() string {
	var field string
	literal, order := m.literal, true
	switch m.IntN(6) {
	case 0:
		field, literal = "value", m.number
	case 1:
		field = "time"
		literal = func() string { return fmt.Sprintf(`"2026-01-01T0%d:00:00.00000%d+0%[1]d:00"`, m.IntN(3), m.IntN(5)) }
	case 2, 3:
		field, order = "properties", false
		for range 1 + m.IntN(2) {
			field += "." + m.pick("p", "q", `"odd name"`, `"0"`, `"a'b"`)
		}
	default:
		field, order = m.pick("type", "user_id", "anonymous_id", "session_id", "path", "referrer", "country", "device", "browser", "os", "currency"), false
		literal = func() string { return `"` + m.text() + `"` }
	}
	switch n := m.IntN(6); {
	case n == 0:
		return field + " exists"
	case n == 1:
		return field + m.pick(" in (", " not in (") + literal() + ", " + literal() + ", " + literal() + ")"
	case n == 2 && order:
		return field + m.pick(" < ", " <= ", " > ", " >= ") + literal()
	case n == 2 && strings.HasPrefix(field, "properties"):
		return field + m.pick(" < ", "<=", " > ", " >= ") + m.number()
	case n == 3 && !order:
		return field + ` contains "` + m.text() + `"`
	default:
		return field + m.pick(" is ", " is not ", " = ", " != ") + literal()
	}
}
