package cursor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/keychain"
)

func cursors(t testing.TB, secrets ...string) Cursors {
	t.Helper()
	var all [][]byte
	for _, secret := range secrets {
		all = append(all, []byte(secret))
	}
	keys, err := keychain.New(all)
	if err != nil {
		t.Fatal(err)
	}
	return New(keys)
}

// This cursor was made by the version before.
func TestACursorOfTheVersionBeforeStillOpens(t *testing.T) {
	t.Parallel()
	now, keys := time.Unix(1_800_000_000, 0),
		cursors(t, "a fixed secret of the tests, of 32 bytes or more")
	const cursor = "8ZoZUp-PC_jcG3A_fhwD8RgsBUnKCmSiuXTFxIW0dzm1vTGH1pU--hNlXn0"
	if got, err := keys.Open(now, "question", cursor); err != nil || got != "position" {
		t.Errorf("%q, %v", got, err)
	}
	for _, written := range []string{
		cursor[:9] + "\n" + cursor[9:], cursor + "\r", cursor + strings.Repeat("A", maxLength),
	} {
		if _, err := keys.Open(now, "question", written); !errors.Is(err, ErrInvalid) {
			t.Errorf("one cursor can be written in two ways: %q", written)
		}
	}
}

func FuzzACursorOpensOnlyAsItWasMade(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	keys := cursors(f, "a secret of the fuzz test, of 32 bytes or more")
	first := keys.Make(now, "question", "position")
	for _, seed := range []string{first, first[1:], "", "AAAA", first + "\n"} {
		f.Add(seed, "question", "position")
	}
	f.Fuzz(func(t *testing.T, raw, question, position string) {
		if got, err := keys.Open(now, question, raw); err == nil &&
			(question != "question" || got != "position") {
			// the seed was sealed with another nonce in each process
			t.Errorf("%q was opened: %q", raw, got)
		}
		if len(position) > 256 {
			return
		}
		sealed := keys.Make(now, question, position)
		if got, err := keys.Open(now.Add(24*time.Hour), question, sealed); err != nil ||
			got != position {
			t.Errorf("%q came back as %q, %v", position, got, err)
		}
		if _, err := keys.Open(now, question+"x", sealed); err == nil {
			t.Error("it answered another question")
		}
		if _, err := keys.Open(now.Add(24*time.Hour+time.Second), question, sealed); err == nil {
			t.Error("it never grows old")
		}
	})
}

// Cursors stay good while SECRET_KEY is rotated.
func TestACursorOfTheKeyBeforeStillOpens(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	const old, next = "an old secret, with thirty-two bytes or more",
		"a new secret, with thirty-two bytes or more"
	before, after := cursors(t, old), cursors(t, next, old)
	cursor := before.Make(now, "q", "p")
	if got, err := after.Open(now, "q", cursor); err != nil || got != "p" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := before.Open(now, "q", after.Make(now, "q", "p")); err == nil {
		t.Error("a key opened what another sealed")
	}
}
