//go:build !linux

package harness

import "syscall"

// dieWithParent does nothing here: only Linux can. Close ends the child.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}
