package password

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/blowfish" //lint:ignore SA1019 it is what bcrypt is made of
)

// ErrUnusableHash means that no password can be checked against the stored hash: it is malformed, of the variant $2x$
// (the sign-extension bug of crypt_blowfish before 1.1, under which different passwords match), of a cost out of range,
// or made with a key that isn't in the ring.
var ErrUnusableHash = errors.New("unusable password hash")

// maxCostAbove is how far a stored cost may lie above the target. Each step doubles the work, so that without a bound a
// planted hash would hold a thread of the lane for hours.
const maxCostAbove = 2

// A Hasher makes and verifies stored passwords, in a Lane.
type Hasher struct {
	lane *Lane
	ring *KeyRing
	cost int
	// spare is where burn begins: making one is some work too.
	spare blowfish.Cipher
	work  atomic.Uint64
}

// A Verdict is the outcome of Verify.
type Verdict struct {
	Match bool
	// Rehash is what to store instead, when the password matched and what is stored is outdated: plain bcrypt, made
	// with another key than the current one, or of a lower cost. Empty otherwise. Store it only if the old hash is
	// still there, or a password change that came between is lost.
	Rehash string
}

// NewHasher makes a Hasher whose new hashes have the cost, the base-2 logarithm of the rounds: 4 to 31.
func NewHasher(lane *Lane, ring *KeyRing, cost int) (*Hasher, error) {
	if cost < bcrypt.MinCost || cost > bcrypt.MaxCost {
		return nil, fmt.Errorf("bcrypt cost %d is not between %d and %d", cost, bcrypt.MinCost, bcrypt.MaxCost)
	}
	spare, err := blowfish.NewCipher([]byte("dummy"))
	if err != nil {
		return nil, err
	}
	return &Hasher{lane: lane, ring: ring, cost: cost, spare: *spare}, nil
}

// Hash returns the form to store of a password that Prepare gave. Its errors are those of Lane.Do.
func (h *Hasher) Hash(ctx context.Context, prepared string) (string, error) {
	var stored string
	var failed error
	if err := h.lane.Do(ctx, func() { stored, failed = h.generate(prepared) }); err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return stored, failed
}

// Verify checks a password that Prepare gave against what is stored; "" stands for an unknown user and never matches.
//
// Its bcrypt work is that of one hash of the target cost whatever comes out, so that time tells neither whether the
// user exists nor how old the hash is. There are two exceptions: a stored cost above the target takes its own work, and
// a match that needs a rehash one hash more.
//
// Its errors are ErrUnusableHash and those of Lane.Do.
func (h *Hasher) Verify(ctx context.Context, stored, prepared string) (Verdict, error) {
	var verdict Verdict
	var failed error
	if err := h.lane.Do(ctx, func() { verdict, failed = h.verify(stored, prepared) }); err != nil {
		return Verdict{}, fmt.Errorf("verify password: %w", err)
	}
	return verdict, failed
}

// CheckRoom is that of the lane.
func (h *Hasher) CheckRoom() error { return h.lane.CheckRoom() }

// Work is the sum of 2^cost over every bcrypt run so far.
func (h *Hasher) Work() uint64 {
	return h.work.Load()
}

func (h *Hasher) verify(stored, prepared string) (Verdict, error) {
	nobody := stored == ""
	if nobody { // down the same way, to the last string that is put together
		stored = "$hmac-sha256$k=" + h.ring.current().id + "$" + h.dummy().bcrypt()
	}
	f, input, err := h.usable(stored, prepared)
	if err != nil {
		h.compare(h.dummy(), []byte("dummy"))
		return Verdict{}, fmt.Errorf("%w: %w", ErrUnusableHash, err)
	}
	match := h.compare(f, input) && !nobody
	if f.cost < h.cost {
		h.burn(1<<h.cost - 1<<f.cost)
	}
	if !match || !h.outdated(f) {
		return Verdict{Match: match}, nil
	}
	rehash, err := h.generate(prepared)
	return Verdict{Match: true, Rehash: rehash}, err
}

// usable returns the parsed form and what of the password is to be compared with it.
func (h *Hasher) usable(stored, prepared string) (form, []byte, error) {
	f, err := parse(stored)
	if err != nil {
		return form{}, nil, err
	}
	if f.variant == "x" {
		return form{}, nil, errors.New("variant $2x$ is refused")
	}
	if err := h.checkCost(f); err != nil {
		return form{}, nil, err
	}
	if f.keyID == "" {
		return f, []byte(prepared), nil
	}
	k, err := h.ring.find(f.keyID)
	if err != nil {
		return form{}, nil, err
	}
	return f, k.digest(prepared), nil
}

func (h *Hasher) checkCost(f form) error {
	if highest := min(h.cost+maxCostAbove, bcrypt.MaxCost); f.cost < bcrypt.MinCost || f.cost > highest {
		return fmt.Errorf("its cost %d is not between %d and %d", f.cost, bcrypt.MinCost, highest)
	}
	return nil
}

func (h *Hasher) outdated(f form) bool {
	return f.keyID != h.ring.current().id || f.cost < h.cost
}

func (h *Hasher) generate(prepared string) (string, error) {
	k := h.ring.current()
	hash, err := bcrypt.GenerateFromPassword(k.digest(prepared), h.cost)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	h.work.Add(1 << h.cost)
	return fmt.Sprintf("$hmac-sha256$k=%s$%s", k.id, hash), nil
}

// compare takes any error for a mismatch: a form that usable let through leaves bcrypt nothing else to say. Of an input
// over 72 bytes it uses the first 72, as whatever made an imported hash did.
func (h *Hasher) compare(f form, input []byte) bool {
	err := bcrypt.CompareHashAndPassword([]byte(f.bcrypt()), input)
	h.work.Add(1 << f.cost)
	return err == nil
}

// dummy is what is compared for nobody: a form of which no password is known.
func (h *Hasher) dummy() form { return form{variant: "a", cost: h.cost, body: strings.Repeat(".", 53)} }

// burn does that many of the rounds that bcrypt is made of, to top up a compare at a lower cost. Compares at the costs
// between would make the same sum, but each has some work around its rounds: several are slower by as much as can be seen.
func (h *Hasher) burn(rounds uint64) {
	key, salt := []byte("dummy"), make([]byte, 16)
	c := h.spare
	for range rounds {
		blowfish.ExpandKey(key, &c)
		blowfish.ExpandKey(salt, &c)
	}
	h.work.Add(rounds)
}
