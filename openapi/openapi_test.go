package openapi_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/openapi"
)

func TestCommittedDocumentsAreWhatTheServicesServe(t *testing.T) {
	t.Parallel()
	documents, err := openapi.Documents()
	require.NoError(t, err)
	for name, want := range documents {
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "%s is stale: run `make generate`", name)
	}
}
