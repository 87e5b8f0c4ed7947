package password

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/blowfish" //lint:ignore SA1019 it is what bcrypt is made of
)

// ErrUnusableHash means that no password can be checked against a stored hash. It is malformed, or
// of a cost out of range, or made with a key that is not in the ring, or of the variant $2x$: that
// has the sign-extension bug of crypt_blowfish before 1.1, by which different passwords match.
var ErrUnusableHash = errors.New("unusable password hash")

// MaxCost is the highest cost of bcrypt that is verified, whatever the target is. So nobody is
// locked out when the target is lowered. Each step doubles the work: without a bound, a planted
// hash would hold a thread of the lane for hours.
const MaxCost = 16

// A Hasher makes and verifies stored passwords, in a Lane.
type Hasher struct {
	lane *Lane
	ring *KeyRing
	cost int
	// spare is the state in which burn begins. To make one takes some work too.
	spare blowfish.Cipher
	work  atomic.Uint64
	// pace is how many nanoseconds the last compare at the target cost took.
	pace atomic.Int64
	// argon2 has room for one. An Argon2id takes much memory, and one on each thread would take too
	// much.
	argon2 chan struct{}
	// argon2Pace is how many nanoseconds the last Argon2id took for each KiB and pass.
	argon2Pace atomic.Int64
	dearest    atomic.Pointer[Costs] // nil: none on record
}

// A Verdict is what Verify has found out.
type Verdict struct {
	Match bool
	// Rehash is what to store in place of the hash, if the password matched and the hash is
	// outdated: made elsewhere, with another key than the current one, or of another cost.
	// Otherwise it is empty. Store it only if the old hash is still there. Otherwise a password
	// change in between would be lost.
	Rehash string
	// Owed is how long to wait before a refusal is told, without holding anything. Otherwise the
	// time would tell which accounts have dearer hashes than others. It is a second at most, and 0
	// where no hash is dearer.
	Owed time.Duration
}

// NewHasher makes a Hasher with a cost for new hashes: the base-2 logarithm of the rounds, from 4
// to 16.
func NewHasher(lane *Lane, ring *KeyRing, cost int) (*Hasher, error) {
	if cost < bcrypt.MinCost || cost > MaxCost {
		return nil, fmt.Errorf("bcrypt cost %d is not between %d and %d", cost, bcrypt.MinCost, MaxCost)
	}
	spare, err := blowfish.NewCipher([]byte("dummy"))
	if err != nil {
		return nil, err
	}
	h := &Hasher{lane: lane, ring: ring, cost: cost, spare: *spare, argon2: make(chan struct{}, 1)}
	h.argon2Pace.Store(argon2idPace)
	return h, nil
}

// Hash returns the form in which to store a password that [Prepare] gave. Its errors are those of
// [Lane.Do].
func (h *Hasher) Hash(ctx context.Context, share, prepared string) (string, error) {
	var stored string
	var failed error
	if err := h.lane.Do(ctx, share, func() { stored, failed = h.generate(prepared) }); err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return stored, failed
}

// Verify checks a password, as it was typed, against a stored hash. An empty hash stands for an
// unknown user, and never matches.
//
// A hash that was made elsewhere is compared with each of the password's forms (see formsOf). For
// most passwords that is one. Verify does the work of one hash of the target cost for each form,
// whatever is stored and whatever the outcome is. So its time tells neither whether the user exists
// nor how old the hash is. There are three exceptions: a stored cost above the target takes its own
// work, Argon2id takes its own time if that is longer, and a match that needs a rehash takes one
// hash more. For the first two there is [Verdict.Owed], also beside [ErrUnusableHash].
//
// Its errors are [ErrUnusableHash] and those of [Lane.Do].
func (h *Hasher) Verify(ctx context.Context, share, stored, typed string) (Verdict, error) {
	var verdict Verdict
	var failed error
	if err := h.lane.Do(ctx, share, func() { verdict, failed = h.timed(stored, typed) }); err != nil {
		return Verdict{}, fmt.Errorf("verify password: %w", err)
	}
	return verdict, failed
}

// CheckRoom is [Lane.CheckRoom] of the hasher's lane.
func (h *Hasher) CheckRoom(share string) error { return h.lane.CheckRoom(share) }

// Work is the sum of 2^cost over every bcrypt run so far.
func (h *Hasher) Work() uint64 {
	return h.work.Load()
}

