package breached

import (
	"encoding/binary"
	"os"
	"slices"
)

const (
	keySize = 8
	// chunkSize is what a part collects before it is written: 32 MiB for all. A disk reads a chunk
	// about as fast as if all were in order.
	chunkSize = 128 << 10
)

// spill keeps the keys of each part, for which memory is too small, in a file without a name.
type spill struct {
	file    *os.File
	waiting [parts][]byte
	chunks  [parts][]int64 // where they are in the file
	end     int64
}

// newSpill makes the file in a folder.
func newSpill(folder string) (*spill, error) {
	file, err := os.CreateTemp(folder, ".breached-*.keys")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(file.Name()) // else, where a file that is open keeps its name, close does
	return &spill{file: file}, nil
}

func (s *spill) add(key uint64) error {
	part := partOf(key)
	if s.waiting[part] = binary.NativeEndian.AppendUint64(s.waiting[part], key); len(s.waiting[part]) < chunkSize {
		return nil
	}
	if _, err := s.file.WriteAt(s.waiting[part], s.end); err != nil {
		return err
	}
	s.chunks[part] = append(s.chunks[part], s.end)
	s.end += chunkSize
	s.waiting[part] = s.waiting[part][:0]
	return nil
}

// keys returns those of a part, each once and in order. It takes the memory of those before.
func (s *spill) keys(part int, memory []uint64) ([]uint64, error) {
	keys := memory[:0]
	take := func(chunk []byte) {
		for len(chunk) > 0 {
			keys = append(keys, binary.NativeEndian.Uint64(chunk))
			chunk = chunk[keySize:]
		}
	}
	chunk := make([]byte, chunkSize)
	for _, at := range s.chunks[part] {
		if _, err := s.file.ReadAt(chunk, at); err != nil {
			return nil, err
		}
		take(chunk)
	}
	take(s.waiting[part])
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

func (s *spill) close() {
	_ = s.file.Close()
	_ = os.Remove(s.file.Name())
}
