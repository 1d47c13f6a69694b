package e2e

import (
	"bufio"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

var (
	fenced  = regexp.MustCompile("(?s)```.*?```")
	shell   = regexp.MustCompile("(?s)```sh\n(.*?)```")
	inline  = regexp.MustCompile("(?s)`([^`]+)`")
	comment = regexp.MustCompile(`\s+# .*$`)
	command = regexp.MustCompile(`^(make|go|curl|docker|kubectl|weir-[a-z]+) \S`)
)

// documented lists the commands that the documents name, each once: those in blocks, and
// those within a sentence.
func documented(t *testing.T) (commands []string) {
	t.Helper()
	for _, name := range []string{"README.md", "PERFORMANCE.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md", "deploy/keys/README.md"} {
		text, err := os.ReadFile(filepath.Join("..", name))
		require.NoError(t, err)
		for _, block := range shell.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.Lines(strings.ReplaceAll(block[1], "\\\n", " ")) {
				// What curl does in blocks, TestReadmesCommandsDoWhatTheReadmeSays tries.
				if line = comment.ReplaceAllString(strings.TrimSpace(line), ""); line != "" && !strings.HasPrefix(line, "curl ") {
					commands = append(commands, line)
				}
			}
		}
		for _, code := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
			if c := strings.Join(strings.Fields(code[1]), " "); command.MatchString(c) {
				commands = append(commands, c)
			}
		}
	}
	slices.Sort(commands)
	return slices.Compact(commands)
}

// reader tries the documents' commands as somebody would who reads them, but for the
// ports, which are free ones, and the servers, which are there.
type reader struct {
	box   *harness.Sandbox
	pool  *pgxpool.Pool
	from  harness.Binaries
	bench string
	dir   string            // below bin: within the module, which the benchmark builds, and out of git's sight
	local *strings.Replacer // puts in where the services are
	env   []string
}

// sh runs a command line on the test's servers.
func (r *reader) sh(t *testing.T, line string, env ...string) string {
	t.Helper()
	return r.run(t, line, slices.Concat(r.env, env))
}

// alone runs a command line that starts servers of its own, because it makes them fail.
func (r *reader) alone(t *testing.T, line string) string {
	t.Helper()
	return r.run(t, line, nil)
}

// run runs a command line in r.dir, which has a deploy/keys.
func (r *reader) run(t *testing.T, line string, env []string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sh", "-c", line)
	c.Dir = r.dir
	require.NoError(t, os.MkdirAll(filepath.Join(c.Dir, "deploy", "keys"), 0o700))
	c.Env = slices.Concat(os.Environ(), env)
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s: %s", line, out)
	return string(out)
}

