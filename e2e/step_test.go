package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/loadgen"
	"weir/services/consumer"
	"weir/services/shared/event"
)

// Nearly the shortest times that settings allow.
const (
	flushTimeout  = 2 * time.Second
	claimIdle     = 2500 * time.Millisecond
	claimInterval = 300 * time.Millisecond
)

var hasty = []string{
	"FLUSH_TIMEOUT=" + flushTimeout.String(), "CLAIM_MIN_IDLE=" + claimIdle.String(), "CLAIM_INTERVAL=" + claimInterval.String(),
	"CONSUMER_BLOCK=50ms", "BATCH_MAX_WAIT=5ms",
}

// frugal bounds what one consumer can have read to 140 entries, so that there is some
// for many.
var frugal = append(hasty, "CONSUMER_WRITERS=1", "CONSUMER_READ_SIZE=20", "BATCH_MAX_EVENTS=40")

// takeover is the time within which entries that a dead consumer left are stored and
// acknowledged, counted from when it was last seen: it must be missed, looked for, and
// one flush for its transaction to be given up or to be waited for. The rest is for a
// machine that runs other tests: measured, 0.4 to 2.8 s.
const takeover = claimIdle + claimInterval + flushTimeout + 5*time.Second

// commitSent stands for the moment between COMMIT and its answer.
const commitSent consumer.Step = "commit sent"

// TestConsumersKilledAtEachStepLoseAndDoubleNothing kills one consumer at each step of
// a flush, all in the same group, and asserts what each leaves behind. Then as many
// take over what these left, and are killed at each step of that. Then one finishes.
func TestConsumersKilledAtEachStepLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	pool := open(t, box)
	// Neat, so that each first batch goes all the way of first deliveries.
	tr := newTraffic(t, box, harness.Seed(t), loadgen.Faults{Late: 0.05, Malformed: 0.01})
	first, redelivered := consumer.Steps()

	tr.publish(t, 2000)
	// They leave each other's entries alone, however long it takes until all are dead.
	const alone = "CLAIM_MIN_IDLE=10m"
	pending, stored := leftBy(t, tr, pool, killAtCommit(t, box, pool, "first", alone, "FLUSH_TIMEOUT=1m"))
	require.Positive(t, pending, commitSent)
	require.Positive(t, stored, commitSent)
	for step, name := range killEach(t, box, first, "first", alone) {
		pending, stored := leftBy(t, tr, pool, name)
		switch step {
		case "gathered", "decoded", "keys resolved", "copying", "copied", "dead-lettered", "counted":
			require.Positive(t, pending, step)
			require.Zero(t, stored, step)
		case "committed", "published":
			require.Positive(t, pending, step)
			require.Positive(t, stored, step)
		case "acknowledged":
			require.Zero(t, stored, "what is stored is acknowledged, what is pending was only read ahead")
		default:
			t.Fatalf("nobody says what a crash leaves behind at %q", step)
		}
	}

	tr.publish(t, 2000)
	tr.hoard(t)
	killAtCommit(t, box, pool, "second", "FLUSH_TIMEOUT=5s", "CLAIM_MIN_IDLE=6s")
	killEach(t, box, redelivered, "second")

	takesOver(t, box)
	tr.check(t, box)
	require.Positive(t, number(t, pool, `SELECT count(*) FROM dead_letters`))
}

// takesOver runs a consumer that finishes in time what others left.
func takesOver(t *testing.T, box *harness.Sandbox) {
	t.Helper()
	run(t, box, "weir-consumer", append(hasty, "CONSUMER_NAME=heir", "BATCH_MAX_EVENTS=1000")...)
	start := time.Now()
	drained(t, box)
	took := time.Since(start)
	t.Logf("taken over within %v", took)
	require.Less(t, took, takeover)
}

// killEach runs one consumer for each step, until each has been killed at its own,
// and returns their names.
func killEach(t *testing.T, box *harness.Sandbox, steps []consumer.Step, prefix string, settings ...string) map[consumer.Step]string {
	t.Helper()
	names := map[consumer.Step]string{}
	var victims []faulty
	for _, step := range steps {
		names[step] = prefix + "-" + strings.ReplaceAll(string(step), " ", "-")
		victims = append(victims, runFaulty(t, box, killed, step, slices.Concat(frugal, settings, []string{"CONSUMER_NAME=" + names[step]})...))
	}
	for _, v := range victims {
		v.dies(t)
	}
	return names
}

