package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	yamlv3 "go.yaml.in/yaml/v3"

	"weir/e2e/harness"
)

func promtool(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), harness.Promtool(t), args...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestPrometheusTakesItsConfigurationAndRules(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "config", "prometheus/prometheus.yml")
	promtool(t, "test", "rules", "prometheus/rules_test.yml")
}

type rules struct {
	Groups []struct {
		Rules []struct {
			Alert       string
			Expr        string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

func TestEveryAlertIsTestedAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("prometheus/rules.yml")
	require.NoError(t, err)
	tests, err := os.ReadFile("prometheus/rules_test.yml")
	require.NoError(t, err)
	var all rules
	require.NoError(t, yamlv3.Unmarshal(text, &all))
	for _, g := range all.Groups {
		for _, r := range g.Rules {
			require.NotEmpty(t, r.Annotations["summary"], r.Alert)
			require.NotEmpty(t, r.Annotations["runbook"], r.Alert)
			require.Contains(t, []string{"warning", "critical"}, r.Labels["severity"], r.Alert)
			require.Contains(t, string(tests), r.Alert, "no test in rules_test.yml")
		}
	}
}

// TestGrafanasQueriesAreValid has promtool read the queries of the dashboards as rules.
func TestGrafanasQueriesAreValid(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("grafana/dashboards/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	type rule struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var queries []rule
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var dashboard struct {
			UID    string
			Panels []struct {
				ID                int
				Type, Description string
				Targets           []struct{ Expr string }
			}
		}
		require.NoError(t, json.Unmarshal(text, &dashboard), file)
		require.NotEmpty(t, dashboard.UID, file)
		ids := map[int]bool{}
		for _, p := range dashboard.Panels {
			require.False(t, ids[p.ID], "%s: panel %d is there twice", file, p.ID)
			ids[p.ID] = true
			require.True(t, p.Type == "row" || p.Description != "" && len(p.Targets) > 0, "%s: panel %d", file, p.ID)
			for _, q := range p.Targets {
				queries = append(queries, rule{"query", strings.ReplaceAll(q.Expr, "$__rate_interval", "5m")})
			}
		}
	}
	type group struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	}
	text, err := yamlv3.Marshal(map[string][]group{"groups": {{"queries", queries}}})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "queries.yml")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	promtool(t, "check", "rules", "--lint=none", file)
}
