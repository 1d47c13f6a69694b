package control

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"weir/services/shared/access"
)

func TestNothingIsControlledWithoutAnAdminKey(t *testing.T) {
	t.Parallel()
	keys, err := access.New("admin", access.Source{Keys: []string{"sesame"}}, nil)
	require.NoError(t, err)
	api := new(Control).API(keys, prometheus.NewRegistry())
	tried := 0
	for path, item := range api.OpenAPI().Paths {
		if !strings.HasPrefix(path, "/v1/") {
			continue // its health, which is everybody's
		}
		path = strings.NewReplacer("{id}", "1").Replace(path)
		for method, operation := range map[string]any{http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodDelete: item.Delete} {
			request := httptest.NewRequest(method, path, nil)
			answer := httptest.NewRecorder()
			api.Mux.ServeHTTP(answer, request)
			if answer.Code == http.StatusMethodNotAllowed {
				continue
			}
			tried++
			require.Equal(t, http.StatusUnauthorized, answer.Code, "%s %s %v", method, path, operation)
			request.Header.Set("Authorization", "Bearer guess")
			answer = httptest.NewRecorder()
			api.Mux.ServeHTTP(answer, request)
			require.Equal(t, http.StatusForbidden, answer.Code, "%s %s", method, path)
		}
	}
	require.GreaterOrEqual(t, tried, 6)
}
