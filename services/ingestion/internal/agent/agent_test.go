package agent_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/services/ingestion/internal/agent"
	"weir/services/shared/event"
)

func TestBrowsersAreRead(t *testing.T) {
	t.Parallel()
	for userAgent, want := range map[string]agent.Agent{
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.2 Mobile/15E148 Safari/604.1": {Device: "mobile", Browser: "Safari", OS: "iOS"},
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0":           {Device: "desktop", Browser: "Edge", OS: "Windows"},
		"Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0":                                                                  {Device: "desktop", Browser: "Firefox", OS: "Linux"},
		"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/119.0.6045.109 Mobile/15E148 Safari/604.1":  {Device: "tablet", Browser: "Chrome", OS: "iOS"},
		"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)":                                                                {Device: "bot", Browser: "Googlebot"},
		"":                        {},
		strings.Repeat("x", 5000): {},
	} {
		require.Equal(t, want, agent.Parse(userAgent), userAgent)
	}
}

// FuzzParse: whatever a client claims to be, the event can hold what is read from it.
func FuzzParse(f *testing.F) {
	f.Add("Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0")
	f.Add("Mozilla/5.0 (Linux; Android 13; SM-S901B) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/115.0.0.0 Mobile Safari/537.36")
	f.Add("((((;;;;))))/ /1.2.3 (")
	f.Fuzz(func(t *testing.T, userAgent string) {
		a := agent.Parse(userAgent)
		for _, s := range []string{a.Device, a.Browser, a.OS} {
			require.LessOrEqual(t, len(s), event.MaxAgentLength)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		agent.Parse("Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0")
	}
}
