package breached

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/FastFilter/xorfilter"
)

// Errors of files. Each says what to do.
var (
	ErrForeign = errors.New("is no filter of breached passwords: make one with `gatehouse passwords build`")
	ErrVersion = errors.New("was made by another version of Gatehouse, or on a machine with another order of bytes: " +
		"make it anew with `gatehouse passwords build`")
	ErrDamaged = errors.New("was cut or changed: copy it again, or make it anew with `gatehouse passwords build`")
)

const (
	magic   = "gatehouse leaked"
	version = 1
	parts   = 256

	fingerprintSize = 4
	// falsePositives is how probably a password that is on no list is taken for one that is.
	falsePositives = 1.0 / (1 << 32)
)

// header is the beginning of a file. Numbers are in the byte order of the machine, as the
// fingerprints are: these are mapped as they stand.
type header struct {
	Magic          [len(magic)]byte
	Version        uint32
	Parts          uint32
	Passwords      uint64
	Size           uint64 // of the file
	FalsePositives float64
	Table          [parts]part
	Checksum       uint32 // of all before it
	_              uint32 // fingerprints begin at a multiple of 8
}

// part is where the filter of one first byte is, and what it needs beside its fingerprints. A part
// without fingerprints has no password.
type part struct {
	Seed          uint64
	Offset        uint64 // in the file
	Fingerprints  uint32
	SegmentLength uint32
	SegmentCount  uint32
	Checksum      uint32 // of the fingerprints
}

func headerSize() int { return binary.Size(header{}) }

// checksum is CRC-32C. It is for accidents: whoever may write the file can also write another.
func checksum(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

func (h *header) encode() ([]byte, error) {
	h.Checksum = 0
	var out bytes.Buffer
	if err := binary.Write(&out, binary.NativeEndian, h); err != nil {
		return nil, err
	}
	encoded := out.Bytes()
	binary.NativeEndian.PutUint32(encoded[len(encoded)-8:], checksum(encoded[:len(encoded)-8]))
	return encoded, nil
}

// readHeader reads the beginning of a file of so many bytes, and refuses what cannot be mapped.
func readHeader(file []byte) (*header, error) {
	size := headerSize()
	if !bytes.HasPrefix(file, []byte(magic)) {
		return nil, ErrForeign
	}
	if len(file) < size {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrDamaged, len(file))
	}
	var h header
	if _, err := binary.Decode(file, binary.NativeEndian, &h); err != nil {
		return nil, err
	}
	switch {
	case h.Version != version || h.Parts != parts:
		return nil, ErrVersion
	case h.Checksum != checksum(file[:size-8]):
		return nil, fmt.Errorf("%w: its header is not what it was", ErrDamaged)
	case h.Size != uint64(len(file)):
		return nil, fmt.Errorf("%w: it has %d bytes, and was made with %d", ErrDamaged, len(file), h.Size)
	}
	for _, p := range h.Table {
		if !p.fits(h.Size) {
			return nil, ErrDamaged
		}
	}
	return &h, nil
}

// fits is true if no look-up in the part reads beside its fingerprints.
func (p part) fits(size uint64) bool {
	if p.Fingerprints == 0 {
		return true
	}
	length, count := uint64(p.SegmentLength), uint64(p.SegmentCount)
	return length != 0 && length&(length-1) == 0 && count != 0 &&
		(count+2)*length == uint64(p.Fingerprints) &&
		p.Offset%fingerprintSize == 0 && p.Offset <= size &&
		uint64(p.Fingerprints)*fingerprintSize <= size-p.Offset
}

// filter is the part with its fingerprints.
func (p part) filter(fingerprints []uint32) xorfilter.BinaryFuse[uint32] {
	return xorfilter.BinaryFuse[uint32]{
		Seed: p.Seed, SegmentLength: p.SegmentLength, SegmentLengthMask: p.SegmentLength - 1,
		SegmentCount: p.SegmentCount, SegmentCountLength: p.SegmentCount * p.SegmentLength,
		Fingerprints: fingerprints,
	}
}
