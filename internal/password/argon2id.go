package password

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/crypto/argon2"
)

const (
	argon2idPrefix = "$argon2id$"

	// The bounds on Argon2id (RFC 9106). The second recommended option of §4 (64 MiB, 3 passes, 4
	// lanes), which most programs take, is well within them. The first (2 GiB) is not: a replica
	// would need that much memory for one login.
	maxArgon2Memory = 256 << 10 // KiB
	maxArgon2Passes = 16
	maxArgon2Lanes  = 16
	maxArgon2Work   = 1 << 20 // KiB times passes: about two seconds
)

// An argon2id is a hash in the PHC string format, which only other programs make:
//
//	$argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<tag>
//
// Salt and tag are base64 without padding.
type argon2id struct {
	memory, passes uint32
	lanes          uint8
	salt, tag      []byte
}

var (
	errArgon2Broken  = errors.New("is no whole Argon2id string: it needs $argon2id$v=19$m=…,t=…,p=…$, a salt and a tag")
	errArgon2Version = errors.New("is Argon2id of another version than 19 (1.3)")
	errArgon2Size    = errors.New("is Argon2id with a salt that is not of 8 to 64 bytes, or a tag that is not of 16 to 64")
	errArgon2Bounds  = fmt.Errorf("is Argon2id beyond the bounds: m up to %d, t and p up to %d, m times t up to %d, and m at least 8 times p",
		maxArgon2Memory, maxArgon2Passes, maxArgon2Work)

	argon2idForm  = regexp.MustCompile(`\A\$argon2id\$v=19\$m=([1-9][0-9]{0,6}),t=([1-9][0-9]{0,2}),p=([1-9][0-9]{0,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)\z`)
	argon2Version = regexp.MustCompile(`\A\$argon2id\$(v=1[0-8]\$)?m=`)
)

// parseArgon2id takes a string apart. Like other programs, it ignores spare bits in the last
// characters of salt and tag. String clears them.
func parseArgon2id(stored string) (argon2id, error) {
	if argon2Version.MatchString(stored) {
		return argon2id{}, errArgon2Version
	}
	m := argon2idForm.FindStringSubmatch(stored)
	if m == nil {
		return argon2id{}, errArgon2Broken
	}
	var numbers [3]uint64
	for n := range numbers {
		numbers[n], _ = strconv.ParseUint(m[n+1], 10, 32) // of at most seven digits
	}
	memory, passes, lanes := numbers[0], numbers[1], numbers[2]
	if memory > maxArgon2Memory || passes > maxArgon2Passes || lanes > maxArgon2Lanes || memory*passes > maxArgon2Work || memory < 8*lanes {
		return argon2id{}, errArgon2Bounds
	}
	salt, saltErr := base64.RawStdEncoding.DecodeString(m[4])
	tag, tagErr := base64.RawStdEncoding.DecodeString(m[5])
	if saltErr != nil || tagErr != nil {
		return argon2id{}, errArgon2Broken
	}
	if len(salt) < 8 || len(salt) > 64 || len(tag) < 16 || len(tag) > 64 {
		return argon2id{}, errArgon2Size
	}
	return argon2id{memory: uint32(memory), passes: uint32(passes), lanes: uint8(lanes), salt: salt, tag: tag}, nil
}

func (a argon2id) String() string {
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("%sv=19$m=%d,t=%d,p=%d$%s$%s", argon2idPrefix, a.memory, a.passes, a.lanes, encode(a.salt), encode(a.tag))
}

// work is KiB times passes.
func (a argon2id) work() int { return int(a.memory) * int(a.passes) }

func (argon2id) isForeign() bool                    { return true }
func (argon2id) isOutdated(*Hasher) bool            { return true }
func (argon2id) inputs(_ *Hasher, f forms) [][]byte { return f.all() }

// matches has the memory for itself. Then it waits until a compare at the target cost would have
// ended. It goes by the clock, since no work of bcrypt takes as long as an Argon2id on every
// machine.
func (a argon2id) matches(h *Hasher, input []byte) bool {
	h.argon2 <- struct{}{}
	start := time.Now()
	match := a.compare(input)
	h.argon2Pace.Store(int64(time.Since(start)) / int64(a.work()))
	<-h.argon2
	for pace := time.Duration(h.pace.Load()); time.Since(start) < pace; {
		h.burn(1 << 6)
	}
	return match
}

// compare gives its memory back. Otherwise several of these could be garbage at a time: the
// collector lets garbage grow to four times what is in use.
func (a argon2id) compare(input []byte) bool {
	defer runtime.GC()
	tag := argon2.IDKey(input, a.salt, a.passes, a.memory, a.lanes, uint32(len(a.tag)))
	return subtle.ConstantTimeCompare(tag, a.tag) == 1
}
