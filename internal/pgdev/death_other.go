//go:build unix && !linux

package pgdev

import "syscall"

// dieWithParent can do nothing here. The next [Start] stops what a killed run has left.
func dieWithParent(*syscall.SysProcAttr) {}
