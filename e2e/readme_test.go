package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

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

// TestReadmesCommandsDoWhatTheReadmeSays runs the README's calls of curl as they stand
// there, against services on other ports.
func TestReadmesCommandsDoWhatTheReadmeSays(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed: the README's commands cannot be tried")
	}
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	w := start(t)
	local := strings.NewReplacer("localhost:3001", strings.TrimPrefix(w.api, "http://"), "localhost:3002", strings.TrimPrefix(w.ingestion, "http://"))
	var sent, read, controlled []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(curl .*?)```").FindAllStringSubmatch(string(readme), -1) {
		for _, command := range strings.Split(strings.ReplaceAll(block[1], "\\\n", " "), "\n") {
			switch {
			case strings.Contains(command, "/v1/generator"):
				controlled = append(controlled, command)
			case strings.Contains(command, "localhost:3002"):
				sent = append(sent, command)
			case command != "":
				read = append(read, command)
			}
		}
	}
	dir := t.TempDir()
	run := func(command string) string {
		shell := exec.CommandContext(t.Context(), "sh", "-c", local.Replace(strings.Replace(command, "curl -s", "curl -sSf", 1)))
		shell.Dir = dir
		out, err := shell.CombinedOutput()
		require.NoError(t, err, "%s: %s", command, out)
		return string(out)
	}
	require.Len(t, sent, 2)
	for _, command := range sent {
		require.Contains(t, run(command), `"accepted":1,"rejected":0`, command)
	}
	reach(t, w.pool, int64(len(sent)), `SELECT count(*) FROM events WHERE source = 'my-shop' AND user_id = 'u-17' AND value = 49.95`)
	require.Greater(t, len(read), 10)
	for i, command := range read {
		if out := run(command); i < 3 { // those that read back what was sent
			require.Regexp(t, `49\.95|99\.9`, out, command) // of one purchase, or of both
		}
	}
	require.FileExists(t, filepath.Join(dir, "events.csv"))
	require.Len(t, controlled, 3)
	for _, command := range controlled { // the last starts it
		require.Contains(t, run(command), `"state"`, command)
	}
	require.Eventually(t, func() bool { return number(t, w.pool, `SELECT count(*) FROM events`) > 100 }, patience, 50*time.Millisecond)
}