// killAtCommit runs one consumer and kills it while PostgreSQL is busy with the COMMIT
// of its batch, which then comes to its end with nobody there to hear of it. It returns
// the consumer's name.
func killAtCommit(t *testing.T, box *harness.Sandbox, pool *pgxpool.Pool, prefix string, settings ...string) (name string) {
	t.Helper()
	name = prefix + "-commit-sent"
	// Each COMMIT of a batch waits for a lock, which is ours.
	_, err := pool.Exec(t.Context(), `
		CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			PERFORM pg_advisory_xact_lock_shared(1);
			RETURN NULL;
		END $$;
		CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON rollup_deltas DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION wait()`)
	require.NoError(t, err)
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(t.Context())
	_, err = tx.Exec(t.Context(), `SELECT pg_advisory_xact_lock(1)`)
	require.NoError(t, err)

	victim := run(t, box, "weir-consumer", slices.Concat(frugal, settings, []string{"CONSUMER_NAME=" + name})...)
	const committing = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
		AND application_name = 'weir-consumer' AND query ILIKE 'commit%' AND state = 'active'`
	reach(t, pool, 1, committing+` AND wait_event = 'advisory'`)
	victim.Kill()
	require.NoError(t, tx.Rollback(t.Context()))
	require.Eventually(t, func() bool { return number(t, pool, committing) == 0 }, patience, 5*time.Millisecond)
	_, err = pool.Exec(t.Context(), `DROP FUNCTION wait CASCADE`)
	require.NoError(t, err)
	return name
}

// leftBy counts the entries that a consumer left pending, and the events among them
// that are stored all the same.
func leftBy(t *testing.T, tr *traffic, pool *pgxpool.Pool, name string) (pending, stored int64) {
	t.Helper()
	list, err := tr.client.XPendingExt(t.Context(), &redis.XPendingExtArgs{
		Stream: tr.stream, Group: "weir", Consumer: name, Start: "-", End: "+", Count: 10_000,
	}).Result()
	require.NoError(t, err)
	var ids []string
	for _, mark := range list { // of a chunk of so many entries
		entries, err := tr.client.XRangeN(t.Context(), tr.stream, mark.ID, "+", mark.RetryCount).Result()
		require.NoError(t, err)
		require.Len(t, entries, int(mark.RetryCount), "nobody trims what is pending")
		pending += mark.RetryCount
		for _, entry := range entries {
			var e event.Event
			if payload := entry.Values[event.Field].(string); e.Validate(time.Now(), e.Parse(payload)) == nil {
				ids = append(ids, e.ID.String())
			}
		}
	}
	return pending, number(t, pool, `SELECT count(*) FROM events WHERE id = ANY ($1::uuid[])`, ids)
}

// TestFrozenConsumersThatComeBackDoubleNothing freezes consumers outside and at every
// stage of a transaction, with whatever locks they hold there. Others take over and finish; then the frozen ones
// wake up and go on where they were.
func TestFrozenConsumersThatComeBackDoubleNothing(t *testing.T) {
	t.Parallel()
	box := sandbox(t)
	tr := newTraffic(t, box, harness.Seed(t), loadgen.Faults{Late: 0.05, Malformed: 0.01})

	tr.publish(t, 2000)
	sleepers := freezeEach(t, box, []consumer.Step{"gathered", "copying", "copied", "counted", "committed"}, "first")
	tr.publish(t, 2000)
	tr.hoard(t)
	sleepers = append(sleepers, freezeEach(t, box, []consumer.Step{"staged", "inserted", "counted"}, "second")...)

	// Also one that was frozen in the middle of a transaction lets go of it in time.
	takesOver(t, box)

	for _, s := range sleepers {
		s.thaws(t)
	}
	tr.publish(t, 4000) // work for all of them
	tr.check(t, box)
	for _, s := range sleepers {
		stop(t, s.Program) // as sound as any
	}
	tr.check(t, box)
}

func freezeEach(t *testing.T, box *harness.Sandbox, steps []consumer.Step, prefix string) (sleepers []faulty) {
	t.Helper()
	for _, step := range steps {
		sleepers = append(sleepers, runFaulty(t, box, frozen, step, append(frugal, "CONSUMER_NAME="+prefix+"-"+string(step))...))
	}
	for _, s := range sleepers {
		s.freezes(t)
	}
	return sleepers
}
