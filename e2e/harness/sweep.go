package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// Every container carries its owner, so that what a killed process leaves behind is
// recognized: the next Start on the same host removes it, and `make down` at once.
const (
	labelHarness = "weir.harness"
	labelHost    = "weir.harness.host"
	labelPID     = "weir.harness.pid"
)

func ownLabels() map[string]string {
	host, _ := os.Hostname()
	return map[string]string{labelHarness: "1", labelHost: host, labelPID: strconv.Itoa(os.Getpid())}
}

// RemoveAll removes every container of the harness, also of processes that still run,
// and returns how many there were.
func RemoveAll(ctx context.Context, o Options) (int, error) {
	docker, err := connectDocker(ctx, o.withDefaults())
	if err != nil {
		return 0, err
	}
	defer docker.Close()
	return removeWhere(ctx, docker, func(map[string]string) bool { return true })
}

// removeDead removes the containers whose owner, a process on this host, is gone.
func removeDead(ctx context.Context, docker *client.Client, o Options) error {
	host := ownLabels()[labelHost]
	removed, err := removeWhere(ctx, docker, func(labels map[string]string) bool {
		return labels[labelHost] == host && !running(labels[labelPID])
	})
	if removed > 0 {
		o.Log("removed %d containers left behind by a process that was killed", removed)
	}
	return err
}

func removeWhere(ctx context.Context, docker *client.Client, matches func(labels map[string]string) bool) (int, error) {
	list, err := docker.ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: client.Filters{}.Add("label", labelHarness+"=1"),
	})
	if err != nil {
		return 0, fmt.Errorf("list containers: %w", err)
	}
	removed := 0
	var errs []error
	for _, c := range list.Items {
		if matches(c.Labels) {
			errs = append(errs, removeContainer(ctx, docker, c.ID))
			removed++
		}
	}
	return removed, errors.Join(errs...)
}

// removeContainer removes a container and its volumes. That it is gone already, or is
// just being removed by another process, is as good.
func removeContainer(ctx context.Context, docker *client.Client, id string) error {
	_, err := docker.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err == nil || cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("remove container %.12s: %w", id, err)
}

// running tells whether a process lives; one that we may not signal does.
func running(pid string) bool {
	n, err := strconv.Atoi(pid)
	return err == nil && n > 0 && !errors.Is(syscall.Kill(n, 0), syscall.ESRCH)
}
