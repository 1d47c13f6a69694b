package harness

import (
	"os/exec"
	"strconv"
	"testing"

	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
	"github.com/testcontainers/testcontainers-go"
)

func TestContainersOfDeadProcessesAreRemovedAndNoOthers(t *testing.T) {
	t.Parallel()
	Shared(t) // has the images present
	docker, err := connectDocker(t.Context(), Options{}.withDefaults())
	if err != nil {
		t.Skipf("this machine has no Docker, so nothing to sweep: %v", err)
	}
	defer docker.Close()
	image, err := findImage(t.Context(), docker, Options{}.withDefaults(), redisProduct)
	require.NoError(t, err)

	dead := exec.Command("true")
	require.NoError(t, dead.Run())
	create := func(labels map[string]string) string {
		c, err := testcontainers.GenericContainer(t.Context(), testcontainers.GenericContainerRequest{
			ContainerRequest: testcontainers.ContainerRequest{Image: image.ref, Cmd: []string{"true"}, Labels: labels},
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, testcontainers.TerminateContainer(c)) })
		return c.GetContainerID()
	}
	ofDead, ofElsewhere := ownLabels(), ownLabels()
	ofDead[labelPID] = strconv.Itoa(dead.Process.Pid)
	ofElsewhere[labelPID], ofElsewhere[labelHost] = ofDead[labelPID], "another-host"
	left, ours, elsewhere := create(ofDead), create(ownLabels()), create(ofElsewhere)

	require.NoError(t, removeDead(t.Context(), docker, Options{}.withDefaults()))
	require.ElementsMatch(t, []string{ours, elsewhere}, existing(t, docker, left, ours, elsewhere))
}

func existing(t *testing.T, docker *client.Client, ids ...string) []string {
	t.Helper()
	var found []string
	for _, id := range ids {
		_, err := docker.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
		if err == nil {
			found = append(found, id)
		}
	}
	return found
}
