package explorer

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"io"
	"strings"
	"time"
)

// encoder writes events in one of the formats of an export.
type encoder interface {
	begin() error
	event(*Event) error
	flush() error
	size() int // bytes so far, before compression
}

func newEncoder(format string, w io.Writer) encoder {
	counted := &counter{w: bufio.NewWriterSize(w, 64<<10)}
	if format == "csv" {
		return &csvEncoder{counted, csv.NewWriter(counted), make([]string, len(csvHeader))}
	}
	e := json.NewEncoder(counted)
	e.SetEscapeHTML(false)
	return ndjsonEncoder{counted, e}
}

type counter struct {
	w *bufio.Writer
	n int
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += len(p)
	return c.w.Write(p)
}

func (c *counter) size() int { return c.n }

type ndjsonEncoder struct {
	*counter
	json *json.Encoder
}

func (ndjsonEncoder) begin() error           { return nil }
func (n ndjsonEncoder) event(e *Event) error { return n.json.Encode(e) }
func (n ndjsonEncoder) flush() error         { return n.w.Flush() }

type csvEncoder struct {
	*counter
	csv *csv.Writer
	row []string
}

var csvHeader = []string{"id", "type", "time", "source", "user_id", "anonymous_id", "session_id", "path", "referrer",
	"country", "device", "browser", "os", "value", "currency", "properties"}

func (c *csvEncoder) begin() error { return c.csv.Write(csvHeader) }

func (c *csvEncoder) event(e *Event) error {
	c.row = append(c.row[:0], e.ID, e.Type, e.Time.Format(time.RFC3339Nano), plain(e.Source), plain(e.UserID), plain(e.AnonymousID), plain(e.SessionID),
		plain(e.Path), plain(e.Referrer), plain(e.Country), plain(e.Device), plain(e.Browser), plain(e.OS),
		string(e.Value), plain(e.Currency), string(e.Properties))
	return c.csv.Write(c.row)
}

func (c *csvEncoder) flush() error {
	c.csv.Flush()
	if err := c.csv.Error(); err != nil {
		return err
	}
	return c.w.Flush()
}

// plain puts a ' before a text that a spreadsheet would run as a formula: anybody may
// send events, and whoever opens the file did not write them. Properties begin with a
// brace, and a value is a number.
func plain(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
