package e2e

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"
)

// TestDashboardsAndAlertsAskForMetricsThatThereAre also holds the metrics' names and
// units to Prometheus' conventions.
func TestDashboardsAndAlertsAskForMetricsThatThereAre(t *testing.T) {
	t.Parallel()
	w := start(t, generate(100, 100, 1))
	reach(t, w.pool, 100, `SELECT count(*) FROM events`)
	require.Equal(t, http.StatusAccepted, postWhenUp(t, w.ingestion+"/v1/events?write_key=shop", "application/json", `{"type": "click", "user_id": "u"}`).status)
	require.Equal(t, http.StatusOK, do(t, http.MethodGet, w.api+"/v1/metrics/summary", "", "").status)
	require.Equal(t, http.StatusOK, do(t, http.MethodGet, w.consumer+"/v1/status", "", "").status)

	wanted := map[string]bool{}
	names := regexp.MustCompile(`\bweir_[a-z_]+`)
	for _, file := range []string{"prometheus/rules.yml", "grafana/dashboards/weir.json", "kubernetes/keda.yaml"} {
		text, err := os.ReadFile("../deploy/" + file)
		require.NoError(t, err)
		for _, name := range names.FindAllString(string(text), -1) {
			wanted[name] = true
		}
	}
	require.Greater(t, len(wanted), 30)
	for name := range wanted {
		if strings.HasPrefix(name, "weir_api_replica_") { // only with one: TestReplicaAnswersAndItsLossIsBridged holds them
			delete(wanted, name)
		}
	}

	// Some come with the first fold or measurement.
	var missing []string
	require.Eventually(t, func() bool {
		var all string
		for _, service := range []string{w.ingestion, w.consumer, w.api} {
			all += do(t, http.MethodGet, service+"/metrics", "", "").body
		}
		missing = nil
		for name := range wanted {
			if !regexp.MustCompile(`(?m)^(# TYPE )?` + name + `[ {]`).MatchString(all) {
				missing = append(missing, name)
			}
		}
		return len(missing) == 0
	}, patience, 200*time.Millisecond, "missing: %v", &missing)

	for _, service := range []string{w.ingestion, w.consumer, w.api} {
		problems, err := promlint.New(strings.NewReader(do(t, http.MethodGet, service+"/metrics", "", "").body)).Lint()
		require.NoError(t, err)
		for _, p := range problems {
			require.False(t, strings.HasPrefix(p.Metric, "weir_"), "%s: %s", p.Metric, p.Text)
		}
	}
}
