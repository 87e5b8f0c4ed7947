//go:build !unix

package breached

import (
	"io"
	"os"
)

// mapFile reads a file, where none can be mapped.
func mapFile(file *os.File) ([]byte, error) { return io.ReadAll(file) }
