package harness

import (
	"context"
	"slices"
	"testing"

	mobycontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"github.com/stretchr/testify/require"
)

func TestACancelledStartLeavesNoContainer(t *testing.T) {
	t.Parallel()
	Shared(t) // has the images present
	docker, err := connectDocker(t.Context(), Options{}.withDefaults())
	if err != nil {
		t.Skipf("this machine has no Docker, so nothing is left in it: %v", err)
	}
	defer docker.Close()
	image, err := findImage(t.Context(), docker, Options{}.withDefaults(), redisProduct)
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	mark := randomHex(8)
	_, err = create(ctx, docker, image, recipe{entrypoint: []string{"sleep", mark}}, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, ErrCleanUp)
	list, err := docker.ContainerList(t.Context(), client.ContainerListOptions{All: true})
	require.NoError(t, err)
	require.False(t, slices.ContainsFunc(list.Items, func(c mobycontainer.Summary) bool { return c.Command == "sleep "+mark }))
}
