package harness

import "syscall"

// dieWithParent has the kernel signal the child when we end, however we end.
func dieWithParent(attr *syscall.SysProcAttr, signal syscall.Signal) { attr.Pdeathsig = signal }
