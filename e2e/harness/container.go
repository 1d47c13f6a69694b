package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
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
	from    image
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
	c := &container{product: p, docker: docker, tc: tc, from: from}
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
	for attempt := 1; ; attempt++ {
		port, err := freePort()
		if err != nil {
			return nil, 0, err
		}
		tc, err := create(ctx, docker, from, run, map[int]int{p.port: port})
		// Between our look at the port and Docker's, another process may take it.
		if err == nil || attempt == 5 || !strings.Contains(err.Error(), "already allocated") && !strings.Contains(err.Error(), "already in use") {
			return tc, port, err
		}
	}
}

// create starts a container whose ports are to be reached at those of this machine.
func create(ctx context.Context, docker *client.Client, from image, run recipe, ports map[int]int) (testcontainers.Container, error) {
	// Containers are for this machine only, unless Docker itself is on another one.
	bind := netip.MustParseAddr("127.0.0.1")
	if strings.HasPrefix(docker.DaemonHost(), "tcp://") {
		bind = netip.IPv4Unspecified()
	}
	bindings, exposed := network.PortMap{}, []string{}
	for inside, outside := range ports {
		port := network.MustParsePort(strconv.Itoa(inside) + "/tcp")
		bindings[port] = []network.PortBinding{{HostIP: bind, HostPort: strconv.Itoa(outside)}}
		exposed = append(exposed, port.String())
	}
	// Making it is not cancelled, as Docker may finish it nevertheless and nobody would know it.
	making, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	tc, err := testcontainers.GenericContainer(making, testcontainers.GenericContainerRequest{ContainerRequest: testcontainers.ContainerRequest{
		Image:        from.ref,
		Entrypoint:   run.entrypoint,
		Cmd:          run.cmd,
		Env:          run.env,
		Labels:       ownLabels(),
		ExposedPorts: exposed,
		ConfigModifier: func(c *mobycontainer.Config) {
			c.User, c.StopSignal = run.user, run.stopSignal
			if run.volume != "" {
				c.Volumes = map[string]struct{}{run.volume: {}}
			}
		},
		HostConfigModifier: func(h *mobycontainer.HostConfig) {
			h.PortBindings = bindings
			h.ShmSize = 256 << 20 // parallel queries need more than Docker's 64 MiB
			h.Tmpfs = run.tmpfs
		},
	}})
	if err == nil {
		err = tc.Start(ctx)
	}
	if err != nil && tc != nil {
		err = errors.Join(err, discard(docker, tc))
	}
	return tc, err
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

// pid is known where Docker runs beside us; elsewhere the number is another machine's,
// and another process here.
func (c *container) pid(ctx context.Context) int {
	state, err := c.tc.State(ctx)
	if err != nil || strings.HasPrefix(c.docker.DaemonHost(), "tcp://") {
		return 0
	}
	name, err := os.ReadFile("/proc/" + strconv.Itoa(state.Pid) + "/comm")
	if err != nil || !strings.HasPrefix(strings.TrimSpace(string(name)), c.product.process) {
		return 0
	}
	return state.Pid
}

// exec runs a command in the container, to its end.
func (c *container) exec(ctx context.Context, command ...string) error {
	created, err := c.docker.ExecCreate(ctx, c.tc.GetContainerID(), client.ExecCreateOptions{AttachStdout: true, AttachStderr: true, Cmd: command})
	if err != nil {
		return err
	}
	attached, err := c.docker.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return err
	}
	defer attached.Close()
	said, err := io.ReadAll(attached.Reader) // to its end, which is the command's
	if err != nil {
		return err
	}
	ended, err := c.docker.ExecInspect(ctx, created.ID, client.ExecInspectOptions{})
	if err == nil && ended.ExitCode != 0 {
		err = fmt.Errorf("%s: exit code %d: %s", command[0], ended.ExitCode, tail(said))
	}
	return err
}

// close removes the container with its volumes. Nobody needs a clean shutdown of
// data that is thrown away.
func (c *container) close() error {
	// Close drops idle connections only: other containers may go on using the client.
	return errors.Join(discard(c.docker, c.tc), c.docker.Close())
}

// discard removes a container with its volumes, also when what it was for is called off.
func discard(docker *client.Client, tc testcontainers.Container) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return CleanUp(removeContainer(ctx, docker, tc.GetContainerID()))
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
