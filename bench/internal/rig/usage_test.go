package rig

import (
	"bufio"
	"context"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWhatChildrenUseIsTheirParents has a shell with a child that computes, and ends it.
func TestWhatChildrenUseIsTheirParents(t *testing.T) {
	t.Parallel()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	shell := exec.CommandContext(ctx, "sh", "-c", `exec 3<&0; sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo; read x <&3' & echo; wait`)
	out, err := shell.StdoutPipe()
	require.NoError(t, err)
	in, err := shell.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, shell.Start())
	t.Cleanup(func() { end(); _ = in.Close(); _ = shell.Wait() })
	lines := bufio.NewReader(out)
	a := newAccount(func(context.Context) int { return shell.Process.Pid })
	first := a.read(ctx)
	require.Positive(t, first.Memory)
	for range 2 {
		_, err = lines.ReadString('\n')
		require.NoError(t, err)
	}
	u := a.read(ctx)
	require.Len(t, a.seen, 2)
	require.Greater(t, u.CPU, 0.05)
	require.Greater(t, u.Memory, first.Memory)
}
