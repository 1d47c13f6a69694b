package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server run from a binary of this machine, on a temporary directory.
type process struct {
	product  product
	binary   string
	dir      string
	port     int
	password string
	account  *syscall.Credential // nil: ours

	running *exec.Cmd
	exited  chan struct{} // closed when running has ended
}

// startBinaries is the third way.
func startBinaries(ctx context.Context, o Options, wanted []product) ([]server, string, error) {
	binaries := map[string]string{}
	var chosen, why []string
	for _, p := range wanted {
		path, err := p.find(o.Getenv)
		if err != nil {
			why = append(why, err.Error())
		}
		binaries[p.name] = path
		chosen = append(chosen, path)
	}
	if len(why) > 0 {
		return nil, "", errors.New(strings.Join(why, "; "))
	}
	removeDeadDirs()
	o.Log("starting %s", strings.Join(chosen, " and "))
	servers, err := startAll(ctx, wanted, func(ctx context.Context, p product) (server, error) {
		return startProcess(ctx, p, binaries[p.name])
	})
	return servers, "binaries " + strings.Join(chosen, ", "), err
}

func startProcess(ctx context.Context, p product, binary string) (server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-*")
	if err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	s := &process{product: p, binary: binary, dir: dir, port: port, password: randomHex(12), account: unprivileged()}
	err = s.own(dir)
	if err == nil {
		err = p.prepare(ctx, s)
	}
	if err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, CleanUp(s.close()))
	}
	return s, nil
}

func (p *process) url() string {
	return p.product.url(net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)), p.password)
}

func (p *process) pid(context.Context) int { return p.running.Process.Pid }

// start launches the server and waits until it answers. A killed PostgreSQL leaves
// children for a moment, and refuses to start beside them: so it is launched again.
func (p *process) start(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		if err := p.launch(); err != nil {
			return err
		}
		_, err := await(ctx, p.product, []string{p.url()}, p.alive)
		if err == nil {
			return nil
		}
		ended := p.alive(ctx) != nil
		if attempt == 5 || !ended || ctx.Err() != nil {
			return errors.Join(err, p.end(syscall.SIGKILL))
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (p *process) launch() error {
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	command := p.product.command(p)
	command.Dir, command.Stdout, command.Stderr, command.SysProcAttr = p.dir, log, log, p.attributes()

	started, exited := make(chan error, 1), make(chan struct{})
	go func() {
		// Linux ends the child with the thread that made it, not with the process: this
		// goroutine keeps its thread until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // how it ended is in ProcessState
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("launch %s: %w", p.binary, err)
	}
	p.running, p.exited = command, exited
	return nil
}

// attributes make a child that dies with us, but not of a Ctrl-C on our terminal: the
// services must find their servers alive while they drain.
func (p *process) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Credential: p.account}
	dieWithParent(attr, p.product.stopSignal)
	return attr
}

func (p *process) stop(context.Context) error { return p.end(p.product.stopSignal) }
func (p *process) kill(context.Context) error { return p.end(syscall.SIGKILL) }

// close ends the server without ceremony: its data goes too.
func (p *process) close() error {
	return errors.Join(p.end(p.product.stopSignal), os.RemoveAll(p.dir))
}

// end signals the process and waits; after 20 s it is killed.
func (p *process) end(signal syscall.Signal) error {
	if p.running == nil {
		return nil
	}
	if err := p.running.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.product.name, err)
	}
	select {
	case <-p.exited:
	case <-time.After(20 * time.Second):
		_ = p.running.Process.Kill()
		<-p.exited
	}
	return nil
}

func (p *process) alive(context.Context) error {
	select {
	case <-p.exited:
		said, _ := os.ReadFile(p.logPath())
		return fmt.Errorf("%s ended: %s: %s", p.binary, p.running.ProcessState, tail(said))
	default:
		return nil
	}
}

func (p *process) logPath() string { return filepath.Join(p.dir, "server.log") }

// own gives a file to the account that the server runs as.
func (p *process) own(path string) error {
	if p.account == nil {
		return nil
	}
	if err := os.Chown(path, int(p.account.Uid), int(p.account.Gid)); err != nil {
		return fmt.Errorf("give data directory to the server: %w", err)
	}
	return nil
}

// unprivileged is the account to run servers as when we are root: PostgreSQL refuses
// to run as root.
func unprivileged() *syscall.Credential {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(account.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(account.Gid, 10, 32)
		if errUID == nil && errGID == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	return nil // the server will say that it refuses
}

const dirPrefix = "weir-servers-"

// removeDeadDirs removes what processes that were killed left behind: their servers
// died with them, their directories did not.
func removeDeadDirs() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*-*"))
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		if _, err := strconv.Atoi(pid); err == nil && !running(pid) {
			_ = os.RemoveAll(dir)
		}
	}
}
