package harness

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
)

// setUpTestcontainers is done once, before testcontainers reads its environment.
var setUpTestcontainers = sync.OnceFunc(func() {
	// Its reaper is an image that no machine without a registry has; sweep.go does that work.
	_ = os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	tclog.SetDefault(tclog.NewNoopLogger())
})

// connectDocker returns a client for the engine that testcontainers would use.
func connectDocker(ctx context.Context, o Options) (*client.Client, error) {
	setUpTestcontainers()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// testcontainers looks elsewhere when the engine of DOCKER_HOST does not answer.
	// Somebody who set it meant it.
	if host := o.Getenv("DOCKER_HOST"); host != "" {
		if err := pingDocker(ctx, host); err != nil {
			return nil, fmt.Errorf("reach Docker at DOCKER_HOST: %w", err)
		}
	}
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, fmt.Errorf("reach Docker: %w", err)
	}
	return docker.Client, nil
}

func pingDocker(ctx context.Context, host string) error {
	docker, err := client.New(client.FromEnv, client.WithHost(host))
	if err != nil {
		return err
	}
	defer docker.Close()
	_, err = docker.Ping(ctx, client.PingOptions{})
	return err
}
