package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// foreground makes this process the terminal's foreground process group, as a shell
// does for a job, and returns what gives it back. A Ctrl-C then reaches weir-up
// alone; else `make`, which started it, would get the signal too and report a clean
// stop as a failure. Without a terminal it does nothing.
func foreground() (restore func()) {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return func() {}
	}
	fd := int(tty.Fd())
	before, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || before != unix.Getpgrp() { // in the background: leave it there
		tty.Close()
		return func() {}
	}
	signal.Ignore(syscall.SIGTTOU) // or taking and giving the terminal would stop us
	_ = unix.Setpgid(0, 0)
	_ = unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, unix.Getpgrp())
	return func() {
		_ = unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, before)
		tty.Close()
	}
}
