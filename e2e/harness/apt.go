package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// aptInstall returns what find finds, after apt-get has installed the packages when it
// is not there yet and that can be done without asking anybody.
func aptInstall(ctx context.Context, o Options, find func() (path string, err error), packages ...string) (string, error) {
	path, errFind := find()
	if errFind == nil {
		return path, nil
	}
	apt, unlock, err := lockApt(ctx, o)
	if err != nil {
		return "", errors.Join(errFind, err)
	}
	defer unlock()
	if path, err := find(); err == nil { // who had the lock before has installed it
		return path, nil
	}
	o.Log("installing %s with apt-get", packages[0])
	// An update that fails may still leave lists that are good enough to install from.
	errUpdate := asRoot(ctx, o, apt, "update", "-q")
	install := append([]string{apt, "install", "-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"}, packages...)
	if err := asRoot(ctx, o, install...); err != nil {
		return "", fmt.Errorf("install %s: %w", strings.Join(packages, " "), errors.Join(errUpdate, err))
	}
	return find()
}

// lockApt returns the path of apt-get, for one goroutine of one process of this user at
// a time. Its own locks are not enough: in Debian's container images each run throws
// away all archives that were downloaded, also those that another is about to unpack.
func lockApt(ctx context.Context, o Options) (apt string, unlock func(), err error) {
	apt, err = lookPath(o.Getenv, "apt-get")
	if err != nil {
		return "", nil, err
	}
	unlock, err = lock(ctx, "weir-apt", "installs with apt-get", o)
	return apt, unlock, err
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