// A storedHash is a stored hash that can be used.
type storedHash interface {
	// inputs are what is compared with the hash, one for each of a password's forms.
	inputs(h *Hasher, f forms) [][]byte
	// isForeign is true of a hash that was made elsewhere.
	isForeign() bool
	// matches takes as long as a compare at the target cost, or longer.
	matches(h *Hasher, input []byte) bool
	isOutdated(h *Hasher) bool
}

func (h *Hasher) timed(stored, typed string) (Verdict, error) {
	start, forms := time.Now(), formsOf(typed)
	verdict, err := h.verify(stored, forms)
	verdict.Owed = h.owed(time.Since(start), len(forms.all()))
	return verdict, err
}

func (h *Hasher) verify(stored string, typed forms) (Verdict, error) {
	nobody := stored == ""
	if nobody { // down the same way, to the last string that is put together
		stored = "$hmac-sha256$k=" + h.ring.current().id + "$" + h.dummy().bcrypt()
	}
	hash, err := h.usable(stored)
	if err != nil {
		h.matchesAny(h.dummy(), typed)
		return Verdict{}, fmt.Errorf("%w: %w", ErrUnusableHash, err)
	}
	if match := h.matchesAny(hash, typed) && !nobody; !match || !hash.isOutdated(h) {
		return Verdict{Match: match}, nil
	}
	rehash, err := h.generate(typed.own)
	return Verdict{Match: true, Rehash: rehash}, err
}

// matchesAny compares all forms, although only the first can match a hash of our own, and goes on
// after a match. So the number of comparisons depends on the password alone.
func (h *Hasher) matchesAny(hash storedHash, f forms) (match bool) {
	for n, input := range hash.inputs(h, f) {
		match = hash.matches(h, input) && (n == 0 || hash.isForeign()) || match
	}
	return match
}

// usable takes a stored hash apart. Its key must be in the ring.
func (h *Hasher) usable(stored string) (storedHash, error) {
	if strings.HasPrefix(stored, argon2idPrefix) {
		return parseArgon2id(stored)
	}
	f, err := parse(stored)
	if err != nil {
		return nil, err
	}
	if f.variant == "x" {
		return nil, errors.New("variant $2x$ is refused")
	}
	if err := f.checkCost(); err != nil {
		return nil, err
	}
	if !f.isForeign() {
		_, err = h.ring.find(f.keyID)
	}
	return f, err
}

func (f form) checkCost() error {
	if f.cost < bcrypt.MinCost || f.cost > MaxCost {
		return fmt.Errorf("its cost %d is not between %d and %d", f.cost, bcrypt.MinCost, MaxCost)
	}
	return nil
}

func (f form) isForeign() bool { return f.keyID == "" }

func (f form) isOutdated(h *Hasher) bool {
	return f.keyID != h.ring.current().id || f.cost != h.cost
}

func (f form) inputs(h *Hasher, p forms) [][]byte {
	inputs := p.all()
	if k, err := h.ring.find(f.keyID); err == nil {
		inputs[0] = k.digest(p.own)
	}
	return inputs
}

// matches takes any error for a mismatch: usable lets no form through of which bcrypt could say
// anything else. Of an input of more than 72 bytes it uses the first 72, as the program did that
// made an imported hash.
func (f form) matches(h *Hasher, input []byte) bool {
	start := time.Now()
	err := bcrypt.CompareHashAndPassword([]byte(f.bcrypt()), input)
	h.work.Add(1 << f.cost)
	switch {
	case f.cost < h.cost:
		h.burn(1<<h.cost - 1<<f.cost)
	case f.cost == h.cost:
		h.pace.Store(int64(time.Since(start)))
	}
	return err == nil
}

func (h *Hasher) generate(own string) (string, error) {
	k := h.ring.current()
	hash, err := bcrypt.GenerateFromPassword(k.digest(own), h.cost)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	h.work.Add(1 << h.cost)
	return fmt.Sprintf("$hmac-sha256$k=%s$%s", k.id, hash), nil
}

// dummy is compared where there is no user. It is a hash of which no password is known.
func (h *Hasher) dummy() form { return form{variant: "a", cost: h.cost, body: strings.Repeat(".", 53)} }

// burn does some of the rounds that bcrypt is made of, to fill up a compare at a lower cost.
// Compares at the costs between would have the same number of rounds. But each has some work around
// its rounds, and several of them are measurably slower.
func (h *Hasher) burn(rounds uint64) {
	key, salt := []byte("dummy"), make([]byte, 16)
	c := h.spare
	for range rounds {
		blowfish.ExpandKey(key, &c)
		blowfish.ExpandKey(salt, &c)
	}
	h.work.Add(rounds)
}
