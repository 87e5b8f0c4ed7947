//go:build !linux

package password

import "errors"

// lowerPriority fails: elsewhere niceness is the whole process's, and lowering that would slow every request.
func lowerPriority() error {
	return errors.ErrUnsupported
}
