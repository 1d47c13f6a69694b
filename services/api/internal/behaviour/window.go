package behaviour

import (
	"strconv"
	"strings"
	"time"
)

// parseWindow reads a duration such as 30m, 12h or 7d, up to 30 days.
func parseWindow(s string) (time.Duration, bool) {
	const most = 30 * 24 * time.Hour
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err == nil && n > 0 && n <= 30
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= time.Second && d <= most
}
