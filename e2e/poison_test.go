package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/shared/event"
)

// poisons are what anybody with XADD could put on the stream: what makes each of it,
// from a number that makes it unlike the others, and the stage and reason that its
// dead letter must tell.
var poisons = []struct {
	name, stage, reason string
	payload             func(i int) string
}{
	{"broken JSON", "decode", "is not valid JSON", func(i int) string { return draft(i)[:40] + fmt.Sprint(i) }},
	{"no JSON", "decode", "must be a JSON object", func(i int) string { return fmt.Sprintf("\xff\xfe%d", i) }},
	{"an array", "decode", "must be a JSON object", func(i int) string { return fmt.Sprintf("[%d]", i) }},
	{"a NUL byte in a field", "validate", "user_id must not contain the NUL character", func(i int) string {
		return draft(i, `"user_id":"\u0000"`)
	}},
	{"a NUL byte in the properties", "validate", "properties", func(i int) string { return draft(i, `"user_id":"u"`, `"properties":{"a":"\u0000"}`) }},
	{"a huge value", "validate", "value must be a number between", func(i int) string { return draft(i, `"user_id":"u"`, `"value":1e400`) }},
	{"a huge number in the properties", "validate", "properties", func(i int) string { return draft(i, `"user_id":"u"`, `"properties":{"n":1e999999}`) }},
	{"deep nesting", "decode", "is not valid JSON", func(i int) string {
		return draft(i, `"user_id":"u"`, `"properties":`+strings.Repeat(`{"a":`, 10_000)+"1"+strings.Repeat("}", 10_000))
	}},
	{"a wrong time", "validate", "time must be an RFC 3339 time", func(i int) string { return draft(i, `"user_id":"u"`, `"time":"yesterday"`) }},
	{"oversized properties", "validate", "properties must be at most", func(i int) string {
		return draft(i, `"user_id":"u"`, `"properties":{"a":"`+strings.Repeat("x", event.MaxPropertiesSize)+`"}`)
	}},
	{"an oversized event", "decode", "event must be at most", func(i int) string { return draft(i, `"user_id":"`+strings.Repeat("x", event.MaxSize)+`"`) }},
	{"a lone surrogate", "validate", "properties", func(i int) string { return draft(i, `"user_id":"u"`, `"properties":{"a":"\ud800"}`) }},
	{"nobody who did it", "validate", "user_id is required", func(i int) string { return draft(i) }},
}

// draft is an event of a series, with further members; its time unless they give one.
func draft(i int, members ...string) string {
	if !strings.Contains(strings.Join(members, ""), `"time"`) {
		members = append(members, `"time":"`+noon.Add(time.Duration(i)*time.Second).Format(time.RFC3339)+`"`)
	}
	return fmt.Sprintf(`{"id":"0193a5b0-7c1e-7e4f-9d2a-%012d","type":"click","source":"s",%s}`, i, strings.Join(members, ","))
}

// noon is some time in the past.
var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// TestPoisonAmongMuchTrafficIsOneDeadLetterEach mixes 1% of poison, of every kind, into
// ordinary traffic.
func TestPoisonAmongMuchTrafficIsOneDeadLetterEach(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	pool := open(t, box)
	s := harness.Seed(t)
	random := rand.New(rand.NewPCG(s, 2))
	tr := newTraffic(t, box, s, untidy)
	const events = 20_000
	var batch []string
	sent := make([]int64, len(poisons))
	flush := func() {
		require.NoError(t, tr.add(t.Context(), batch))
		batch = batch[:0]
	}
	run(t, box, "weir-consumer", append(hasty, "BATCH_MAX_EVENTS=2000")...)
	for i := range events {
		item, _ := tr.source.Next(nil)
		batch = append(batch, string(item.Payload))
		if random.IntN(100) == 0 {
			kind := random.IntN(len(poisons))
			batch = append(batch, poisons[kind].payload(i))
			sent[kind]++
		}
		if len(batch) >= 500 {
			flush()
		}
	}
	flush()
	drained(t, box)

	total := int64(0)
	for kind, p := range poisons {
		require.Positive(t, sent[kind], "seed %d has no %s", s, p.name)
		total += sent[kind]
	}
	want := tr.oracle.Counts()
	require.Equal(t, want.Stored(), number(t, pool, `SELECT count(*) FROM events`), "every good event is stored")
	require.Equal(t, want.Malformed+total, number(t, pool, `SELECT count(*) FROM dead_letters`), "every bad one is a dead letter, once")
	rollupsEqualRaw(t, pool)
	require.Equal(t, want.Malformed+total, number(t, pool, `SELECT count(DISTINCT payload) FROM dead_letters`))
}

