package password

import (
	"context"
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

const target = 6 // two above the lowest cost, so that a lower one can be two steps away

func newHasher(t testing.TB, cost int, peppers ...[]byte) *Hasher {
	t.Helper()
	lane := NewLane(LaneOptions{Threads: 2, Queue: 64})
	t.Cleanup(lane.Close)
	h, err := NewHasher(lane, newRing(t, peppers...), cost)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func mustHash(t testing.TB, h *Hasher, password string) string {
	t.Helper()
	stored, err := h.Hash(t.Context(), "", password)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func mustVerify(t testing.TB, h *Hasher, stored, password string) Verdict {
	t.Helper()
	verdict, err := h.Verify(t.Context(), "", stored, password)
	if err != nil {
		t.Fatalf("Verify(%q): %v", stored, err)
	}
	return verdict
}

// plain is a hash as an import brings it.
func plain(t testing.TB, password string, cost int) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

func TestHashHasTheStoredForm(t *testing.T) {
	t.Parallel()
	bare, peppered := newHasher(t, 4), newHasher(t, 4, pepper(1))
	if stored := mustHash(t, bare, "tr0ub4dor&3"); !strings.HasPrefix(stored, "$hmac-sha256$k=0$$2a$04$") {
		t.Errorf("without a pepper: %q", stored)
	}
	want := "$hmac-sha256$k=" + pepperKey(pepper(1)).id + "$$2a$04$"
	if stored := mustHash(t, peppered, "tr0ub4dor&3"); !strings.HasPrefix(stored, want) {
		t.Errorf("with a pepper: %q, want %s…", stored, want)
	}
	if first, second := mustHash(t, bare, "tr0ub4dor&3"), mustHash(t, bare, "tr0ub4dor&3"); first == second {
		t.Error("two hashes of one password are alike: no salt")
	}
}

func TestLastByteCountsAtEveryLength(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 4, pepper(1))
	for _, length := range []int{1, 8, 71, 72, 73, 256} {
		right, err := Prepare(strings.Repeat("p", length-1) + "a")
		if err != nil {
			t.Fatal(err)
		}
		wrong, err := Prepare(strings.Repeat("p", length-1) + "b")
		if err != nil {
			t.Fatal(err)
		}
		stored := mustHash(t, h, right)
		if !mustVerify(t, h, stored, right).Match {
			t.Errorf("%d bytes: the password is refused", length)
		}
		if mustVerify(t, h, stored, wrong).Match {
			t.Errorf("%d bytes: a password with another last byte is accepted", length)
		}
	}
}

func TestUnicodeNormalFormsVerifyAlike(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 4)
	composed, decomposed := "pass\u00e9 ph\u1eadt", "passe\u0301 pha\u0323\u0302t"
	registered, err := Prepare(composed)
	if err != nil {
		t.Fatal(err)
	}
	stored := mustHash(t, h, registered)
	for _, typed := range []string{composed, decomposed, strings.ReplaceAll(decomposed, " ", "\u3000")} {
		prepared, err := Prepare(typed)
		if err != nil {
			t.Fatal(err)
		}
		if !mustVerify(t, h, stored, prepared).Match {
			t.Errorf("%+q is refused for %+q", typed, composed)
		}
	}
}

func TestImportedHashesOfOtherImplementationsVerify(t *testing.T) {
	t.Parallel()
	cheap, dear := newHasher(t, 4), newHasher(t, 8)
	for _, v := range bcryptVectors {
		h := cheap
		if strings.HasPrefix(v.hash, "$2b$10$") {
			h = dear
		}
		verdict := mustVerify(t, h, v.hash, v.password)
		if !verdict.Match {
			t.Errorf("%q is refused for %s", v.password, v.hash)
			continue
		}
		if !mustVerify(t, h, verdict.Rehash, v.password).Match {
			t.Errorf("%q is refused for its rehash", v.password)
		}
		if mustVerify(t, h, v.hash, "!"+v.password).Match {
			t.Errorf("a wrong password is accepted for %s", v.hash)
		}
	}
}

func TestSignExtensionBugIsRefused(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 5)
	for _, v := range signExtensionVectors {
		for _, stored := range []string{v.hash, "$hmac-sha256$k=0$" + v.hash} {
			if verdict, err := h.Verify(t.Context(), "", stored, v.password); !errors.Is(err, ErrUnusableHash) || verdict.Match {
				t.Errorf("Verify(%s) = %+v, %v; want ErrUnusableHash", stored, verdict, err)
			}
		}
	}
}

