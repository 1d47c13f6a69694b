package explorer

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/shared/event"
)

func TestCursorReadsBack(t *testing.T) {
	t.Parallel()
	want := position{time.Now().UTC().Truncate(time.Microsecond), event.NewID(time.Now())}
	got, err := parseCursor(want.cursor())
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestBrokenCursorsAreRefused(t *testing.T) {
	t.Parallel()
	good := position{time.Now(), event.NewID(time.Now())}.cursor()
	other, _ := base64.RawURLEncoding.DecodeString(good)
	other[0] = 2
	wild, _ := base64.RawURLEncoding.DecodeString(good)
	wild[1] = 0x7f
	for _, bad := range []string{"x", "%%%", good + "A", good[1:], good + "=",
		base64.RawURLEncoding.EncodeToString(other), base64.RawURLEncoding.EncodeToString(wild)} {
		_, err := parseCursor(bad)
		require.ErrorIs(t, err, errCursor, bad)
	}
}
