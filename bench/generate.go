package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"weir/loadgen"
)

type generateOptions struct {
	events, runs int
	json         string
}

// generated is what making events up costs. Rates are events per second of one core.
type generated struct {
	Schema        int     `json:"schema_version"`
	Command       string  `json:"command"`
	Machine       machine `json:"machine"`
	Events        int     `json:"events"`
	BytesPerEvent int     `json:"bytes_per_event"`
	Plain         rate    `json:"events_per_second"`
	Oracle        rate    `json:"events_per_second_with_oracle"`
}

// generate makes events up in one goroutine, at a rate that it cannot reach, so that
// it never waits; with an oracle it must know the count of every one.
func generate(o generateOptions, out io.Writer) error {
	f := generated{Schema: 1, Command: "generate", Machine: thisMachine(), Events: o.events}
	for range o.runs {
		for _, with := range []bool{false, true} {
			g, err := flood(uint64(len(f.Plain.Runs)+1), o.events)
			if err != nil {
				return err
			}
			if with {
				g.Oracle()
			}
			buf, bytes, n := make([]byte, 0, 4096), 0, int64(0)
			start := time.Now()
			for item, more := g.Next(buf); more; item, more = g.Next(buf) {
				bytes += len(item.Payload)
				n++
			}
			perSecond := float64(n) / time.Since(start).Seconds()
			f.BytesPerEvent = bytes / int(n)
			if n != int64(o.events) {
				return errors.New("INVALID: the generator did not make as many events as it was told to")
			}
			if !with {
				f.Plain.add(perSecond)
				continue
			}
			f.Oracle.add(perSecond)
			c := g.Oracle().Counts()
			if c.Stored()+c.Duplicate+c.Malformed != n || g.Oracle().Total().Count != c.Stored() {
				return errors.New("INVALID: the oracle did not count every event")
			}
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "events of %d bytes, one core, median of %d runs of %d\n", f.BytesPerEvent, o.runs, o.events)
	fmt.Fprintf(w, "generate\t%.0f events/s\t(%.0f to %.0f)\n", f.Plain.Median, f.Plain.Lowest, f.Plain.Best)
	fmt.Fprintf(w, "generate, with oracle\t%.0f events/s\t(%.0f to %.0f)\n", f.Oracle.Median, f.Oracle.Lowest, f.Oracle.Best)
	return errors.Join(w.Flush(), writeFigures(o.json, f))
}

// flood is the built-in web shop at the highest rate there is.
func flood(seed uint64, events int) (*loadgen.Generator, error) {
	p, err := loadgen.Builtin("web-shop")
	if err != nil {
		return nil, err
	}
	p.Shape, p.Volume = loadgen.Constant(500_000), loadgen.Volume{Count: int64(events)}
	return loadgen.New(p, seed, time.Now().Add(-10*time.Minute))
}
