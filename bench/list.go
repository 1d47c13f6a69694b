package main

import (
	"strconv"
	"strings"
)

// formatList writes numbers as a flag takes them: 5000,20000.
func formatList(values []float64) string {
	list := make([]string, len(values))
	for i, v := range values {
		list[i] = strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strings.Join(list, ",")
}

// parseList reads what stands between commas.
func parseList(text string, parse func(string) (float64, error)) (list []float64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		v, err := parse(part)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}
