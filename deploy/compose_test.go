// Package deploy holds what runs Weir elsewhere. Its tests check with the libraries of
// those who will read the files.
package deploy_test

import (
	"os"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

// compose loads compose.yaml as docker compose does: schema, interpolation, references.
func compose(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../compose.yaml"}, cli.WithProfiles(profiles), cli.WithInterpolation(true))
	require.NoError(t, err)
	project, err := options.LoadProject(t.Context())
	require.NoError(t, err)
	return project
}

func TestComposeRunsTheWholeSystemAndMonitoringOnlyOnDemand(t *testing.T) {
	t.Parallel()
	require.ElementsMatch(t, []string{"redis", "postgres", "migrate", "roles", "ingestion", "consumer", "api"}, compose(t).ServiceNames())
	require.ElementsMatch(t, []string{"redis", "postgres", "migrate", "roles", "ingestion", "consumer", "api", "prometheus", "grafana"},
		compose(t, "monitoring").ServiceNames())
}

func TestComposeIsReachableFromThisMachineOnlyAndRunsWithoutPrivileges(t *testing.T) {
	t.Parallel()
	dockerfile, err := os.ReadFile("../Dockerfile")
	require.NoError(t, err)
	for name, s := range compose(t, "monitoring").Services {
		for _, p := range s.Ports {
			require.Equal(t, "127.0.0.1", p.HostIP, name)
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				_, err := os.Stat(v.Source)
				require.NoError(t, err, name)
				require.True(t, v.ReadOnly, name)
			}
		}
		if s.Build == nil {
			continue
		}
		require.Contains(t, string(dockerfile), " AS "+s.Build.Target+"\n", name)
		require.True(t, s.ReadOnly, name)
		require.Equal(t, []string{"ALL"}, s.CapDrop, name)
		require.Contains(t, s.SecurityOpt, "no-new-privileges:true", name)
	}
}

func TestComposesServicesHaveRolesOfTheirOwnAndKeysInFiles(t *testing.T) {
	t.Parallel()
	for name, role := range map[string]string{"consumer": "weir_consumer", "api": "weir_api"} {
		url := compose(t).Services[name].Environment["POSTGRES_URL"]
		require.NotNil(t, url, name)
		require.Contains(t, *url, "://"+role+":", name)
		require.Contains(t, compose(t).Services[name].DependsOn, "roles", name)
	}
	for name, files := range map[string][]string{"ingestion": {"INGESTION_WRITE_KEYS_FILE", "ADMIN_KEYS_FILE"}, "consumer": {"ADMIN_KEYS_FILE"}, "api": {"API_READ_KEYS_FILE"}} {
		for _, file := range files {
			require.Contains(t, compose(t).Services[name].Environment, file, name)
		}
		require.Equal(t, "/etc/weir", compose(t).Services[name].Volumes[0].Target, name)
	}
}

func TestComposesServicesAreToldOnlyWhatTheyRead(t *testing.T) {
	t.Parallel()
	for name, s := range compose(t).Services {
		if s.Build == nil {
			continue
		}
		known := settings(name)
		for variable := range s.Environment {
			if name != "migrate" || variable != "POSTGRES_URL" {
				require.True(t, known[variable], "%s does not read %s", name, variable)
			}
		}
		require.False(t, strings.Contains(s.Image, "latest"), name)
	}
}
