package rig

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
)

// Metric adds up a metric of a service, or of all consumers, over its labels.
func (r *Rig) Metric(ctx context.Context, service, name string) (sum float64, err error) {
	names := []string{service}
	if service == Consumer {
		names = nil
		for i := range r.Consumers() {
			names = append(names, ConsumerName(i))
		}
	}
	for _, service := range names {
		p := r.Program(service)
		if p == nil {
			continue
		}
		v, err := scrape(ctx, p.URL+"/metrics", name)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

func scrape(ctx context.Context, url, name string) (sum float64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("read metrics: %w", err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		fields := strings.Fields(rest)
		sum += number(fields[len(fields)-1])
	}
	return sum, lines.Err()
}
