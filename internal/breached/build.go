package breached

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/FastFilter/xorfilter"
)

// ErrNoHashes is for lists without a hash. A filter of them would refuse no password, and nobody
// would see it.
var ErrNoHashes = errors.New("there is no hash in the lists")

// Builder makes the file of a filter. It needs about 40 bytes of memory for each hash in the
// largest of 256 parts, and 60 MiB: 100 MiB for 100 million hashes. In the folder of the file, it
// needs 8 bytes for each hash, beside the 4.6 of the file.
type Builder struct {
	file string
	keys *spill
}

// Built is what came of it.
type Built struct {
	Passwords uint64
	Bytes     uint64 // of the file
}

// NewBuilder makes a Builder for the file of a name. The caller must call [Builder.Close].
func NewBuilder(file string) (*Builder, error) {
	keys, err := newSpill(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	return &Builder{file, keys}, nil
}

// Close removes what was kept for the way.
func (b *Builder) Close() { b.keys.close() }

// Read takes the hashes of a list, and tells after how many lines it is. A line is a SHA-1 hash in
// hexadecimal digits, alone or with a colon and a count. The order does not matter, and a hash may
// come often. Errors: [LineError].
func (b *Builder) Read(ctx context.Context, name string, list io.Reader, tell func(lines int)) error {
	return readLines(ctx, name, list, tell, b.keys.add)
}

// Write writes the file, and tells how many parts of 256 are done. The file appears when it is
// whole, and takes the place of one of its name. Errors: [ErrNoHashes].
func (b *Builder) Write(ctx context.Context, tell func(done, of int)) (built Built, err error) {
	out, err := os.CreateTemp(filepath.Dir(b.file), ".breached-*.filter")
	if err != nil {
		return Built{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	defer out.Close() // once more, after a success
	built, err = b.writeTo(ctx, out, tell)
	if err != nil {
		return Built{}, err
	}
	if built.Passwords == 0 {
		return Built{}, ErrNoHashes
	}
	// Others than the owner run the service, and nothing in the file is a secret.
	if err := errors.Join(out.Chmod(0o644), out.Sync(), out.Close()); err != nil {
		return Built{}, err
	}
	if err := os.Rename(out.Name(), b.file); err != nil {
		return Built{}, err
	}
	return built, syncFolder(filepath.Dir(b.file))
}

func (b *Builder) writeTo(ctx context.Context, out *os.File, tell func(done, of int)) (Built, error) {
	h := header{Version: version, Parts: parts, Size: uint64(headerSize()), FalsePositives: falsePositives}
	copy(h.Magic[:], magic)
	if _, err := out.Seek(int64(h.Size), io.SeekStart); err != nil {
		return Built{}, err
	}
	to := bufio.NewWriterSize(out, 1<<20)
	var fuses xorfilter.BinaryFuseBuilder
	var keys []uint64
	var err error
	for n := range h.Table {
		if ctx.Err() != nil {
			return Built{}, ctx.Err()
		}
		if keys, err = b.keys.keys(n, keys); err != nil {
			return Built{}, err
		}
		if h.Table[n], err = writePart(to, &fuses, keys, h.Size); err != nil {
			return Built{}, err
		}
		h.Passwords += uint64(len(keys))
		h.Size += uint64(h.Table[n].Fingerprints) * fingerprintSize
		tell(n+1, parts)
	}
	encoded, err := h.encode()
	if err != nil {
		return Built{}, err
	}
	if err := to.Flush(); err != nil {
		return Built{}, err
	}
	_, err = out.WriteAt(encoded, 0)
	return Built{h.Passwords, h.Size}, err
}

// writePart writes the filter of some keys, which stands at an offset in the file.
func writePart(
	out io.Writer, fuses *xorfilter.BinaryFuseBuilder, keys []uint64, offset uint64,
) (part, error) {
	if len(keys) == 0 {
		return part{}, nil
	}
	fuse, err := xorfilter.BuildBinaryFuse[uint32](fuses, keys)
	if err != nil {
		return part{}, err
	}
	// as the machine has them, and as [numbers] reads them
	data := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(fuse.Fingerprints))), len(fuse.Fingerprints)*fingerprintSize)
	_, err = out.Write(data)
	return part{
		Seed: fuse.Seed, Offset: offset, Fingerprints: uint32(len(fuse.Fingerprints)),
		SegmentLength: fuse.SegmentLength, SegmentCount: fuse.SegmentCount, Checksum: checksum(data),
	}, err
}

// syncFolder makes sure that the new name is still there after a loss of power.
func syncFolder(name string) error {
	folder, err := os.Open(name)
	if err != nil {
		return err
	}
	defer folder.Close()
	_ = folder.Sync() // not every system can
	return nil
}