// TestEachKindOfPoisonIsDeadLetteredForItsReason lets each kind come alone, among good
// events.
func TestEachKindOfPoisonIsDeadLetteredForItsReason(t *testing.T) {
	t.Parallel()
	w := start(t)
	client := connect(t, w.box)
	tr := traffic{client: client, stream: w.box.StreamName}
	for i, p := range poisons {
		require.NoError(t, tr.add(t.Context(), []string{p.payload(2 * i), draft(2*i+1, `"user_id":"u"`)}))
	}
	require.NoError(t, tr.add(t.Context(), []string{""}))
	n := int64(len(poisons))
	reach(t, w.pool, n, `SELECT count(*) FROM events`)
	reach(t, w.pool, n+1, `SELECT count(*) FROM dead_letters`)
	for i, p := range poisons {
		var stage, reason string
		require.NoError(t, w.pool.QueryRow(t.Context(), `SELECT stage, reason FROM dead_letters WHERE payload = $1`, []byte(p.payload(2*i))).Scan(&stage, &reason), p.name)
		require.Equal(t, p.stage, stage, "%s: %s", p.name, reason)
		require.Contains(t, reason, p.reason, p.name)
	}
	rollupsEqualRaw(t, w.pool)
}

// TestSkewedClocksAndLateEventsCountWhereTheyHappened has producers whose clocks are
// wrong, and events that arrive long after they happened.
func TestSkewedClocksAndLateEventsCountWhereTheyHappened(t *testing.T) {
	t.Parallel()
	w := start(t)
	now := time.Now().UTC().Truncate(time.Second)
	tr := traffic{client: connect(t, w.box), stream: w.box.StreamName}
	tooNew, tooOld := "must not be more than 24h0m0s ahead", "must not be before 2000"
	cases := []struct {
		name   string
		time   time.Time
		reason string // of the dead letter; "" when it is stored
	}{
		{"a minute ahead", now.Add(time.Minute), ""},
		{"nearly a day ahead", now.Add(event.MaxFuture - 5*time.Minute), ""},
		{"more than a day ahead", now.Add(event.MaxFuture + 5*time.Minute), tooNew},
		{"in the far future", now.AddDate(70, 0, 0), tooNew},
		{"an hour late", now.Add(-time.Hour), ""},
		{"a week late", now.AddDate(0, 0, -7), ""},
		{"months late", now.AddDate(0, -7, 0), ""},
		{"years late", now.AddDate(-12, 0, 0), ""},
		{"from the first moment", event.MinTime, ""},
		{"from before it", event.MinTime.Add(-time.Second), tooOld},
		{"from a clock that was never set", time.Unix(0, 0).UTC(), tooOld},
	}
	var payloads []string
	stored, dead := int64(0), int64(0)
	for i, c := range cases {
		payloads = append(payloads, draft(i, `"user_id":"u"`, `"path":"`+c.name+`"`, `"time":"`+c.time.Format(time.RFC3339)+`"`))
		if c.reason == "" {
			stored++
		} else {
			dead++
		}
	}
	require.NoError(t, tr.add(t.Context(), payloads))
	require.NoError(t, tr.add(t.Context(), payloads)) // a retry, which is as late
	reach(t, w.pool, 2*dead, `SELECT count(*) FROM dead_letters WHERE stage = 'validate'`)
	reach(t, w.pool, stored, `SELECT count(*) FROM events`)
	settle(t, w)
	for i, c := range cases {
		if c.reason != "" {
			require.EqualValues(t, 2, number(t, w.pool, `SELECT count(*) FROM dead_letters WHERE payload = $1 AND reason LIKE '%' || $2 || '%'`,
				[]byte(payloads[i]), c.reason), c.name)
			continue
		}
		for view, unit := range map[string]string{"minutes": "minute", "hours": "hour", "days": "day"} {
			require.EqualValues(t, 1, number(t, w.pool, `
				SELECT coalesce(sum(v.events), 0)::bigint FROM `+view+` v JOIN rollup_keys k ON k.id = v.key_id
				WHERE k.dimension = 1 AND k.value = $1 AND bucket = date_trunc($3, $2::timestamptz, 'UTC')`,
				c.name, c.time, unit), "%s, by %s", c.name, unit)
		}
	}
	rollupsEqualRaw(t, w.pool)
}
