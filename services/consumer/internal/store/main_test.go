package store_test

import (
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"weir/e2e/harness"
	"weir/services/consumer/internal/batch"
	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/store"
	"weir/services/consumer/internal/stream"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// key is the stream that the tests' entries pretend to come from.
const key = "events"

func open(t *testing.T) (*store.Store, *pgxpool.Pool) {
	t.Helper()
	pool := fixture.Pool(t, fixture.Box(t))
	return &store.Store{Pool: pool, Timeout: 20 * time.Second}, pool
}

// decoded makes a batch, ready to be written.
func decoded(chunks ...stream.Chunk) *batch.Batch {
	b := batch.New()
	for _, c := range chunks {
		b.Add(c)
	}
	b.Decode(fixture.Noon)
	return b
}

// series makes a batch of the events lo to hi.
func series(lo, hi int) *batch.Batch {
	return decoded(fixture.Chunk(key, 1+lo, fixture.Series(lo, hi)...))
}

func count(t *testing.T, pool *pgxpool.Pool, table string) int64 {
	t.Helper()
	return fixture.Number(t, pool, `SELECT count(*) FROM `+table)
}
