// Package target is where made-up events may go beside the streams: to a file, or to
// a running collector.
package target

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"weir/services/ingestion/internal/generator"
)

// NDJSON writes one event a line.
type NDJSON struct{ w *bufio.Writer }

// NewNDJSON returns a target that writes to w. It takes one batch at a time.
func NewNDJSON(w io.Writer) *NDJSON { return &NDJSON{bufio.NewWriterSize(w, 1<<20)} }

// Send writes a batch.
func (n *NDJSON) Send(_ context.Context, b *generator.Batch) (taken bool, err error) {
	for i := range b.Len() {
		_, _ = n.w.Write(b.Payload(i)) // the writer keeps its error
		_ = n.w.WriteByte('\n')
	}
	return true, n.Close()
}

// Close writes what is left.
func (n *NDJSON) Close() error {
	if err := n.w.Flush(); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	return nil
}
