//go:build !linux

package password

import "errors"

// lowerPriority fails. On other systems niceness is that of the whole process, and to lower it
// would slow every request.
func lowerPriority() error {
	return errors.ErrUnsupported
}
