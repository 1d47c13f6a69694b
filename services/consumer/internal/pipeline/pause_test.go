package pipeline

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"weir/services/consumer/internal/fixture"
	"weir/services/consumer/internal/store"
)

func TestReadingGoesOnAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &Pipeline{Config: Config{ReadSize: 1}, Log: fixture.Log()}
		p.Init(prometheus.NewRegistry())
		waited := func() time.Duration {
			start := time.Now()
			require.NoError(t, p.gate(t.Context()))
			return time.Since(start)
		}
		require.Zero(t, waited())
		p.Pause()
		time.AfterFunc(time.Hour+time.Millisecond, p.Resume)
		require.Equal(t, time.Hour+time.Millisecond, waited(), "until it is resumed")

		write := func(err error) { _, _ = p.breaker.Execute(func() (store.Result, error) { return store.Result{}, err }) }
		for range breakerFailures {
			write(errors.New("PostgreSQL is away"))
		}
		time.AfterFunc(breakerPause+time.Millisecond, func() { write(nil) })
		require.Equal(t, breakerPause+time.Millisecond, waited(), "until something was written")
	})
}
