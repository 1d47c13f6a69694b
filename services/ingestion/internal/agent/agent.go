// Package agent reads the User-Agent of browsers.
package agent

import (
	"github.com/mileusna/useragent"

	"weir/services/shared/event"
)

// Agent is what a User-Agent says, in the terms of an event. What it does not say is "".
type Agent struct{ Device, Browser, OS string }

// maxLength bounds the work on one string; real ones have 100 to 300 bytes.
const maxLength = 1024

// Parse reads a User-Agent. Programs and libraries are given as browsers, bots by their
// device.
//
// Measured: 3 µs. The parser that uses the ua-parser project's list of expressions knows
// more devices by name, which an event does not hold, and takes 2.2 ms: a batch of
// 2,500 different strings would be five seconds of work.
func Parse(userAgent string) Agent {
	if userAgent == "" || len(userAgent) > maxLength {
		return Agent{}
	}
	ua := useragent.Parse(userAgent)
	a := Agent{Browser: fit(ua.Name), OS: fit(ua.OS)}
	switch {
	case ua.Bot:
		a.Device = "bot"
	case ua.Tablet:
		a.Device = "tablet"
	case ua.Mobile:
		a.Device = "mobile"
	case ua.Desktop:
		a.Device = "desktop"
	}
	return a
}

func fit(s string) string {
	if len(s) > event.MaxAgentLength {
		return ""
	}
	return s
}
