package breached

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"os"
	"runtime/debug"
	"unsafe"

	"github.com/FastFilter/xorfilter"
)

// Filter tells which passwords are known from leaks. Many goroutines may use it.
type Filter struct {
	header *header
	file   []byte
	parts  [parts]xorfilter.BinaryFuse[uint32]
}

// Open maps a file. It looks at the header alone, which tells foreign and cut files. The file stays
// mapped until the process ends. One that is replaced by another of its name goes on as it was, and
// the other one counts from the next start. Errors: [ErrForeign], [ErrVersion], [ErrDamaged].
func Open(name string) (*Filter, error) {
	opened, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	file, err := mapFile(opened)
	if err != nil {
		return nil, err
	}
	h, err := readHeader(file)
	if err != nil {
		return nil, fmt.Errorf("%s %w", name, err)
	}
	return newFilter(h, file), nil
}

func newFilter(h *header, file []byte) *Filter {
	f := &Filter{header: h, file: file}
	for n, p := range h.Table {
		f.parts[n] = p.filter(numbers(f.bytes(p)))
	}
	return f
}

// bytes are the fingerprints of a part, as they stand in the file.
func (f *Filter) bytes(p part) []byte {
	if p.Fingerprints == 0 {
		return nil
	}
	return f.file[p.Offset:][:int(p.Fingerprints)*fingerprintSize]
}

// numbers are fingerprints where they stand: a copy would be as large as the file.
func numbers(data []byte) []uint32 {
	if len(data) == 0 {
		return nil
	}
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(data))), len(data)/fingerprintSize)
}

// Verify reads the whole file, which tells one that was changed. [ErrDamaged].
func (f *Filter) Verify() error {
	for n, p := range f.header.Table {
		if checksum(f.bytes(p)) != p.Checksum {
			return fmt.Errorf("the filter of breached passwords %w: its part %d is not what it was", ErrDamaged, n)
		}
	}
	return nil
}

// Passwords is how many passwords the filter was made of.
func (f *Filter) Passwords() uint64 { return f.header.Passwords }

// Contains is true for each password that the filter was made of, and for one in 2³² of the others.
//
// A file that is cut in its place while it is mapped cannot be read any more. Then Contains panics,
// which ends a request; the fault of the memory would end the process.
func (f *Filter) Contains(password string) bool {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return f.has(keyOf(sha1.Sum([]byte(password))))
}

func (f *Filter) has(key uint64) bool {
	part := &f.parts[partOf(key)]
	return len(part.Fingerprints) > 0 && part.Contains(key)
}

// keyOf is what a filter knows of a hash. Of a billion hashes, 64 bits are as good as all 160.
func keyOf(hash [sha1.Size]byte) uint64 { return binary.BigEndian.Uint64(hash[:]) }

func partOf(key uint64) int { return int(key >> 56) }
