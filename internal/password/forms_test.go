package password

import (
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

// Other programs hash what was typed, or a normal form of it. A login types it again.
func TestAPasswordThatWasHashedElsewhereLogsInAsItWasTyped(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 4)
	for name, typed := range map[string]string{
		"no-break space":      "correct\u00a0horse",
		"ideographic space":   "correct\u3000horse",
		"emoji with a style":  "I \u2764\ufe0f you",
		"family":              "we " + family,
		"tab":                 "correct\thorse",
		"zero-width space":    "correct\u200bhorse",
		"bytes of no UTF-8":   "correct\xffhorse",
		"257 characters":      strings.Repeat("b", 257),
		"composed":            "p\u00e4ssword",
		"decomposed":          "pa\u0308ssword",
		"neither":             "p\u00e4sswo\u0308rd\u00a0",
		"right-to-left marks": "\u05d0\u200f\u05d1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hashed := map[string]string{"as typed": typed, "NFC": norm.NFC.String(typed), "NFD": norm.NFD.String(typed)}
			for form, input := range hashed {
				stored := plain(t, input[:min(len(input), 72)], 4)
				verdict := mustVerify(t, h, stored, typed)
				if !verdict.Match {
					t.Errorf("%s: refused", form)
					continue
				}
				if again := mustVerify(t, h, verdict.Rehash, typed); again != (Verdict{Match: true}) {
					t.Errorf("%s: the rehash gives %+v", form, again)
				}
				if mustVerify(t, h, stored, "!"+typed).Match {
					t.Errorf("%s: another password is accepted", form)
				}
			}
		})
	}
}

// A hash of our own is of one form: else a password would have several, of which the policy has
// seen one.
func TestOtherFormsMatchNoHashOfOurOwn(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 4)
	const typed = "p\u00e4ssword\u00a0\ufe0f"
	for _, other := range formsOf(typed).others {
		if mustVerify(t, h, mustHash(t, h, other), typed).Match {
			t.Errorf("%+q is accepted for a hash of %+q", typed, other)
		}
		// Whoever knows the digest that is hashed knows no password.
		f, _ := parse(mustHash(t, h, typed))
		f.body = plain(t, other, 4)[7:]
		if mustVerify(t, h, f.String(), typed).Match {
			t.Errorf("%+q is accepted by its bytes for a hash of our own", typed)
		}
	}
	if len(formsOf(typed).others) != 2 {
		t.Errorf("%+q", formsOf(typed))
	}
}

// Each form is a hash, of everybody's time.
func TestMostPasswordsHaveOneForm(t *testing.T) {
	t.Parallel()
	for _, typed := range []string{"", "correct horse battery", "tr0ub4dor&3", "correct\thorse", "пароль", "密码密码", "pass 😀 word"} {
		if f := formsOf(typed); f.own != typed || len(f.others) > 0 {
			t.Errorf("%+q", f)
		}
	}
}
