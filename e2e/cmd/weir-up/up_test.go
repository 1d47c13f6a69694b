package main

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/e2e/harness"
)

func TestWhatACtrlCLeavesIsTold(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	left := harness.CleanUp(errors.New("remove container"))
	require.Error(t, calledOff(ctx, context.Canceled), "it was not called off")
	cancel()
	require.NoError(t, calledOff(ctx, context.Canceled))
	require.ErrorIs(t, calledOff(ctx, errors.Join(context.Canceled, left)), left)
}
