package openapi_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"
)

var services = []string{"api", "consumer", "ingestion"}

func TestOlderGeneratorsCanReadTheDocuments(t *testing.T) {
	t.Parallel()
	for _, name := range services {
		document, err := openapi3.NewLoader().LoadFromFile(name + "-3.0.yaml")
		require.NoError(t, err, name)
		require.NoError(t, document.Validate(t.Context()), name)
		require.True(t, strings.HasPrefix(document.OpenAPI, "3.0."), document.OpenAPI)
	}
}

// TestPublishedContractsAreNotBroken compares with the last release, or with the last
// commit while there is none: what clients were built on goes on to work. A break that is
// meant is a new path.
func TestPublishedContractsAreNotBroken(t *testing.T) {
	t.Parallel()
	if err := exec.CommandContext(t.Context(), "git", "rev-parse", "--git-dir").Run(); err != nil {
		t.Skip("this is no repository: there is nothing to compare with")
	}
	released := "HEAD"
	if tag, err := exec.CommandContext(t.Context(), "git", "describe", "--tags", "--abbrev=0", "--match", "v*").Output(); err == nil {
		released = strings.TrimSpace(string(tag))
	}
	dir := t.TempDir()
	for _, name := range services {
		t.Run(name, func(t *testing.T) {
			file := name + "-3.0.yaml"
			before, err := exec.CommandContext(t.Context(), "git", "show", released+":openapi/"+file).Output()
			if err != nil {
				return // it is new
			}
			old := filepath.Join(dir, file)
			require.NoError(t, os.WriteFile(old, before, 0o600))
			out, err := exec.CommandContext(t.Context(), "go", "run", "github.com/oasdiff/oasdiff@v1.36.0",
				"breaking", "--fail-on", "ERR", old, file).CombinedOutput()
			require.NoError(t, err, "%s against %s:\n%s", file, released, out)
		})
	}
}
