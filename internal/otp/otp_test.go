package otp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/google/uuid"
)

// rfc is the secret of the vectors in RFC 4226 and RFC 6238.
func rfc() Secret { return Secret("12345678901234567890") }

// The vectors of RFC 6238 have eight digits, of which ours are the last six.
func TestTheCodesAreThoseOfTheRFCs(t *testing.T) {
	t.Parallel()
	for step, want := range []string{ // RFC 4226, Appendix D
		"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489",
	} {
		if got := rfc().Code(int64(step)); got != want {
			t.Errorf("the code of step %d is %s, want %s", step, got, want)
		}
	}
	for second, want := range map[int64]string{ // RFC 6238, Appendix B
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471",
		1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		if got := rfc().Code(Step(time.Unix(second, 0))); got != want[2:] {
			t.Errorf("the code at %d is %s, want %s", second, got, want[2:])
		}
	}
}

func TestACodeIsGoodOneStepBeforeAndOneAfterAndNoLonger(t *testing.T) {
	t.Parallel()
	const step = 59_000_000
	begins := time.Unix(step*30, 0)
	for name, test := range map[string]struct {
		at time.Time
		ok bool
	}{
		"before the step before": {begins.Add(-Period - time.Nanosecond), false},
		"at the step before":     {begins.Add(-Period), true},
		"just before the step":   {begins.Add(-time.Nanosecond), true},
		"as the step begins":     {begins, true},
		"as the step ends":       {begins.Add(Period - time.Nanosecond), true},
		"at the step after":      {begins.Add(Period), true},
		"as the step after ends": {begins.Add(2*Period - time.Nanosecond), true},
		"behind the step after":  {begins.Add(2 * Period), false},
	} {
		if got, ok := rfc().Match(rfc().Code(step), test.at); ok != test.ok || ok && got != step {
			t.Errorf("%s: step %d, %t", name, got, ok)
		}
	}
}

// Whoever stores the last step that was used must not take the same digits again for the next one.
func TestOfTwoStepsWithTheSameCodeTheLaterOneMatches(t *testing.T) {
	t.Parallel()
	const first = 910737
	secret := rfc()
	if secret.Code(first) != secret.Code(first+1) {
		t.Fatal("the two steps have different codes")
	}
	for _, now := range []int64{first - 1, first, first + 1, first + 2} {
		step, ok := secret.Match(secret.Code(first), time.Unix(now*30, 0))
		if want := min(first+1, now+1); !ok || step != want {
			t.Errorf("at step %d it is step %d, %t, want %d", now-first, step-first, ok, want-first)
		}
	}
}

func TestAWrongCodeMatchesNoStep(t *testing.T) {
	t.Parallel()
	now := time.Unix(59, 0)
	code := rfc().Code(Step(now))
	for _, typed := range []string{
		"", "000000", code[1:], code + "0", "0" + code, "94" + code, code[:5] + "x", "-" + code[:5], "+" + code[1:],
		code + "\n", code + "\x00", code[:5] + "٢", "２" + code[1:], strings.Repeat(" ", 200) + code,
	} {
		if step, ok := rfc().Match(typed, now); ok {
			t.Errorf("%q matches step %d", typed, step)
		}
	}
	if step, ok := Secret("09876543210987654321").Match(code, now); ok {
		t.Errorf("the code matches step %d of another secret", step)
	}
}

func TestACodeIsReadWithWhatAppsShowBetweenItsDigits(t *testing.T) {
	t.Parallel()
	now := time.Unix(59, 0)
	for _, typed := range []string{"287082", "287 082", "287-082", " 287082 ", "28 70 82", "287\u00a0082", "2-8-7-0-8-2"} {
		if step, ok := rfc().Match(typed, now); !ok || step != 1 {
			t.Errorf("%q: step %d, %t", typed, step, ok)
		}
	}
}

func TestASecretIsReadAsItIsShown(t *testing.T) {
	t.Parallel()
	const text = "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ"
	if got := rfc().Text(); got != text {
		t.Errorf("the secret is shown as %s", got)
	}
	for _, typed := range []string{
		text, strings.ToLower(text), strings.ReplaceAll(text, " ", ""), strings.ReplaceAll(text, " ", "-"),
		" " + text + " ", text + "====", strings.ReplaceAll(text, " ", "\u00a0"),
	} {
		if got, err := ParseSecret(typed); err != nil || !bytes.Equal(got, rfc()) {
			t.Errorf("%q is read as %q, %v", typed, []byte(got), err)
		}
	}
	for name, typed := range map[string]string{
		"nothing": "", "a short one": "GEZD GNBV GY3T QOJQ GEZD GNBV", "a digit of none": text[:38] + "1",
		"a line break": text[:20] + "\n" + text[20:], "padding within": text[:4] + "=" + text[4:],
		"bits behind the last byte": strings.Repeat("A", 27) + "B", "too long": strings.Repeat("A", 104),
		"far too long": strings.Repeat("A", 2000), "letters of another script": text[:38] + "а",
	} {
		if got, err := ParseSecret(typed); !errors.Is(err, ErrSecret) {
			t.Errorf("%s is read as %q, %v", name, []byte(got), err)
		}
	}
}

func TestEverySecretIsAnotherOf160Bits(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		secret := NewSecret()
		if len(secret) != 20 || seen[string(secret)] {
			t.Fatalf("%d bytes, seen before: %t", len(secret), seen[string(secret)])
		}
		seen[string(secret)] = true
	}
}

// An app splits the label at a colon, takes + for a plus sign, and shows issuer and account.
func TestAnAppReadsNameAndSecretFromTheURI(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ issuer, account, wantIssuer, wantAccount string }{
		{"Gatehouse", "alice", "Gatehouse", "alice"},
		{"Haus & Hof", "alice@example.org", "Haus & Hof", "alice@example.org"},
		{"100 % / ?#=", "a+b&secret=AAAA", "100 % / ?#=", "a+b&secret=AAAA"},
		{"Ex: ample", "a:b", "Ex  ample", "a b"},
		{"Größe", "Łukasz 🐙", "Größe", "Łukasz 🐙"},
	} {
		text := rfc().URI(test.issuer, test.account)
		uri, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(text, " +") || strings.Count(text, ":") != 2 || strings.Contains(strings.ToUpper(text), "%3A") {
			t.Errorf("apps misread %s", text)
		}
		issuer, account, _ := strings.Cut(strings.TrimPrefix(uri.Path, "/"), ":")
		if uri.Scheme != "otpauth" || uri.Host != "totp" || issuer != test.wantIssuer || account != test.wantAccount {
			t.Errorf("%s is for %q at %q", text, account, issuer)
		}
		want := url.Values{
			"secret": {"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}, "issuer": {test.wantIssuer},
			"algorithm": {"SHA1"}, "digits": {"6"}, "period": {"30"},
		}
		if got := uri.Query(); got.Encode() != want.Encode() {
			t.Errorf("%s has %v", text, got)
		}
	}
}

func TestNoSecretIsPrinted(t *testing.T) {
	t.Parallel()
	code, _ := ParseRecoveryCode("0123-4567-89AB-CDEF-GHJK-MNPQ")
	for _, thing := range []any{
		rfc(), code, []RecoveryCode{code}, struct {
			S Secret
			C RecoveryCode
		}{rfc(), code},
	} {
		var printed strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&printed, verb+"\n", thing)
		}
		slog.New(slog.NewTextHandler(&printed, nil)).Info("", "thing", thing)
		slog.New(slog.NewJSONHandler(&printed, nil)).Info("", "thing", thing)
		for _, marshal := range []func(any) ([]byte, error){
			json.Marshal, func(v any) ([]byte, error) { return jsonv2.Marshal(v) },
		} {
			text, err := marshal(thing)
			if err != nil || !strings.Contains(string(text), hidden) {
				t.Errorf("%T is written as %s, %v", thing, text, err)
			}
			printed.Write(text)
		}
		for _, form := range []string{
			"12345", "31323334", "49 50 51", "0x31", "MTIzNDU2", "GEZDGNBV", "01234567", "0123-4567", "cdef", "CDEF",
		} {
			if strings.Contains(printed.String(), form) {
				t.Errorf("%T is printed as %s", thing, printed.String())
			}
		}
	}
}

func TestARecoveryCodeIsReadHoweverItIsTyped(t *testing.T) {
	t.Parallel()
	for _, code := range NewRecoveryCodes() {
		shown := code.Text()
		if len(shown) != 29 || strings.Count(shown, "-") != 5 {
			t.Errorf("a code is shown as %s", shown)
		}
		for _, typed := range []string{
			shown, strings.ToLower(shown), strings.ReplaceAll(shown, "-", ""), strings.ReplaceAll(shown, "-", " "),
			strings.ReplaceAll(shown, "0", "O"), strings.ReplaceAll(shown, "1", "l"), strings.ReplaceAll(shown, "1", "I"),
		} {
			if got, ok := ParseRecoveryCode(typed); !ok || got != code {
				t.Errorf("%q for %s: %t", typed, shown, ok)
			}
		}
		for _, typed := range []string{"", shown[1:], shown + "0", shown[:28] + "U", shown[:28] + "!"} {
			if _, ok := ParseRecoveryCode(typed); ok {
				t.Errorf("%q is taken for a code", typed)
			}
		}
	}
}

// A part of the alphabet that never comes would leave fewer codes to be guessed.
func TestEveryRecoveryCodeIsAnotherAndUsesTheWholeAlphabet(t *testing.T) {
	t.Parallel()
	codes, letters := map[string]bool{}, map[string]bool{}
	for range 200 {
		all := NewRecoveryCodes()
		if len(all) != 10 {
			t.Fatalf("%d codes", len(all))
		}
		for _, code := range all {
			codes[code.Text()] = true
			for place, letter := range strings.ReplaceAll(code.Text(), "-", "") {
				letters[fmt.Sprint(place, string(letter))] = true
			}
		}
	}
	if len(codes) != 2000 || len(letters) != 24*32 {
		t.Errorf("%d codes of 2000, %d letters in all places of %d", len(codes), len(letters), 24*32)
	}
}

// Digests that are stored must stay good. The value was computed by another program.
func TestADigestIsThatOfOneCodeOfOneAccount(t *testing.T) {
	t.Parallel()
	account := uuid.MustParse("01890000-0000-4000-8000-000000000003")
	code, _ := ParseRecoveryCode("oI23-4567-89ab-cdef-ghjk-mnpq")
	other, _ := ParseRecoveryCode("0123-4567-89AB-CDEF-GHJK-MNPR")
	const want = "a576983cbc1e0059edf1d7359ca61070fcdd73d76a1adf4123672e362c0701d8"
	if got := fmt.Sprintf("%x", code.Digest(account)); got != want {
		t.Errorf("the digest is %s, want %s", got, want)
	}
	if bytes.Equal(code.Digest(account), other.Digest(account)) {
		t.Error("two codes have the same digest")
	}
	if bytes.Equal(code.Digest(account), code.Digest(uuid.Nil)) {
		t.Error("two accounts with the same code have the same digest")
	}
}

func TestOneFieldTakesBothKindsOfCodes(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]Kind{
		"287082": KindTOTP, "287 082": KindTOTP, "0123-4567-89AB-CDEF-GHJK-MNPQ": KindRecovery,
		"012345678901234567890123": KindRecovery, "oooooooooooooooooooooooo": KindRecovery,
		"": KindNeither, "28708": KindNeither, "2870822": KindNeither, "28708O": KindNeither, "0123-4567": KindNeither,
		"correct horse battery": KindNeither,
	} {
		if got := KindOf(typed); got != want {
			t.Errorf("%q is of kind %d, want %d", typed, got, want)
		}
	}
}

// FuzzWhatIsTypedAsASecondFactor wants a text to be one thing at most, and to stay it when it is
// typed as it is shown.
func FuzzWhatIsTypedAsASecondFactor(f *testing.F) {
	for _, seed := range []string{"", "287082", "287 082", "٢٨٧٠٨٢", "0123-4567-89AB-CDEF-GHJK-MNPQ",
		"oooooooooooooooooooooooo", "28\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, isCode := ParseCode(typed)
		recovery, isRecovery := ParseRecoveryCode(typed)
		kind := KindOf(typed)
		if isCode && isRecovery || isCode != (kind == KindTOTP) || isRecovery != (kind == KindRecovery) {
			t.Errorf("%q is of kind %d", typed, kind)
		}
		if isCode && (len(code) != 6 || strings.Trim(code, "0123456789") != "") {
			t.Errorf("%q is read as %q", typed, code)
		}
		if again, ok := ParseRecoveryCode(recovery.Text()); isRecovery && (!ok || again != recovery) {
			t.Errorf("%q is read as %q", typed, recovery.Text())
		}
		if step, ok := rfc().Match(typed, time.Unix(59, 0)); ok && code != rfc().Code(step) {
			t.Errorf("%q matches step %d", typed, step)
		}
	})
}

// FuzzParseSecret wants every secret that is read to be written as one that is read again.
func FuzzParseSecret(f *testing.F) {
	for _, seed := range []string{"", rfc().Text(), "geZD-gnbv====", "\xff", strings.Repeat("A", 103), "ı"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		secret, err := ParseSecret(text)
		if err != nil {
			return
		}
		if len(secret) < 16 || len(secret) > 64 {
			t.Errorf("%q is read as %d bytes", text, len(secret))
		}
		if again, err := ParseSecret(secret.Text()); err != nil || !bytes.Equal(again, secret) {
			t.Errorf("%q is read as %q, and that as %q, %v", text, secret.Text(), again.Text(), err)
		}
	})
}
