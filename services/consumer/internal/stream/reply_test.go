package stream

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const twoEntries = "$6\r\nevents\r\n*3\r\n" +
	"*2\r\n$3\r\n1-1\r\n*2\r\n$5\r\nevent\r\n$4\r\n{\r\n}\r\n" +
	"*2\r\n$3\r\n1-2\r\n*4\r\n$1\r\nx\r\n$1\r\ny\r\n$5\r\nevent\r\n$0\r\n\r\n" +
	"*2\r\n$3\r\n1-3\r\n*2\r\n$1\r\nx\r\n$1\r\ny\r\n"

func TestRepliesOfBothProtocolsAreRead(t *testing.T) {
	t.Parallel()
	want := []Entry{{"1-1", "{\r\n}"}, {"1-2", ""}, {"1-3", ""}}
	for _, text := range []string{"%1\r\n" + twoEntries, "*1\r\n*2\r\n" + twoEntries} {
		list, err := parseEntries(text)
		require.NoError(t, err)
		require.Equal(t, want, list)
		for i := range len(text) - 1 {
			_, err := parseEntries(text[:i])
			require.Error(t, err, "cut at %d", i)
		}
	}
	for _, none := range []string{"_\r\n", "*-1\r\n", "$-1\r\n"} {
		list, err := parseEntries(none)
		require.NoError(t, err)
		require.Empty(t, list)
	}
}

func TestAReplyGrowsToWhatIsRead(t *testing.T) {
	t.Parallel()
	var r reply
	for _, part := range []string{"a", "", strings.Repeat("b", 5000), "c"} {
		n, err := r.ReadFrom(strings.NewReader(part))
		require.NoError(t, err)
		require.EqualValues(t, len(part), n)
	}
	require.Equal(t, "a"+strings.Repeat("b", 5000)+"c", string(r.b))
}

func FuzzParseEntries(f *testing.F) {
	f.Add("%1\r\n" + twoEntries)
	f.Add("*1\r\n*2\r\n$1\r\ns\r\n*-1\r\n")
	f.Add("*1\r\n*2\r\n$1\r\ns\r\n*99999999999\r\n")
	f.Add("$99999999999999999999\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseEntries(text)
		if err != nil {
			require.Empty(t, list)
		}
	})
}
