package publish_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
	"weir/services/ingestion/internal/publish"
)

// BenchmarkPublish publishes to a real Redis: one event a request from many callers,
// and requests that fill pipelines.
func BenchmarkPublish(b *testing.B) {
	box := harness.NewSandbox(b)
	options, err := redis.ParseURL(box.RedisURL)
	require.NoError(b, err)
	client := redis.NewClient(options)
	defer client.Close()
	payload := strings.Repeat("x", 366)
	for name, size := range map[string]int{"single": 1, "of 100": 100, "of 2000": 2000} {
		b.Run(name, func(b *testing.B) {
			p := publish.New(publish.Config{}, client, []string{box.StreamName}, nil, prometheus.NewRegistry())
			defer run(b, p)()
			messages := make([]publish.Message, size)
			for i := range messages {
				messages[i].Payload = payload
			}
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := p.Publish(b.Context(), messages); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
			require.NoError(b, client.Del(b.Context(), box.StreamName).Err())
		})
	}
}
