package harness

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAwaitTakesTheBestAddressThatAnswers(t *testing.T) {
	t.Parallel()
	rounds := 0
	p := product{name: "server", ping: func(ctx context.Context, url string) error {
		switch {
		case url == "swallows": // like a gateway that drops packets
			rounds++
			<-ctx.Done()
			return ctx.Err()
		case url == "mapped" && rounds > 1, url == "direct": // comes up within the first round
			return nil
		}
		return errors.New("connection refused")
	}}
	alive := func(context.Context) error { return nil }
	url, err := await(t.Context(), p, []string{"swallows", "refuses", "mapped", "direct"}, alive)
	require.NoError(t, err)
	require.Equal(t, "mapped", url)
}

func TestAwaitSaysWhyTheServerEnded(t *testing.T) {
	t.Parallel()
	refuse := product{name: "server", ping: func(context.Context, string) error { return errors.New("connection refused") }}
	began := time.Now()
	_, err := await(t.Context(), refuse, []string{"a"}, func(context.Context) error { return errors.New("exit code 1") })
	require.EqualError(t, err, "exit code 1")
	require.Less(t, time.Since(began), readyTimeout/2, "no need to wait for what has ended")
}
