package event_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"weir/services/shared/event"
)

func TestElementsOfAnArray(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		`[]`: nil, ` [ ] `: nil, `[1]`: {"1"},
		"[\n {\"a\":[1,{}]} , \"x,]\" ,null]\n": {`{"a":[1,{}]}`, `"x,]"`, "null"},
	} {
		elements, invalid := event.Elements(text, 10)
		require.Empty(t, invalid, text)
		require.Equal(t, want, elements, text)
	}
	for _, bad := range []string{``, `{}`, `[`, `[1`, `[1,`, `[1,]`, `[,1]`, `[1 2]`, `[]]`, `[{"a":}]`} {
		_, invalid := event.Elements(bad, 10)
		require.Len(t, invalid, 1, bad)
	}
}

func TestNoMoreElementsAreReadThanAreWanted(t *testing.T) {
	t.Parallel()
	elements, invalid := event.Elements("["+strings.Repeat("1,", 1000)+"and so on", 3)
	require.Empty(t, invalid)
	require.Equal(t, []string{"1", "1", "1", "1"}, elements)
	_, invalid = event.Elements("[1,1,1,]", 3)
	require.Len(t, invalid, 1)
}

// FuzzElements holds the splitter to encoding/json.
func FuzzElements(f *testing.F) {
	f.Add(`[{"a":1},"b" , [ ]]`)
	f.Add(`[]x`)
	f.Fuzz(func(t *testing.T, text string) {
		elements, invalid := event.Elements(text, math.MaxInt)
		if len(invalid) > 0 && strings.Contains(invalid[0].Rule, "nested too deeply") {
			return
		}
		var want []json.RawMessage
		isArray := strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "[")
		if !isArray || !utf8.ValidString(text) || json.Unmarshal([]byte(text), &want) != nil {
			require.NotEmpty(t, invalid)
			return
		}
		require.Empty(t, invalid)
		require.Len(t, elements, len(want))
		for i := range want {
			require.Equal(t, string(want[i]), elements[i])
		}
	})
}