// Without the key a leaked table can't be guessed against, so a password alone must not do.
func TestPepperIsNeededToVerify(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 4, pepper(1))
	_, bcryptString, _ := strings.Cut(mustHash(t, h, "tr0ub4dor&3"), "$$")
	if mustVerify(t, h, "$"+bcryptString, "tr0ub4dor&3").Match {
		t.Error("the bcrypt string is that of the password itself")
	}
	if mustVerify(t, h, "$hmac-sha256$k=0$$"+bcryptString, "tr0ub4dor&3").Match {
		t.Error("the bcrypt string is that of the public key")
	}
}

func TestOutdatedHashIsRenewedOnAMatchOnly(t *testing.T) {
	t.Parallel()
	const password = "tr0ub4dor&3"
	h := newHasher(t, 5, pepper(1), pepper(2))
	fresh := mustHash(t, h, password)
	for name, c := range map[string]struct {
		stored  string
		renewed bool
	}{
		"plain":             {plain(t, password, 5), true},
		"plain, high cost":  {plain(t, password, 6), true},
		"low cost":          {mustHash(t, newHasher(t, 4, pepper(1)), password), true},
		"old pepper":        {mustHash(t, newHasher(t, 5, pepper(2)), password), true},
		"before any pepper": {mustHash(t, newHasher(t, 5), password), true},
		"up to date":        {fresh, false},
		"high cost":         {mustHash(t, newHasher(t, 6, pepper(1)), password), true}, // a target that was lowered
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if verdict := mustVerify(t, h, c.stored, "wrong"); verdict != (Verdict{}) {
				t.Errorf("a wrong password gives %+v", verdict)
			}
			verdict := mustVerify(t, h, c.stored, password)
			if !verdict.Match || (verdict.Rehash != "") != c.renewed {
				t.Fatalf("the password gives %+v, want a match and renewed = %t", verdict, c.renewed)
			}
			if !c.renewed {
				return
			}
			if prefix := fresh[:strings.LastIndex(fresh, "$")]; !strings.HasPrefix(verdict.Rehash, prefix) {
				t.Errorf("renewed as %s, want %s…", verdict.Rehash, prefix)
			}
			if again := mustVerify(t, h, verdict.Rehash, password); again != (Verdict{Match: true}) {
				t.Errorf("the renewed hash gives %+v", again)
			}
		})
	}
}

func TestEveryVerifyCostsTheSameWork(t *testing.T) {
	t.Parallel()
	const password = "tr0ub4dor&3"
	h := newHasher(t, target, pepper(1), pepper(2))
	current := mustHash(t, h, password)
	cost4 := mustHash(t, newHasher(t, 4, pepper(1)), password)
	cost5 := mustHash(t, newHasher(t, 5, pepper(2)), password)
	const verify, verifyAndRehash = 1 << target, 2 << target
	const twoForms = "tr0ub4d\u00f6r&3" // itself, and decomposed
	for name, c := range map[string]struct {
		stored, password string
		work             uint64
		unusable         bool
	}{
		"unknown user":             {"", password, verify, false},
		"right":                    {current, password, verify, false},
		"wrong":                    {current, "wrong", verify, false},
		"lowest cost, wrong":       {cost4, "wrong", verify, false},
		"lowest cost, right":       {cost4, password, verifyAndRehash, false},
		"other key, lower, wrong":  {cost5, "wrong", verify, false},
		"other key, lower, right":  {cost5, password, verifyAndRehash, false},
		"imported, lowest, wrong":  {plain(t, password, 4), "wrong", verify, false},
		"imported, target, wrong":  {plain(t, password, target), "wrong", verify, false},
		"imported, higher, wrong":  {plain(t, password, target+2), "wrong", verify << 2, false},
		"two forms, unknown user":  {"", twoForms, 2 * verify, false},
		"two forms, own":           {current, twoForms, 2 * verify, false},
		"two forms, own, lower":    {cost4, twoForms, 2 * verify, false},
		"two forms, imported":      {plain(t, password, 4), twoForms, 2 * verify, false},
		"two forms, unusable":      {"!", twoForms, 2 * verify, true},
		"unusable: malformed":      {"!", password, verify, true},
		"unusable: $2x$":           {"$2x$06$" + someBody, password, verify, true},
		"unusable: cost 3":         {"$2a$03$" + someBody, password, verify, true},
		"unusable: cost 17":        {"$2a$17$" + someBody, password, verify, true},
		"unusable: cost 31":        {"$2a$31$" + someBody, password, verify, true},
		"unusable: cost 99":        {"$2a$99$" + someBody, password, verify, true},
		"unusable: key not in use": {mustHash(t, newHasher(t, 4, pepper(9)), password), password, verify, true},
	} {
		t.Run(name, func(t *testing.T) { // one after the other: they share the counter
			before := h.Work()
			verdict, err := h.Verify(t.Context(), "", c.stored, c.password)
			if got := h.Work() - before; got != c.work {
				t.Errorf("work %d, want %d", got, c.work)
			}
			if errors.Is(err, ErrUnusableHash) != c.unusable || (err != nil) != c.unusable {
				t.Errorf("error %v, want unusable = %t", err, c.unusable)
			}
			if match := c.password == password && c.stored != "" && !c.unusable; verdict.Match != match {
				t.Errorf("match = %t, want %t", verdict.Match, match)
			}
			if strings.Contains(errorText(err), someBody) {
				t.Errorf("the error shows the hash: %v", err)
			}
		})
	}
}

