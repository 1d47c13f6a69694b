package stream

import (
	"fmt"
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
		list, traces, err := parseEntries(text)
		require.NoError(t, err)
		require.Equal(t, want, list)
		require.Empty(t, traces)
		for i := range len(text) - 1 {
			_, _, err := parseEntries(text[:i])
			require.Error(t, err, "cut at %d", i)
		}
	}
	for _, none := range []string{"_\r\n", "*-1\r\n", "$-1\r\n"} {
		list, _, err := parseEntries(none)
		require.NoError(t, err)
		require.Empty(t, list)
	}
}

func TestTracesAreToldOnceForEachRequest(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("*1\r\n*2\r\n$1\r\ns\r\n*4\r\n")
	for i, trace := range []string{"a", "a", "b", ""} {
		fmt.Fprintf(&text, "*2\r\n$3\r\n1-%d\r\n", i)
		if trace != "" {
			fmt.Fprintf(&text, "*4\r\n$5\r\nevent\r\n$2\r\n{}\r\n$11\r\ntraceparent\r\n$1\r\n%s\r\n", trace)
		} else {
			text.WriteString("*2\r\n$5\r\nevent\r\n$2\r\n{}\r\n")
		}
	}
	list, traces, err := parseEntries(text.String())
	require.NoError(t, err)
	require.Len(t, list, 4)
	require.Equal(t, []string{"a", "b"}, traces)
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
		list, _, err := parseEntries(text)
		if err != nil {
			require.Empty(t, list)
		}
	})
}

// BenchmarkParseEntries takes a read of 2,000 entries of a usual size apart.
func BenchmarkParseEntries(b *testing.B) {
	const entries = 2000
	var text strings.Builder
	fmt.Fprintf(&text, "*1\r\n*2\r\n$6\r\nevents\r\n*%d\r\n", entries)
	payload := strings.Repeat("x", 366)
	for i := range entries {
		id := fmt.Sprintf("1767366245123-%d", i)
		fmt.Fprintf(&text, "*2\r\n$%d\r\n%s\r\n*2\r\n$5\r\nevent\r\n$366\r\n%s\r\n", len(id), id, payload)
	}
	reply := text.String()
	b.ReportAllocs()
	for b.Loop() {
		list, _, err := parseEntries(reply)
		if err != nil || len(list) != entries {
			b.Fatal(len(list), err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/entries, "ns/event")
}
