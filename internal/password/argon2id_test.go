package password

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestArgon2idOfOtherProgramsLogsInAndBecomesOneOfOurs(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 4)
	for _, v := range argon2idVectors {
		for _, wrapped := range []string{v.hash, "{ARGON2ID}" + v.hash, "{argon2}" + v.hash, "{argon2@SpringSecurity_v5_8}" + v.hash, "argon2" + v.hash} {
			if stored, keyID, err := h.Adopt(wrapped); err != nil || stored != v.hash || keyID != "" {
				t.Errorf("Adopt(%s) = %s, key %q, %v", wrapped, stored, keyID, err)
			}
		}
		if mustVerify(t, h, v.hash, v.password+"!").Match {
			t.Errorf("a wrong password is accepted for %s", v.hash)
		}
		verdict := mustVerify(t, h, v.hash, v.password)
		if !verdict.Match || !strings.HasPrefix(verdict.Rehash, "$hmac-sha256$k=0$$2a$04$") {
			t.Errorf("%q for %s: %+v", v.password, v.hash, verdict)
			continue
		}
		if again := mustVerify(t, h, verdict.Rehash, v.password); again != (Verdict{Match: true}) {
			t.Errorf("%q for its rehash: %+v", v.password, again)
		}
	}
}

// Whatever is verified takes memory and time of everybody's, and a file of accounts may come from
// anywhere.
func TestArgon2idBeyondTheBoundsIsNeitherAdoptedNorVerified(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 4)
	const salt, tag = "$c29tZXNhbHQ", "$L1qnTgpsWMa/dMHjDHhQFw"
	for hash, want := range map[string]string{
		"$argon2id$v=19$m=262145,t=1,p=1" + salt + tag:   "beyond the bounds",
		"$argon2id$v=19$m=9999999,t=1,p=1" + salt + tag:  "beyond the bounds",
		"$argon2id$v=19$m=1024,t=17,p=1" + salt + tag:    "beyond the bounds",
		"$argon2id$v=19$m=1024,t=1,p=17" + salt + tag:    "beyond the bounds",
		"$argon2id$v=19$m=262144,t=5,p=1" + salt + tag:   "beyond the bounds",
		"$argon2id$v=19$m=31,t=1,p=4" + salt + tag:       "beyond the bounds",
		"$argon2id$v=19$m=0,t=1,p=1" + salt + tag:        "no whole Argon2id",
		"$argon2id$v=19$m=08,t=1,p=1" + salt + tag:       "no whole Argon2id",
		"$argon2id$v=19$m=99999999,t=1,p=1" + salt + tag: "no whole Argon2id",
		"$argon2id$v=19$t=1,m=8,p=1" + salt + tag:        "no whole Argon2id",
		"$argon2id$v=19$m=8,t=1,p=1" + salt:              "no whole Argon2id",
		"$argon2id$v=19$m=8,t=1,p=1" + salt + tag + "=":  "no whole Argon2id",
		"$argon2id$v=19$m=8,t=1,p=1" + salt + tag + "\n": "no whole Argon2id",
		"$argon2id$v=19$m=8,t=1,p=1" + salt + tag + tag:  "no whole Argon2id",
		"$argon2id$v=16$m=8,t=1,p=1" + salt + tag:        "another version",
		"$argon2id$m=8,t=1,p=1" + salt + tag:             "another version",
		"$argon2id$v=19$m=8,t=1,p=1$c2FsdA" + tag:        "a salt that is not",
		"$argon2id$v=19$m=8,t=1,p=1" + salt + "$c2FsdA":  "a tag that is not",
	} {
		if stored, _, err := h.Adopt(hash); stored != "" || !strings.Contains(errorText(err), want) {
			t.Errorf("Adopt(%q) = %q, %v; want %q", hash, stored, err, want)
		} else if strings.Contains(err.Error(), "c29tZXNhbHQ") {
			t.Errorf("the hash is quoted: %v", err)
		}
		before := h.Work()
		if _, err := h.Verify(t.Context(), "", hash, "secret"); !errors.Is(err, ErrUnusableHash) {
			t.Errorf("Verify(%q): %v, want ErrUnusableHash", hash, err)
		}
		if h.Work()-before != 1<<4 {
			t.Errorf("Verify(%q) did the work %d", hash, h.Work()-before)
		}
	}
	for _, highest := range []string{"m=262144,t=4,p=16", "m=65536,t=16,p=1"} {
		if _, _, err := h.Adopt("$argon2id$v=19$" + highest + salt + tag); err != nil {
			t.Errorf("%s: %v", highest, err)
		}
	}
}

// passlib overlooks spare bits, as with bcrypt.
func TestSpareBitsOfArgon2idLockNobodyOut(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 4)
	clean := argon2idVectors[1].hash
	for _, last := range []string{"w", "x", "y", "z"} {
		if stored, _, err := h.Adopt(clean[:len(clean)-1] + last); stored != clean {
			t.Errorf("…%s is adopted as %s, %v", last, stored, err)
		}
	}
}

// Each takes up to 256 MiB: with all threads of the lane at it, a replica would be killed for want
// of memory.
func TestOneArgon2idRunsAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHasher(t, 4)
		defer h.lane.Close()
		h.argon2 <- struct{}{} // as another thread does while it verifies one
		done := make(chan Verdict, 1)
		go func() { done <- mustVerify(t, h, argon2idVectors[1].hash, argon2idVectors[1].password) }()
		synctest.Wait()
		if len(done) > 0 || h.lane.Stats().Busy != 1 {
			t.Errorf("verified beside another one; %+v", h.lane.Stats())
		}
		<-h.argon2
		if v := <-done; !v.Match {
			t.Errorf("%+v", v)
		}
		if len(h.argon2) != 0 {
			t.Error("the turn was not given back: the next login with Argon2id waits for ever")
		}
	})
}

// An account imported a moment ago would otherwise be known by its quick refusal.
func TestAQuickArgon2idTakesAsLongAsABcrypt(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 4)
	refuse := func() uint64 {
		before := h.Work()
		if mustVerify(t, h, argon2idVectors[1].hash, "wrong").Match {
			t.Fatal("a wrong password is accepted")
		}
		return h.Work() - before
	}
	if work := refuse(); work != 0 {
		t.Errorf("work %d without a bcrypt to compare with", work)
	}
	mustVerify(t, h, "", "wrong")
	if h.pace.Load() <= 0 {
		t.Error("how long a bcrypt takes was not measured")
	}
	h.pace.Store(int64(time.Second))
	if refuse() == 0 {
		t.Error("a refusal ended before a bcrypt would have")
	}
}

func FuzzParseArgon2id(f *testing.F) {
	for _, v := range argon2idVectors {
		f.Add(v.hash)
	}
	f.Fuzz(func(t *testing.T, stored string) {
		a, err := parseArgon2id(stored)
		if err != nil {
			return
		}
		again, err := parseArgon2id(a.String())
		if err != nil || again.String() != a.String() || len(a.String()) != len(stored) {
			t.Errorf("%q prints as %q, and that as %q, %v", stored, a, again, err)
		}
	})
}