// Work counts rounds alone. A bcrypt has some work beside them, so that several of them for a cheap
// hash, though of the same sum, would give it away. Not parallel: what others allocate would count.
func TestACheapHashTakesNoMoreBcryptsThanAnother(t *testing.T) {
	h := newHasher(t, target)
	allocations := func(work func()) float64 { return testing.AllocsPerRun(5, work) }
	verifying := func(stored string) float64 {
		return allocations(func() { _, _ = h.verify(stored, formsOf("wrong")) })
	}
	another := []byte(plain(t, "right", 4))
	one := allocations(func() { _ = bcrypt.CompareHashAndPassword(another, []byte("wrong")) })
	// Under the race detector, package fmt loses its buffers by chance: a few allocations say
	// nothing.
	if cheap, other := verifying(plain(t, "right", 4)), verifying(plain(t, "right", target)); cheap > other+one/2 {
		t.Errorf("%v allocations at the lowest cost, %v at the target; one bcrypt has %v", cheap, other, one)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// bcrypt refuses a bad string before it does any work, which Work would count all the same.
func TestDummyWorkIsRealWork(t *testing.T) {
	t.Parallel()
	dummy := newHasher(t, 4).dummy()
	if _, err := parse(dummy.String()); err != nil {
		t.Errorf("the dummy is malformed: %v", err)
	}
	err := bcrypt.CompareHashAndPassword([]byte(dummy.bcrypt()), []byte("dummy"))
	if !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Errorf("comparing with the dummy: %v, want a mismatch", err)
	}
}

func TestOneVerifyIsOneJobOfTheLane(t *testing.T) {
	t.Parallel()
	const password = "tr0ub4dor&3"
	h := newHasher(t, target)
	stored := plain(t, password, 4)
	before := h.lane.Stats().Started
	if verdict := mustVerify(t, h, stored, password); verdict.Rehash == "" {
		t.Fatal("no rehash")
	}
	if got := h.lane.Stats().Started - before; got != 1 {
		t.Errorf("Verify with a rehash took %d jobs, want 1", got)
	}
}

func TestLaneErrorsReachTheCallerWithoutWork(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 4)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Hash(ended, "", "tr0ub4dor&3"); !errors.Is(err, context.Canceled) {
		t.Errorf("Hash: %v, want context.Canceled", err)
	}
	if _, err := h.Verify(ended, "", "", "tr0ub4dor&3"); !errors.Is(err, context.Canceled) {
		t.Errorf("Verify: %v, want context.Canceled", err)
	}
	h.lane.Close()
	if _, err := h.Hash(t.Context(), "", "tr0ub4dor&3"); !errors.Is(err, ErrClosed) {
		t.Errorf("Hash: %v, want ErrClosed", err)
	}
	if verdict, err := h.Verify(t.Context(), "", "", "tr0ub4dor&3"); !errors.Is(err, ErrClosed) || verdict != (Verdict{}) {
		t.Errorf("Verify = %+v, %v; want ErrClosed", verdict, err)
	}
	if got := h.Work(); got != 0 {
		t.Errorf("work %d was done for refused callers", got)
	}
}

func TestHasherRefusesCostsThatBcryptHasNot(t *testing.T) {
	t.Parallel()
	for _, cost := range []int{-1, 0, 3, 32} {
		if _, err := NewHasher(nil, newRing(t), cost); err == nil {
			t.Errorf("cost %d is accepted", cost)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	h := newHasher(b, 10)
	stored := mustHash(b, h, "tr0ub4dor&3")
	b.ReportAllocs()
	for b.Loop() {
		mustVerify(b, h, stored, "tr0ub4dor&3")
	}
}
