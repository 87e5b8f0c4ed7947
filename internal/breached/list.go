package breached

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// LineError is a line of a list that is no SHA-1 hash.
type LineError struct {
	List    string
	Line    int
	Problem string
}

func (e *LineError) Error() string {
	return fmt.Sprintf("%s, line %d: %s", e.List, e.Line, e.Problem)
}

const (
	longestLine = 1 << 10
	hashDigits  = sha1.Size * 2

	isNTLM   = "is an NTLM hash: get the list of SHA-1 hashes"
	isNoHash = "is no SHA-1 hash: 40 hexadecimal digits, and after them nothing, or a colon and a count"

	// toldEvery is after how many lines somebody is told how far it is.
	toldEvery = 1 << 16
)

// readLines calls a function with the key of each hash in a list. Lines with the count 0 are left
// out: services pad their answers with them. Errors: [LineError].
func readLines(
	ctx context.Context, name string, in io.Reader, tell func(lines int), add func(key uint64) error,
) error {
	lines := bufio.NewReaderSize(in, 1<<20)
	for n := 1; ; n++ {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		last := errors.Is(err, io.EOF)
		if key, counts, problem := keyIn(bytes.TrimSpace(line)); problem != "" {
			return &LineError{name, n, problem}
		} else if counts {
			if err := add(key); err != nil {
				return err
			}
		}
		if last && len(line) == 0 {
			n-- // nothing is behind the last line
		}
		if last || n%toldEvery == 0 {
			if tell(n); last || ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
}

// keyIn is the key of a hash, and whether the line has one.
func keyIn(line []byte) (key uint64, counts bool, problem string) {
	if len(line) == 0 {
		return 0, false, ""
	}
	digits, count, counted := bytes.Cut(line, []byte(":"))
	if len(digits) == 32 && isHex(digits) {
		return 0, false, isNTLM
	}
	var hash [sha1.Size]byte
	if len(digits) != hashDigits || len(line) > longestLine {
		return 0, false, isNoHash
	}
	if _, err := hex.Decode(hash[:], digits); err != nil {
		return 0, false, isNoHash
	}
	if counted && (len(count) == 0 || len(bytes.Trim(count, "0123456789")) > 0) {
		return 0, false, isNoHash
	}
	return keyOf(hash), !counted || len(bytes.Trim(count, "0")) > 0, ""
}

func isHex(digits []byte) bool {
	return len(bytes.Trim(digits, "0123456789abcdefABCDEF")) == 0
}
