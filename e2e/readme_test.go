package e2e

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/services/api"
	"weir/services/consumer"
	"weir/services/ingestion"
	"weir/services/shared/config"
)

var update = flag.Bool("update", false, "write the README's table of settings")

const (
	settingsBegin = "<!-- settings: held to the code by a test; `make generate` writes it -->\n"
	settingsEnd   = "<!-- end of settings -->"
)

func TestReadmeListsEverySetting(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(readme), settingsBegin)
	require.True(t, found)
	table, after, found := strings.Cut(rest, settingsEnd)
	require.True(t, found)
	if *update {
		require.NoError(t, os.WriteFile("../README.md", []byte(before+settingsBegin+settingsTable()+settingsEnd+after), 0o644))
		return
	}
	require.Equal(t, settingsTable(), table, "the README is stale: run `make generate`")
}

// settingsTable lists each setting once, with the services that read it.
func settingsTable() string {
	var names []string
	rows := map[string]config.Setting{}
	readers := map[string][]string{}
	for _, service := range []struct {
		name     string
		settings []config.Setting
	}{
		{"ingestion", config.Describe(ingestion.Config{})}, {"consumer", config.Describe(consumer.Config{})}, {"api", config.Describe(api.Config{})},
	} {
		for _, s := range service.settings {
			if _, known := rows[s.Name]; !known {
				names = append(names, s.Name)
			}
			rows[s.Name] = s
			readers[s.Name] = append(readers[s.Name], service.name)
		}
	}
	var b strings.Builder
	b.WriteString("| variable | default | read by | meaning |\n|---|---|---|---|\n")
	for _, name := range names {
		s, by := rows[name], strings.Join(readers[name], ", ")
		if len(readers[name]) == 3 {
			by = "all"
		}
		value := ""
		if s.Default != "" {
			value = "`" + s.Default + "`"
		}
		if s.Required {
			value = "required"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, value, by, s.Help)
	}
	return b.String()
}
