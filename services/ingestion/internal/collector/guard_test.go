package collector

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOriginsAreOriginsAndNothingElse(t *testing.T) {
	t.Parallel()
	for origin, good := range map[string]bool{
		"*": true, "https://example.com": true, "http://localhost:8080": true, "https://*.example.com": true,
		"example.com": false, "https://example.com/": false, "https://example.com/page": false, "https://*.*.example.com": false,
		"ftp://example.com": false, "https://": false, "https://user@example.com": false, "https://example.com?x": false, "**": false, "null": false,
	} {
		err := Config{Origins: []string{"https://first.example.com", origin}}.Validate()
		require.Equal(t, good, err == nil, origin)
	}
}
