package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// aptInstall returns what find finds, after apt-get has installed the packages when it
// is not there yet and that can be done without asking anybody.
func aptInstall(ctx context.Context, o Options, find func() (path string, err error), packages ...string) (string, error) {
	return aptGet(ctx, o, find, "installing "+packages[0], func(apt string) error {
		return asRoot(ctx, o, append([]string{apt, "install", "-q", "-y", "--no-install-recommends",
			"-o", "DPkg::Lock::Timeout=300"}, packages...)...)
	})
}

// aptGet returns what find finds, after get has got it with apt-get when it is not there
// yet. One goroutine of one process of this user does so at a time. The locks of apt-get
// are not enough: in Debian's container images each run throws away all archives that
// were downloaded, also those that another is about to unpack.
func aptGet(ctx context.Context, o Options, find func() (path string, err error), doing string, get func(apt string) error) (string, error) {
	path, errFind := find()
	if errFind == nil {
		return path, nil
	}
	apt, err := lookPath(o.Getenv, "apt-get")
	if err != nil {
		return "", errors.Join(errFind, err)
	}
	unlock, err := lock(ctx, lockPath("weir-apt"), "uses apt-get", o)
	if err != nil {
		return "", err
	}
	defer unlock()
	if path, err := find(); err == nil { // who had the lock before has got it
		return path, nil
	}
	o.Log("%s with apt-get", doing)
	// An update that fails may still leave lists that are good enough.
	errUpdate := asRoot(ctx, o, apt, "update", "-q")
	if err := get(apt); err != nil {
		return "", fmt.Errorf("%s: %w", doing, errors.Join(errUpdate, err))
	}
	return find()
}

func asRoot(ctx context.Context, o Options, command ...string) error {
	if os.Geteuid() != 0 {
		sudo, err := lookPath(o.Getenv, "sudo")
		if err != nil {
			return errors.New("not root, and there is no sudo")
		}
		command = append([]string{sudo, "-n"}, command...) // -n: fail instead of asking for a password
	}
	run := exec.CommandContext(ctx, command[0], command[1:]...)
	run.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := run.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(command[0]), err, tail(out))
	}
	return nil
}