func TestEveryCommandOfTheDocumentsIsTried(t *testing.T) {
	t.Parallel()
	var err error
	w := start(t)
	r := &reader{
		box: w.box, pool: w.pool, from: binaries(t), bench: filepath.Join(t.TempDir(), "bench"),
		local: strings.NewReplacer("http://localhost:3001", w.api, "localhost:3001", strings.TrimPrefix(w.api, "http://"),
			"http://localhost:3002", w.ingestion, "localhost:3002", strings.TrimPrefix(w.ingestion, "http://")),
	}
	require.NoError(t, os.MkdirAll("../bin", 0o755))
	r.dir, err = os.MkdirTemp("../bin", "documents-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(r.dir) })
	for name, value := range environment(w.box) {
		r.env = append(r.env, name+"="+value)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", r.bench, "./bench")
	build.Dir = ".."
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	commands := documented(t)
	require.Greater(t, len(commands), 30)
	for _, c := range commands {
		t.Run(strings.ReplaceAll(c, "/", "∕"), func(t *testing.T) { r.try(t, c) })
	}
}

func (r *reader) try(t *testing.T, c string) {
	words := strings.Fields(c)
	for _, tool := range []string{"make", "curl", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil && regexp.MustCompile(`\b`+tool+` `).MatchString(c) {
			t.Skipf("%s is not installed: what the documents do with it cannot be tried", tool)
		}
	}
	switch {
	case words[0] == "make":
		r.make(t, c)
	case strings.HasPrefix(c, "go run ./bench "):
		r.benchmark(t, strings.TrimPrefix(c, "go run ./bench "))
	case strings.HasPrefix(c, "go run ./services/ingestion/cmd/weir-ingestion generate "):
		line := strings.Replace(c, "go run ./services/ingestion/cmd/weir-ingestion", filepath.Join(string(r.from), "weir-ingestion"), 1)
		line = strings.Replace(line, "--duration 1m", "--duration 2s", 1)
		if file := regexp.MustCompile(` > (\S+)$`).FindStringSubmatch(line); file != nil {
			line += " && wc -l < " + file[1]
		}
		require.Regexp(t, `[1-9]\d{3}`, r.sh(t, r.local.Replace(line)), "thousands of events")
	case strings.HasPrefix(c, "go test ./"):
		list := exec.CommandContext(t.Context(), "go", "list", words[2])
		list.Dir = ".."
		out, err := list.CombinedOutput()
		require.NoError(t, err, "%s", out)
	case c == "weir-api health":
		p := run(t, r.box, "weir-api")
		address, err := url.Parse(p.URL)
		require.NoError(t, err)
		r.sh(t, filepath.Join(string(r.from), c), "API_PORT="+address.Port())
	case c == "weir-consumer verify" || c == "weir-consumer rebuild": // of a day that has events
		const newest = `SELECT coalesce(extract(epoch FROM max(time))::bigint, 0) FROM events`
		require.Eventually(t, func() bool { return number(t, r.pool, newest) > 0 }, patience, 20*time.Millisecond)
		day := time.Unix(number(t, r.pool, newest), 0).UTC().Truncate(24 * time.Hour)
		r.sh(t, filepath.Join(string(r.from), c)+" --from "+day.Format(time.RFC3339)+" --to "+day.Add(24*time.Hour).Format(time.RFC3339))
	case strings.HasPrefix(words[0], "weir-"):
		require.NotEmpty(t, r.sh(t, filepath.Join(string(r.from), c)))
	case words[0] == "curl": // of a feed that does not end
		require.Contains(t, r.sh(t, r.local.Replace(strings.Replace(c, "curl ", "curl -sS --max-time 3 ", 1))+" || [ $? = 28 ]"), `"snapshot"`)
	case words[0] == "echo":
		require.FileExists(t, filepath.Join("..", "deploy", "keys", "README.md"))
		file := words[len(words)-1]
		require.NotEmpty(t, strings.TrimSpace(r.sh(t, c+" && cat "+file)))
	case regexp.MustCompile(`^([A-Z_]+=\S+\s*)+$`).MatchString(c): // settings
		table := settingsTable()
		for _, setting := range words {
			name, _, _ := strings.Cut(setting, "=")
			assert.Contains(t, table, "`"+name+"`")
		}
	case c == "docker compose up --build": // package deploy loads it, image_test.go builds its images
		require.FileExists(t, "../compose.yaml")
	case c == "kubectl apply -k deploy/kubernetes": // package deploy renders it and holds it to Kubernetes' schemas
		require.FileExists(t, "../deploy/kubernetes/kustomization.yaml")
	case strings.HasPrefix(c, "kubectl apply -f "): // package deploy reads all of them
		require.FileExists(t, filepath.Join("..", words[len(words)-1]))
	default:
		t.Errorf("nobody tries %q: say in this test how it is tried", c)
	}
}

// documentsAll has the commands run that take minutes: releases, faults, the benchmark's.
// `make verify` sets it.
const documentsAll = "WEIR_DOCUMENTS"

// small cuts what a command of the benchmark measures down, to seconds. Of a flag that is
// given twice the last counts.
var small = map[string]string{
	"drain":    "-events 3000 -runs 1",
	"sweep":    "-rates 200,400 -duration 2s",
	"capacity": "-from 200 -precision 0.3 -step 1s -confirm 2s -slo-p99 30s",
	"overload": "-capacity 300 -factors 3 -duration 2s -set BACKPRESSURE_HIGH_EVENTS=200 -set BACKPRESSURE_LOW_EVENTS=100",
	"soak":     "-rate 200 -duration 8s -every 4s -calm 2s",
	"query":    "-events 3000 -days 2 -asks 2 -rate 100",
	"live":     "-clients 3 -rate 200 -duration 2s",
	"generate": "-events 10000 -runs 1",
	"publish":  "-events 10000 -runs 1 -paced 500ms",
	"collect":  "-events 3000 -requests 300 -runs 1",
	"plan":     "",
	"compare":  "",
}

// make tries a target. Those that write into the tree, or run this test, only have to
// exist; `make verify` runs them, and then those that take minutes are run as well.
func (r *reader) make(t *testing.T, c string) {
	makefile, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	target := strings.Fields(c)[1]
	_, recipe, found := strings.Cut(string(makefile), "\n"+target+": ")
	require.True(t, found, "there is no such target")
	recipe, _, _ = strings.Cut(recipe, "\n\n")
	all := os.Getenv(documentsAll) != ""
	switch {
	case target == "help":
		require.Contains(t, r.sh(t, "make -C "+root(t)+" help"), "up ")
	case target == "up":
		r.up(t)
	case target == "migrate":
		r.sh(t, "make -C "+root(t)+" migrate")
	case all && target == "dist":
		dist := t.TempDir()
		r.sh(t, "make -C "+root(t)+" dist PLATFORMS="+runtime.GOOS+"/"+runtime.GOARCH+" DIST="+dist+" && cd "+dist+" && sha256sum -c SHA256SUMS")
	case all && (target == "chaos" || target == "overload"):
		require.Contains(t, r.alone(t, "make -C "+root(t)+" "+target+" DURATION=2s"), "--- PASS")
	case strings.Contains(recipe, "$(GO) run ./bench "):
		variables := map[string]string{"ARGS": "", "DURATION": "10m"}
		for _, v := range regexp.MustCompile(`([A-Z]+)=('[^']*'|\S+)`).FindAllStringSubmatch(c, -1) {
			variables[v[1]] = strings.Trim(v[2], "'")
		}
		_, arguments, _ := strings.Cut(recipe, "$(GO) run ./bench ")
		r.benchmark(t, strings.NewReplacer("$(ARGS)", variables["ARGS"], "$(DURATION)", variables["DURATION"]).Replace(arguments))
	}
}

// benchmark runs a command of the benchmark in small, or asks it whether it would take the flags.
func (r *reader) benchmark(t *testing.T, arguments string) {
	name, _, _ := strings.Cut(arguments, " ")
	fewer, known := small[name]
	require.True(t, known, "say in this test how %q is made small", name)
	switch {
	case os.Getenv(documentsAll) == "" && name == "compare": // of reports that are not there
		r.sh(t, r.bench+" compare -h")
	case os.Getenv(documentsAll) == "":
		r.sh(t, r.bench+" "+arguments+" -h")
	case name == "plan": // of what others measured
		r.sh(t, r.bench+" sweep -json sweep.json "+small["sweep"]+" && "+r.bench+" drain -json drain.json "+small["drain"]+" && "+r.bench+" "+arguments)
	case name == "compare":
		r.sh(t, r.bench+" generate -json old.json "+small["generate"]+" && cp old.json new.json && "+r.bench+" "+arguments)
	case name == "soak":
		require.Contains(t, r.alone(t, r.bench+" "+arguments+" "+fewer), "verdict")
	default:
		require.Contains(t, r.sh(t, r.bench+" "+arguments+" "+fewer), "verdict")
	}
}

// up runs make up as in a terminal, until a Ctrl-C.
func (r *reader) up(t *testing.T) {
	c := exec.CommandContext(t.Context(), "make", "up")
	c.Dir = ".."
	c.Env = append(slices.Concat(os.Environ(), r.env), "STREAM_NAME="+r.box.StreamName+"-up")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output, err := c.StdoutPipe()
	require.NoError(t, err)
	c.Stderr = c.Stdout
	require.NoError(t, c.Start())
	var said []string
	up := false
	for lines := bufio.NewScanner(output); lines.Scan(); {
		said = append(said, lines.Text())
		if !up && strings.Contains(lines.Text(), "Weir is up") {
			up = true
			require.NoError(t, syscall.Kill(-c.Process.Pid, syscall.SIGINT))
		}
	}
	_ = c.Wait() // make says that it was interrupted
	require.True(t, up, strings.Join(said, "\n"))
	require.Contains(t, strings.Join(said, "\n"), "stopping the servers")
	require.NotContains(t, strings.Join(said, "\n"), "ended by itself")
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	require.NoError(t, err)
	return dir
}
