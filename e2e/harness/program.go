package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// Binaries is a directory with Weir's commands, built from this source.
type Binaries string

// commands are what Build builds.
var commands = []string{
	"./migrations/cmd/weir-migrate",
	"./services/ingestion/cmd/weir-ingestion",
	"./services/consumer/cmd/weir-consumer",
	"./services/api/cmd/weir-api",
}

// Build builds Weir's commands into dir. The working directory must be within the
// module.
func Build(ctx context.Context, dir string) (Binaries, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	build := exec.CommandContext(ctx, "go", append([]string{"build", "-o", dir + string(filepath.Separator)}, commands...)...)
	build.Dir = strings.TrimSpace(string(root))
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // static, as `make binaries` releases them
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return Binaries(dir), nil
}

// Program is one of Weir's services as a process of its own.
type Program struct {
	Name string
	URL  string // http://address of its API

	cmd    *exec.Cmd
	said   lastLines
	exited chan struct{}
	err    error // of Wait, once exited is closed
}

// Start starts a command, writes its output to out line by line, and returns once
// its API takes connections. env is added to this process's environment. A program
// that ends before is an error that holds its last output.
func (b Binaries) Start(ctx context.Context, name string, env []string, out io.Writer) (*Program, error) {
	p := &Program{Name: name, cmd: exec.Command(filepath.Join(string(b), name)), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	// Not of our process group: at a Ctrl-C it is we who stop the services, in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(p.cmd.SysProcAttr, syscall.SIGTERM)
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p.cmd.Stderr = p.cmd.Stdout

	started, listening := make(chan error, 1), make(chan string, 1)
	go func() {
		// Linux ends the child with the thread that made it, not with the process: this
		// goroutine keeps its thread until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.exited)
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		lines := bufio.NewReader(output)
		for err == nil {
			var line string
			line, err = lines.ReadString('\n')
			p.said.add(line)
			_, _ = io.WriteString(out, line)
			if m := listeningLine.FindStringSubmatch(line); m != nil {
				listening <- m[1] // a service says it once
			}
		}
		p.err = p.cmd.Wait()
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}

	select {
	case address := <-listening:
		p.URL = "http://" + reachable(address)
		return p, nil
	case <-p.exited:
		return p, fmt.Errorf("%s ended (exit code %d) before it was ready:\n%s", name, p.ExitCode(), &p.said)
	case <-ctx.Done():
		p.Kill()
		return p, fmt.Errorf("%s was not ready in time: %w\n%s", name, ctx.Err(), &p.said)
	}
}

var listeningLine = regexp.MustCompile(`Listening\..*address"?[=:]"?([^"\s]+)`)

// reachable turns an address that is listened on into one to connect to.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// Signal sends a signal to the program.
func (p *Program) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends the program at once (SIGKILL) and waits for its end.
func (p *Program) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// Stop asks the program to stop (SIGTERM) and waits for its end, or kills it when
// ctx ends before. It returns an error unless the exit code was 0.
func (p *Program) Stop(ctx context.Context) error {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("stop %s: %w", p.Name, ctx.Err())
	}
	if p.err != nil {
		return fmt.Errorf("stop %s: %w", p.Name, p.err)
	}
	return nil
}

// Exited is closed when the program has ended.
func (p *Program) Exited() <-chan struct{} { return p.exited }

// ExitCode returns the exit code, -1 when a signal ended the program. Call it after
// Exited only.
func (p *Program) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Said is the end of the program's output.
func (p *Program) Said() string { return p.said.String() }

// lastLines keeps the end of an output, for errors.
type lastLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *lastLines) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lines = append(l.lines, line); len(l.lines) > 20 {
		l.lines = l.lines[1:]
	}
}

func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}

// PID is the program's process id.
func (p *Program) PID() int { return p.cmd.Process.Pid }
