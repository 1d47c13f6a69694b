package harness

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// readyTimeout bounds the wait for a server that was started to answer. The slowest
// is PostgreSQL creating its cluster: 3 s on two idle cores.
const readyTimeout = 90 * time.Second

// product is one of the two servers, described so that every way can run it.
type product struct {
	name   string // as people write it
	urlVar string // the variable that gives a running one
	port   int    // where it listens in a container

	process string // how its process' name begins

	// url makes the URL of a server of ours at host:port.
	url func(address, password string) string
	// ping is one attempt at a real query, over a connection of its own.
	ping func(ctx context.Context, url string) error

	imageVar, image string                       // the official image, and what overrides it
	official        func(password string) recipe // how to run the official image
	debian          func(password string) recipe // how to run the image of debian.go

	// find looks for the server's binary.
	find func(getenv func(string) string) (path string, err error)
	// prepare lays out a fresh data directory; command runs the server on it.
	prepare    func(ctx context.Context, p *process) error
	command    func(p *process) *exec.Cmd
	stopSignal syscall.Signal
}

// await pings the candidates in turn until one answers, and returns it. It gives up
// when alive says that the server ended, or after readyTimeout.
func await(ctx context.Context, p product, candidates []string, alive func(context.Context) error) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		url, err := firstToAnswer(ctx, p, candidates)
		if err == nil && url != candidates[0] {
			// It may have come up in the middle of the round: now a better one may answer.
			url, err = firstToAnswer(ctx, p, candidates)
		}
		if err == nil {
			return url, nil
		}
		if ended := alive(ctx); ended != nil && ctx.Err() == nil {
			return "", ended
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("wait for %s to answer: %w", p.name, errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
}

func firstToAnswer(ctx context.Context, p product, candidates []string) (string, error) {
	var errs []error
	for _, url := range candidates {
		// An address may swallow packets instead of refusing them.
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := p.ping(attempt, url)
		cancel()
		if err == nil {
			return url, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// freePort returns a port on which nothing listens. It lies below the range that
// systems hand out to outgoing connections, so that nobody is given it while the
// server that owns it is down between stop and start.
func freePort() (int, error) {
	for range 100 {
		port := 20000 + mathrand.IntN(10000)
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, errors.New("find a free port: 100 attempts between 20000 and 29999 failed")
}

// randomHex names and locks what must not be guessed or met by chance: a password
// also makes sure that the server which answers at an address is ours.
func randomHex(bytes int) string {
	b := make([]byte, bytes)
	rand.Read(b) // never fails, says its documentation
	return hex.EncodeToString(b)
}
