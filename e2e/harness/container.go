package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	mobycontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

// recipe says how to run a product in a container.
type recipe struct {
	user       string
	volume     string            // for the data, where the image declares none: a container's own file system is slow
	tmpfs      map[string]string // further disks in memory, by where they are mounted
	env        map[string]string
	entrypoint []string // none: the image's own
	cmd        []string
	stopSignal string // none: the image's own
}

// container is a server in a container of its own.
type container struct {
	product product
	docker  *client.Client
	tc      testcontainers.Container
	answers string // the URL that answered
}

// startContainers is the second way.
func startContainers(ctx context.Context, o Options, wanted []product) ([]server, string, error) {
	docker, err := connectDocker(ctx, o)
	if err != nil {
		return nil, "", err
	}
	if err := removeDead(ctx, docker, o); err != nil {
		o.Log("containers left behind by earlier runs were not removed: %v", err)
	}

	images := map[string]image{}
	var chosen []string
	for _, p := range wanted {
		found, err := findImage(ctx, docker, o, p)
		if err != nil {
			return nil, "", errors.Join(err, docker.Close())
		}
		images[p.name] = found
		chosen = append(chosen, found.String())
	}
	o.Log("starting containers")
	servers, err := startAll(ctx, wanted, func(ctx context.Context, p product) (server, error) {
		return startContainer(ctx, docker, p, images[p.name], o.Direct)
	})
	if err != nil {
		return nil, "", errors.Join(err, docker.Close())
	}
	return servers, "containers " + strings.Join(slices.Compact(chosen), ", "), nil
}

// startContainer creates a container with a fixed host port, so that the address is
// the same after a restart: Docker would map a new one each time.
func startContainer(ctx context.Context, docker *client.Client, p product, from image, direct bool) (server, error) {
	password := randomHex(12)
	run := p.official(password)
	if from.debian {
		run = p.debian(password)
	}
	tc, port, err := createOnFreePort(ctx, docker, p, from, run)
	if err != nil {
		return nil, err
	}
	c := &container{product: p, docker: docker, tc: tc}
	addresses, err := c.addresses(ctx, port)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	if direct {
		slices.Reverse(addresses)
	}
	var urls []string
	for _, a := range addresses {
		urls = append(urls, p.url(a, password))
	}
	c.answers, err = await(ctx, p, urls, c.alive)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func createOnFreePort(ctx context.Context, docker *client.Client, p product, from image, run recipe) (testcontainers.Container, int, error) {
	// Containers are for this machine only, unless Docker itself is on another one.
	bind := netip.MustParseAddr("127.0.0.1")
	if strings.HasPrefix(docker.DaemonHost(), "tcp://") {
		bind = netip.IPv4Unspecified()
	}
	inside := network.MustParsePort(strconv.Itoa(p.port) + "/tcp")
	for attempt := 1; ; attempt++ {
		port, err := freePort()
		if err != nil {
			return nil, 0, err
		}
		request := testcontainers.GenericContainerRequest{Started: true, ContainerRequest: testcontainers.ContainerRequest{
			Image:        from.ref,
			Entrypoint:   run.entrypoint,
			Cmd:          run.cmd,
			Env:          run.env,
			Labels:       ownLabels(),
			ExposedPorts: []string{inside.String()},
			ConfigModifier: func(c *mobycontainer.Config) {
				c.User, c.StopSignal = run.user, run.stopSignal
				if run.volume != "" {
					c.Volumes = map[string]struct{}{run.volume: {}}
				}
			},
			HostConfigModifier: func(h *mobycontainer.HostConfig) {
				h.PortBindings = network.PortMap{inside: {{HostIP: bind, HostPort: strconv.Itoa(port)}}}
				h.ShmSize = 256 << 20 // parallel queries need more than Docker's 64 MiB
				h.Tmpfs = run.tmpfs
			},
		}}
		tc, err := testcontainers.GenericContainer(ctx, request)
		if err == nil {
			return tc, port, nil
		}
		if tc != nil {
			err = errors.Join(err, removeContainer(ctx, docker, tc.GetContainerID()))
		}
		// Between our look at the port and Docker's, another process may take it.
		if attempt == 5 || !strings.Contains(err.Error(), "already allocated") && !strings.Contains(err.Error(), "already in use") {
			return nil, 0, err
		}
	}
}

// addresses lists where the server may answer, best first. testcontainers' answer is
// the default gateway where /.dockerenv exists, which may lead nowhere; the mapped
// port on this machine is right when Docker runs beside us; the container's own
// address when we are a container on the same bridge.
func (c *container) addresses(ctx context.Context, port int) ([]string, error) {
	reported, err := c.tc.Host(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask for the containers' host: %w", err)
	}
	if reported == "localhost" {
		reported = "127.0.0.1" // the port is bound on IPv4
	}
	addresses := []string{
		net.JoinHostPort(reported, strconv.Itoa(port)),
		net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
	}
	if ip, err := c.tc.ContainerIP(ctx); err == nil && ip != "" {
		addresses = append(addresses, net.JoinHostPort(ip, strconv.Itoa(c.product.port)))
	}
	return slices.Compact(addresses), nil
}

func (c *container) url() string { return c.answers }

func (c *container) stop(ctx context.Context) error {
	seconds := 30
	_, err := c.docker.ContainerStop(ctx, c.tc.GetContainerID(), client.ContainerStopOptions{Timeout: &seconds})
	return err
}

func (c *container) kill(ctx context.Context) error {
	_, err := c.docker.ContainerKill(ctx, c.tc.GetContainerID(), client.ContainerKillOptions{Signal: "SIGKILL"})
	return err
}

func (c *container) start(ctx context.Context) error {
	if _, err := c.docker.ContainerStart(ctx, c.tc.GetContainerID(), client.ContainerStartOptions{}); err != nil {
		return err
	}
	_, err := await(ctx, c.product, []string{c.answers}, c.alive)
	return err
}

// close removes the container with its volumes. Nobody needs a clean shutdown of
// data that is thrown away.
func (c *container) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := removeContainer(ctx, c.docker, c.tc.GetContainerID())
	// Close drops idle connections only: other containers may go on using the client.
	return errors.Join(err, c.docker.Close())
}

// alive returns why the container ended, with the end of what it said.
func (c *container) alive(ctx context.Context) error {
	state, err := c.tc.State(ctx)
	if err != nil {
		return fmt.Errorf("inspect container: %w", err)
	}
	if state.Running {
		return nil
	}
	said := []byte("(no log)")
	if logs, err := c.tc.Logs(ctx); err == nil {
		said, _ = io.ReadAll(logs)
		_ = logs.Close()
	}
	return fmt.Errorf("the container ended with exit code %d: %s", state.ExitCode, tail(said))
}

// tail is the part of a server's output that tells why it ended.
func tail(output []byte) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}
