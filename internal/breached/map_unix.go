//go:build unix

package breached

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps a file into memory. The pages are the kernel's, which it takes back when memory is
// short.
func mapFile(file *os.File) ([]byte, error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrForeign
	}
	mapped, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, &os.PathError{Op: "map", Path: file.Name(), Err: err}
	}
	return mapped, nil
}
