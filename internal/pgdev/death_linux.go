package pgdev

import "syscall"

// dieWithParent makes the system shut the child down in order when the process that starts it ends,
// for whatever reason.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }
