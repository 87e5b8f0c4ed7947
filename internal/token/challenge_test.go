package token

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"

	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/shortcode"
)

func challengeKeys(t testing.TB, secrets ...string) *ChallengeKeys {
	t.Helper()
	var all [][]byte
	for _, secret := range secrets {
		all = append(all, bytes.Repeat([]byte(secret), 32))
	}
	keys, err := keychain.New(all)
	if err != nil {
		t.Fatal(err)
	}
	return NewChallengeKeys(keys)
}

// Mails that were sent before an upgrade hold links and codes that must stay good. The values were
// computed by another program, with HMAC alone.
func TestLinksAndCodesOfMailsThatAreOutStayTheSame(t *testing.T) {
	t.Parallel()
	id := uuid.MustParse("01890000-0000-4000-8000-000000000003")
	keys := challengeKeys(t, "a")
	const link, code = "ghm_AYkAAAAAQACAAAAAAAAAA2n9U5K2LaPoL9SceZ3D_Sc", "DZ00P611"
	if got := keys.Link(id); got != link {
		t.Errorf("the link token is %s, want %s", got, link)
	}
	if got := keys.Code(id); got != code {
		t.Errorf("the code is %s, want %s", got, code)
	}
	if got, want := ShownCode(code), code[:4]+"-"+code[4:]; got != want {
		t.Errorf("the code is shown as %s, want %s", got, want)
	}
}

func TestALinkIsGoodUnderTheSecretsInUseAndUnderNoOther(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	before := challengeKeys(t, "a")
	link, code := before.Link(id), before.Code(id)
	rotated := challengeKeys(t, "b", "a")
	if got, err := rotated.VerifyLink(link); err != nil || got != id {
		t.Errorf("behind a newer secret: %v, %v", got, err)
	}
	if err := rotated.VerifyCode(id, code); err != nil {
		t.Errorf("the code behind a newer secret: %v", err)
	}
	if rotated.Link(id) == link || rotated.Code(id) == code {
		t.Error("the newest key does not make them")
	}
	leaked := challengeKeys(t, "b")
	if _, err := leaked.VerifyLink(link); !errors.Is(err, ErrInvalidChallenge) {
		t.Errorf("under another secret: %v", err)
	}
	if err := leaked.VerifyCode(id, code); !errors.Is(err, ErrInvalidChallenge) {
		t.Errorf("the code under another secret: %v", err)
	}
}

// Whoever has a code must not be able to make a link token of it, nor use what was mailed for one
// challenge with another.
func TestWhatProvesOneChallengeProvesNoOther(t *testing.T) {
	t.Parallel()
	keys, one, other := challengeKeys(t, "a"), uuid.New(), uuid.New()
	if err := keys.VerifyCode(other, keys.Code(one)); !errors.Is(err, ErrInvalidChallenge) {
		t.Errorf("the code of another challenge: %v", err)
	}
	link := keys.Link(one)
	for name, raw := range map[string]string{
		"nothing":             "",
		"the prefix":          challengePrefix,
		"without the prefix":  strings.TrimPrefix(link, challengePrefix),
		"another prefix":      refreshPrefix + strings.TrimPrefix(link, challengePrefix),
		"a cut one":           link[:len(link)-1],
		"more behind":         link + "A",
		"padding":             link + "=",
		"a line break":        link[:20] + "\n" + link[21:],
		"another id":          challengePrefix + keys.Link(other)[4:25] + link[25:],
		"another last letter": link[:len(link)-1] + next(link[len(link)-1]),
		"the code":            keys.Code(one),
	} {
		if _, err := keys.VerifyLink(raw); !errors.Is(err, ErrInvalidChallenge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, leak := range []string{keys.Code(one), strings.ToLower(keys.Code(one))} {
		if strings.Contains(link, leak) {
			t.Errorf("the link token %s holds the code %s", link, leak)
		}
	}
}

// Somebody else at the same browser must not go on with the challenge of another account, and what
// lies in a browser must open nothing.
func TestWhatABrowserKeepsIsGoodForOneLoginAndProvesNothing(t *testing.T) {
	t.Parallel()
	id, rotated := uuid.New(), challengeKeys(t, "b", "a")
	kept := challengeKeys(t, "a").Kept(id, "alice")
	if got, err := rotated.VerifyKept(kept, "alice"); err != nil || got != id {
		t.Errorf("%v, %v", got, err)
	}
	for name, test := range map[string]struct{ raw, login string }{
		"another login": {kept, "alic"}, "nothing": {"", "alice"}, "a cut one": {kept[:len(kept)-1], "alice"},
		"of another secret": {challengeKeys(t, "c").Kept(id, "alice"), "alice"},
		"a link":            {strings.TrimPrefix(rotated.Link(id), challengePrefix), ""},
	} {
		if _, err := rotated.VerifyKept(test.raw, test.login); !errors.Is(err, ErrInvalidChallenge) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, login := range []string{"", "link", "code"} {
		kept := rotated.Kept(id, login)
		if _, err := rotated.VerifyLink(challengePrefix + kept); !errors.Is(err, ErrInvalidChallenge) {
			t.Errorf("%q is a link: %v", login, err)
		}
	}
}

// next is another letter of base64url.
func next(letter byte) string {
	if letter == 'A' {
		return "E"
	}
	return "A"
}

// People type what they see, on keyboards of telephones.
func TestACodeIsReadHoweverItIsTyped(t *testing.T) {
	t.Parallel()
	keys := challengeKeys(t, "a")
	var id uuid.UUID
	for ; !strings.Contains(keys.Code(id), "0") || !strings.Contains(keys.Code(id), "1"); id = uuid.New() {
	}
	code := keys.Code(id)
	shown := ShownCode(code)
	for _, typed := range []string{
		code, shown, strings.ToLower(shown), " " + shown + " ", strings.Join(strings.Split(code, ""), " "),
		strings.ReplaceAll(shown, "-", "–"), strings.ReplaceAll(shown, "-", "\u00a0"),
		strings.ReplaceAll(code, "0", "O"), strings.ReplaceAll(code, "0", "o"),
		strings.ReplaceAll(code, "1", "I"), strings.ReplaceAll(code, "1", "l"), "--" + code + "--",
	} {
		if err := keys.VerifyCode(id, typed); err != nil {
			t.Errorf("%q for %s: %v", typed, code, err)
		}
	}
	for _, typed := range []string{
		"", "-", code[:7], code + code[:1], code[:7] + "U", code[:7] + "é", code[1:] + code[:1] + "\x00",
		strings.Repeat(" ", shortcode.MostTyped) + code, strings.Repeat(code, 10), code[:4] + "_" + code[4:],
	} {
		if err := keys.VerifyCode(id, typed); !errors.Is(err, ErrInvalidChallenge) {
			t.Errorf("%q for %s: %v", typed, code, err)
		}
	}
}

// A part of the alphabet that never comes would leave fewer codes to be guessed.
func TestCodesUseTheWholeAlphabetInEachPlace(t *testing.T) {
	t.Parallel()
	keys := challengeKeys(t, "a")
	seen := map[string]bool{}
	for n := range 2000 {
		for place, letter := range keys.Code(uuid.UUID{0: byte(n), 1: byte(n >> 8)}) {
			seen[fmt.Sprint(place, string(letter))] = true
		}
	}
	if len(seen) != codeLength*len(shortcode.Alphabet) {
		t.Errorf("%d letters in all places, want %d", len(seen), codeLength*len(shortcode.Alphabet))
	}
}

// FuzzWhatIsOpenedAsALink wants a link token to have one form alone.
func FuzzWhatIsOpenedAsALink(f *testing.F) {
	keys := challengeKeys(f, "a")
	for _, seed := range []string{"", challengePrefix, keys.Link(uuid.Nil), keys.Link(uuid.Max) + "="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if id, err := keys.VerifyLink(raw); err == nil && keys.Link(id) != raw {
			t.Errorf("%q is taken for %q", raw, keys.Link(id))
		}
	})
}
