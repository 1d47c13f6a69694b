package explorer

import (
	"encoding/base64"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"weir/services/api/internal/filter"
	"weir/services/shared/event"
)

func TestCursorReadsBack(t *testing.T) {
	t.Parallel()
	want := position{time.Now().UTC().Truncate(time.Microsecond), event.NewID(time.Now())}
	of := sum(filter.Input{Type: "click"})
	got, err := parseCursor(want.cursor(of), of)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// A page without a filter may end with the event that the document has as its example.
func TestDocumentedCursorIsOne(t *testing.T) {
	t.Parallel()
	field, _ := reflect.TypeFor[EventPage]().FieldByName("NextCursor")
	_, err := parseCursor(field.Tag.Get("example"), sum(filter.Input{}))
	require.NoError(t, err)
}

func TestBrokenCursorsAreRefused(t *testing.T) {
	t.Parallel()
	of := sum(filter.Input{Type: "click"})
	good := position{time.Now(), event.NewID(time.Now())}.cursor(of)
	other, _ := base64.RawURLEncoding.DecodeString(good)
	other[0] = 1
	wild, _ := base64.RawURLEncoding.DecodeString(good)
	wild[1] = 0x7f
	for _, bad := range []string{"x", "%%%", good + "A", good[1:], good + "=",
		base64.RawURLEncoding.EncodeToString(other), base64.RawURLEncoding.EncodeToString(wild)} {
		_, err := parseCursor(bad, of)
		require.ErrorIs(t, err, errCursor, bad)
	}
}

func TestCursorOfAnotherFilterIsRefused(t *testing.T) {
	t.Parallel()
	inputs := []filter.Input{{}, {Type: "click"}, {Source: "click"}, {Filter: "click"}, {Filter: "cl", Type: "ick"}}
	for i, in := range inputs {
		for j, other := range inputs {
			_, err := parseCursor(position{time.Now(), event.NewID(time.Now())}.cursor(sum(in)), sum(other))
			if i == j {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, errFilter)
			}
		}
	}
}
