package name_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/services/ingestion/internal/name"
)

func TestNamesBecomeTypes(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"Order Completed":            "order_completed",
		"orderCompleted":             "order_completed",
		"order_completed":            "order_completed",
		"ORDER COMPLETED":            "order_completed",
		"  Products  Searched!! ":    "products_searched",
		"com.example.Order/created":  "com.example.order_created",
		"com.github.pull_request.v1": "com.github.pull_request.v1",
		"a__b.":                      "a__b.",
		"Café visité":                "cafe_visite",
		"2nd step":                   "event_2nd_step",
		"HTTPRequest":                "httprequest",
		"...":                        "event_ab5df625",
		"注文完了":                       "event_122818a1",
		"":                           "",
		strings.Repeat("long ", 20):  "long_long_long_long_long_long_long_long_long_long_long_ca75507b",
	} {
		require.Equal(t, want, name.Type(given), given)
	}
}

var rule = regexp.MustCompile(`^[a-z][a-z0-9_.]{0,63}$`)

// FuzzType: every name has a type, which the rule allows and which stays as it is when
// it is taken for a name.
func FuzzType(f *testing.F) {
	for _, s := range []string{"Order Completed", "orderCompleted", "注文完了", "ﬁ", "\xff", ".", "9", "İ", strings.Repeat("a", 65)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, given string) {
		if given == "" {
			return
		}
		got := name.Type(given)
		require.Regexp(t, rule, got)
		require.Equal(t, got, name.Type(got))
	})
}
