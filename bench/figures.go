package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
)

// machine is where figures were measured.
type machine struct {
	CPUs int    `json:"cpus"`
	OS   string `json:"os"`
	Arch string `json:"arch"`
}

func thisMachine() machine { return machine{runtime.NumCPU(), runtime.GOOS, runtime.GOARCH} }

// rate is one figure measured several times.
type rate struct {
	Runs   []float64 `json:"runs"`
	Median float64   `json:"median"`
	Lowest float64   `json:"lowest"`
	Best   float64   `json:"best"`
}

func (r *rate) add(v float64) {
	r.Runs = append(r.Runs, v)
	sorted := slices.Sorted(slices.Values(r.Runs))
	r.Median, r.Lowest, r.Best = sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]
}

// span is the lowest and the best, when there are several.
func (r *rate) span(format string) string {
	if len(r.Runs) < 2 {
		return ""
	}
	return fmt.Sprintf("("+format+" to "+format+")", r.Lowest, r.Best)
}

// writeFigures writes figures as JSON to a file, if one is named.
func writeFigures(file string, figures any) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
