package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
)

// TestImagesHoldAStaticBinaryAndNothingElse builds the Dockerfile from its second stage
// on, with binaries built here in place of the first, whose image a machine without a
// registry cannot have, and runs what comes out.
func TestImagesHoldAStaticBinaryAndNothingElse(t *testing.T) {
	t.Parallel()
	docker, err := client.New(client.FromEnv)
	require.NoError(t, err)
	defer docker.Close()
	if _, err := docker.Ping(t.Context(), client.PingOptions{}); err != nil {
		t.Skip("there is no Docker here: ", err)
	}
	from := binaries(t)
	for _, target := range []string{"migrate", "ingestion", "consumer", "api"} {
		t.Run(target, func(t *testing.T) {
			name := "weir-" + target
			id := buildImage(t, docker, target, filepath.Join(string(from), name))

			inspected, err := docker.ImageInspect(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, "65532:65532", inspected.Config.User)
			require.Equal(t, []string{"/" + name}, inspected.Config.Entrypoint)
			if target != "migrate" {
				require.Equal(t, []string{"CMD", "/" + name, "health"}, inspected.Config.Healthcheck.Test)
			}

			files, said, code := runImage(t, docker, id, "--version")
			require.Zero(t, code, said)
			require.Contains(t, said, name+" ")
			require.ElementsMatch(t, []string{name, "etc/ssl/certs/ca-certificates.crt"}, files)

			_, said, code = runImage(t, docker, id) // without settings
			require.Equal(t, 2, code, said)
			require.Contains(t, said, "_URL is required")
		})
	}
}

// buildImage builds one target and removes the image with the test.
func buildImage(t *testing.T, docker *client.Client, target, binary string) (id string) {
	t.Helper()
	text, err := os.ReadFile("../Dockerfile")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "\nFROM scratch AS base\n")
	require.True(t, found)
	// Docker's old builder makes every stage before the target: keep to what it needs.
	stages := regexp.MustCompile(`(?m)^FROM base AS (\w+)$`).Split(rest, -1)
	names := regexp.MustCompile(`(?m)^FROM base AS (\w+)$`).FindAllStringSubmatch(rest, -1)
	label := fmt.Sprintf("weir.test=%d-%s", os.Getpid(), target) // of the first stage, which stays as an image without a name
	dockerfile := "FROM scratch AS build\nLABEL " + label + "\nCOPY " + filepath.Base(binary) + " ca-certificates.crt /out/\nFROM scratch AS base\n" + stages[0]
	for i, n := range names {
		if n[1] == target {
			dockerfile += "FROM base AS " + target + stages[i+1]
		}
	}
	program, err := os.ReadFile(binary)
	require.NoError(t, err)
	var buildContext bytes.Buffer
	w := tar.NewWriter(&buildContext)
	for name, content := range map[string][]byte{"Dockerfile": []byte(dockerfile), filepath.Base(binary): program, "ca-certificates.crt": {}} {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content))}))
		_, err := w.Write(content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	built, err := docker.ImageBuild(t.Context(), &buildContext, client.ImageBuildOptions{Target: target, Remove: true, ForceRemove: true})
	require.NoError(t, err)
	defer built.Body.Close()
	for lines := json.NewDecoder(built.Body); ; {
		var line struct {
			Error string
			Aux   struct{ ID string }
		}
		if err := lines.Decode(&line); errors.Is(err, io.EOF) {
			break
		} else {
			require.NoError(t, err)
		}
		require.Empty(t, line.Error, dockerfile)
		if line.Aux.ID != "" {
			id = line.Aux.ID
		}
	}
	require.NotEmpty(t, id)
	t.Cleanup(func() {
		_, err := docker.ImageRemove(context.Background(), id, client.ImageRemoveOptions{Force: true, PruneChildren: true})
		require.NoError(t, err)
		_, err = docker.ImagePrune(context.Background(), client.ImagePruneOptions{Filters: client.Filters{}.Add("dangling", "true").Add("label", label)})
		require.NoError(t, err)
	})
	return id
}

// runImage runs an image to its end; files are those that the image holds.
func runImage(t *testing.T, docker *client.Client, image string, args ...string) (files []string, said string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := docker.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config:     &container.Config{Image: image, Cmd: args, Tty: true},
		HostConfig: &container.HostConfig{ReadonlyRootfs: true, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"}},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := docker.ContainerRemove(context.Background(), c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		require.NoError(t, err)
	})
	exported, err := docker.ContainerExport(ctx, c.ID, client.ContainerExportOptions{})
	require.NoError(t, err)
	defer exported.Close()
	for r := tar.NewReader(exported); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		// What Docker itself mounts over is there as empty files.
		if h.Typeflag == tar.TypeReg && (h.Size > 0 || !dockers.MatchString(h.Name)) {
			files = append(files, h.Name)
		}
	}
	_, err = docker.ContainerStart(ctx, c.ID, client.ContainerStartOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		state, err := docker.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
		require.NoError(t, err)
		code = state.Container.State.ExitCode
		return state.Container.State.Status == container.StateExited
	}, patience, 50*time.Millisecond)
	logs, err := docker.ContainerLogs(ctx, c.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	require.NoError(t, err)
	defer logs.Close()
	text, err := io.ReadAll(logs)
	require.NoError(t, err)
	return files, string(text), code
}

var dockers = regexp.MustCompile(`^(\.dockerenv|dev/console|etc/(hostname|hosts|resolv\.conf))$`)
