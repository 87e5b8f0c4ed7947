package email_test

import (
	"errors"
	"strings"
	"testing"

	"gatehouse.example/internal/email"
)

// naughty are addresses that some program reads differently from another (RFC 5321, 5322, 6531,
// 6532). Of those that are good, it says the key and the mailbox.
func naughty() []struct {
	given, key, mailbox string
	refused             error
} {
	long := strings.Repeat("a", 63)
	return []struct {
		given, key, mailbox string
		refused             error
	}{
		// plain ones
		{"alice@example.org", "alice@example.org", "alice@example.org", nil},
		{"Alice@Example.ORG", "alice@example.org", "Alice@example.org", nil},
		{"  alice@example.org\n", "alice@example.org", "alice@example.org", nil},
		{"a@b.co", "a@b.co", "a@b.co", nil},
		{"alice+shop@example.org", "alice+shop@example.org", "alice+shop@example.org", nil},
		{"first.last@sub.example.org", "first.last@sub.example.org", "first.last@sub.example.org", nil},
		{"!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~@example.org",
			"!#$%&'*+-/=?^_`{|}~@example.org", nil},
		{"-alice-@example.org", "-alice-@example.org", "-alice-@example.org", nil},
		{"123@example.org", "123@example.org", "123@example.org", nil},
		{"a@1.example", "a@1.example", "a@1.example", nil},
		{"a@123.456.example", "a@123.456.example", "a@123.456.example", nil},
		{"a@a-b.example", "a@a-b.example", "a@a-b.example", nil},
		{"a/b@example.org", "a/b@example.org", "a/b@example.org", nil},
		{"user%example.com@example.org", "user%example.com@example.org",
			"user%example.com@example.org", nil}, // no relay does what the sign once meant

		// nothing, and no address
		{"", "", "", email.ErrEmpty},
		{" \t\r\n", "", "", email.ErrEmpty},
		{"alice", "", "", email.ErrForm},
		{"example.org", "", "", email.ErrForm},
		{"@", "", "", email.ErrLocal},
		{"@example.org", "", "", email.ErrLocal},
		{"alice@", "", "", email.ErrDomain},
		{"alice@@example.org", "", "", email.ErrForm},
		{"alice@bob@example.org", "", "", email.ErrForm},
		{"alice@example.org@", "", "", email.ErrForm},
		{"alice＠bob@example.org", "", "", email.ErrForm},
		{"alice at example.org", "", "", email.ErrForm},
		{"alice@exam ple.org", "", "", email.ErrDomain},
		{"alice @example.org", "", "", email.ErrLocal},
		{"alice@ example.org", "", "", email.ErrDomain},
		{"al ice@example.org", "", "", email.ErrLocal},

		// signs of headers and of SMTP
		{"alice@example.org\r\nBcc: eve@example.org", "", "", email.ErrForm},
		{"alice@example.org\r\nBcc: eve", "", "", email.ErrDomain},
		{"alice\r\n@example.org", "", "", email.ErrLocal},
		{"alice\n@example.org", "", "", email.ErrLocal},
		{"alice\r@example.org", "", "", email.ErrLocal},
		{"alice\x00@example.org", "", "", email.ErrLocal},
		{"alice@example.org\x00", "", "", email.ErrDomain},
		{"alice\t@example.org", "", "", email.ErrLocal},
		{"alice\x7f@example.org", "", "", email.ErrLocal},
		{"alice\u0085@example.org", "", "", email.ErrLocal},
		{"alice\u2028@example.org", "", "", email.ErrLocal},
		{"<alice@example.org>", "", "", email.ErrLocal},
		{"Alice <alice@example.org>", "", "", email.ErrLocal},
		{"alice@example.org>", "", "", email.ErrDomain},
		{"alice@example.org,bob@example.org", "", "", email.ErrForm},
		{"alice,bob@example.org", "", "", email.ErrLocal},
		{"alice;bob@example.org", "", "", email.ErrLocal},
		{"alice:bob@example.org", "", "", email.ErrLocal},
		{"alice@example.org:25", "", "", email.ErrDomain},
		{"alice@example.org/path", "", "", email.ErrDomain},
		{"mailto:alice@example.org", "", "", email.ErrLocal},
		{"@a.example,@b.example:alice@example.org", "", "", email.ErrForm}, // a source route
		{"alice\\@example.org", "", "", email.ErrLocal},

		// quotes, comments and literals
		{`"alice"@example.org`, "", "", email.ErrLocal},
		{`"alice bob"@example.org`, "", "", email.ErrLocal},
		{`"alice@bob"@example.org`, "", "", email.ErrForm},
		{`"@example.org`, "", "", email.ErrLocal},
		{"alice(comment)@example.org", "", "", email.ErrLocal},
		{"alice@(comment)example.org", "", "", email.ErrDomain},
		{"alice@[192.0.2.1]", "", "", email.ErrDomain},
		{"alice@[IPv6:2001:db8::1]", "", "", email.ErrDomain},
		{"alice@192.0.2.1", "", "", email.ErrDomain},
		{"alice@2001:db8::1", "", "", email.ErrDomain},

		// dots
		{".alice@example.org", "", "", email.ErrLocal},
		{"alice.@example.org", "", "", email.ErrLocal},
		{"al..ice@example.org", "", "", email.ErrLocal},
		{".@example.org", "", "", email.ErrLocal},
		{"alice@.example.org", "", "", email.ErrDomain},
		{"alice@example.org.", "", "", email.ErrDomain},
		{"alice@example..org", "", "", email.ErrDomain},
		{"alice@.", "", "", email.ErrDomain},

		// domains
		{"alice@localhost", "", "", email.ErrDomain},
		{"alice@org", "", "", email.ErrDomain},
		{"alice@-example.org", "", "", email.ErrDomain},
		{"alice@example-.org", "", "", email.ErrDomain},
		{"alice@ex--ample.org", "", "", email.ErrDomain}, // kept for encodings to come
		{"alice@ex_ample.org", "", "", email.ErrDomain},
		{"alice@example.123", "", "", email.ErrDomain},
		{"alice@xn--.org", "", "", email.ErrDomain},
		{"alice@xn--example-.org", "", "", email.ErrDomain}, // plain letters, encoded
		{"alice@xn--0.org", "", "", email.ErrDomain},        // no encoding
		{"alice@" + long + "a.example", "alice@" + long + "a.example", "", email.ErrDomain},
		{"alice@" + long + ".example", "alice@" + long + ".example", "alice@" + long + ".example", nil},

		// sizes
		{long + "a@example.org", long + "a@example.org", long + "a@example.org", nil},
		{long + "aa@example.org", "", "", email.ErrLong},
		{strings.Repeat("ü", 32) + "@example.org", strings.Repeat("ü", 32) + "@example.org",
			strings.Repeat("ü", 32) + "@example.org", nil},
		{strings.Repeat("ü", 33) + "@example.org", "", "", email.ErrLong},
		{strings.Repeat("ŉ", 32) + "@example.org", "", "", email.ErrLong}, // folded it is longer
		{"a@" + long + "." + long + "." + long + "." + strings.Repeat("a", 60),
			"a@" + long + "." + long + "." + long + "." + strings.Repeat("a", 60),
			"a@" + long + "." + long + "." + long + "." + strings.Repeat("a", 60), nil},
		{"aa@" + long + "." + long + "." + long + "." + strings.Repeat("a", 60), "", "", email.ErrLong},
		{"a@" + strings.Repeat("ü.", 60) + "example", "", "", email.ErrDomain}, // as A-labels

		// other scripts
		{"jörg@example.org", "jörg@example.org", "jörg@example.org", nil},
		{"JÖRG@example.org", "jörg@example.org", "JÖRG@example.org", nil},
		{"jo\u0308rg@example.org", "jörg@example.org", "jörg@example.org", nil},
		{"alice@bücher.example", "alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example", nil},
		{"alice@BÜCHER.example", "alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example", nil},
		{"alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example", nil},
		{"alice@XN--BCHER-KVA.example", "alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example", nil},
		{"alice@faß.example", "alice@xn--fa-hia.example", "alice@xn--fa-hia.example", nil},
		{"straße@example.org", "strasse@example.org", "straße@example.org", nil},
		{"用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v", "用户@xn--fsqu00a.xn--4rr70v", nil},
		{"ａｌｉｃｅ＠ｅｘａｍｐｌｅ。org", "alice@example.org", "ａｌｉｃｅ@example.org", nil},
		{"\u212aate@example.org", "kate@example.org", "Kate@example.org", nil}, // the sign of kelvins
		{"אליס@example.org", "אליס@example.org", "אליס@example.org", nil},
		{"a\u200db@example.org", "", "", email.ErrLocal},                         // joined by nothing that is seen
		{"a\u200eb@example.org", "", "", email.ErrLocal},                         // a mark of direction
		{"a\u202eb@example.org", "", "", email.ErrLocal},                         // what follows is shown backwards
		{"a\u3164@example.org", "", "", email.ErrLocal},                          // a letter that is not seen
		{"a\ufe0f@example.org", "", "", email.ErrLocal},                          // a variant of a letter
		{"a\ue000@example.org", "", "", email.ErrLocal},                          // for private use
		{"a\u00a0b@example.org", "", "", email.ErrLocal},                         // a space
		{"a\u2024b@example.org", "a.b@example.org", "a\u2024b@example.org", nil}, // a dot, by its looks
		{"a\ufe6bb@example.org", "", "", email.ErrLocal},                         // an @, by its looks
		{"a\u00a8@example.org", "", "", email.ErrLocal},                          // a space and two dots
		{"alice@a\u202eb.example", "", "", email.ErrDomain},
		{"alice@exam\u00adple.org", "alice@example.org", "alice@example.org", nil}, // a soft hyphen
		{"a\xff@example.org", "", "", email.ErrForm},
		{"alice@\xff.org", "", "", email.ErrForm},
	}
}

// An address that two programs read differently goes to another person than was meant. So each of
// these is refused, or is the same after it was written and read.
func TestNaughtyAddressesAreRefusedOrStayAsTheyAre(t *testing.T) {
	t.Parallel()
	if n := len(naughty()); n < 100 {
		t.Errorf("%d are not 100", n)
	}
	for _, test := range naughty() {
		got, err := email.Parse(test.given)
		if test.refused != nil {
			if !errors.Is(err, test.refused) || got != (email.Address{}) {
				t.Errorf("%q: %+v, %v, want %v", test.given, got, err, test.refused)
			}
			continue
		}
		if err != nil || got.Key != test.key || got.Mailbox != test.mailbox ||
			got.Given != strings.TrimSpace(test.given) {
			t.Errorf("%q: %+v, %v", test.given, got, err)
		}
		wantWhole(t, got)
	}
}

// wantWhole wants what holds of every address.
func wantWhole(t *testing.T, a email.Address) {
	t.Helper()
	for form, text := range map[string]string{
		"given": a.Given, "key": a.Key, "mailbox": a.Mailbox,
	} {
		again, err := email.Parse(text)
		if err != nil || again.Key != a.Key {
			t.Errorf("%s %q is read as %+v, %v, not as %q", form, text, again, err, a.Key)
		}
		if form != "given" && strings.Count(text, "@") != 1 || len(text) > email.MaxLength {
			t.Errorf("%s: %q", form, text)
		}
		if strings.ContainsAny(text, "\x00\r\n\t \"<>()[]\\,;:") {
			t.Errorf("%s %q has a sign of headers", form, text)
		}
	}
	_, domain, _ := strings.Cut(a.Mailbox, "@")
	if keyDomain := a.Key[strings.Index(a.Key, "@")+1:]; keyDomain != domain {
		t.Errorf("%+v has two domains", a)
	}
	for _, r := range domain {
		if r != '.' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') {
			t.Errorf("domain %q", domain)
		}
	}
}

// Two spellings of one address with two keys would be two accounts, and two counters of failures.
func TestAllTheWaysToWriteAnAddressHaveOneKey(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"alice@example.org", "ALICE@EXAMPLE.ORG", "Alice@Example.Org", " alice@example.org ",
			"ａｌｉｃｅ@example.org", "alice＠example.org", "alice@example。org"},
		{"jörg@bücher.example", "JÖRG@BÜCHER.EXAMPLE", "jo\u0308rg@bu\u0308cher.example",
			"jörg@xn--bcher-kva.example", "Jörg@XN--BCHER-KVA.Example"},
		{"straße@example.org", "STRASSE@example.org", "STRAẞE@example.org"},
		{"σίσυφος@example.org", "ΣΊΣΥΦΟΣ@example.org", "σίσυφοσ@example.org"},
		{"kate@example.org", "\u212aate@example.org", "KATE@example.org"},
		{"ſam@example.org", "sam@example.org", "SAM@example.org"},
	} {
		first, err := email.Parse(same[0])
		if err != nil {
			t.Fatalf("%q: %v", same[0], err)
		}
		for _, given := range same[1:] {
			if got, err := email.Parse(given); err != nil || got.Key != first.Key {
				t.Errorf("%q has the key %q, %v, and %q has %q", given, got.Key, err, same[0], first.Key)
			}
		}
	}
}

func TestOnlyAnAddressInASCIINeedsNoExtension(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]bool{
		"alice@example.org": true, "alice@bücher.example": true, "jörg@example.org": false,
	} {
		if a, err := email.Parse(given); err != nil || email.IsASCII(a.Mailbox) != want {
			t.Errorf("%q: %t, %v", given, email.IsASCII(a.Mailbox), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, test := range naughty() {
		f.Add(test.given)
	}
	f.Fuzz(func(t *testing.T, given string) {
		a, err := email.Parse(given)
		if err != nil {
			if _, ok := errors.AsType[email.Error](err); !ok || a != (email.Address{}) {
				t.Fatalf("%q: %+v, %v", given, a, err)
			}
			return
		}
		wantWhole(t, a)
		upper, err := email.Parse(strings.ToUpper(a.Key))
		if err == nil && upper.Key != a.Key && strings.ToLower(strings.ToUpper(a.Key)) == a.Key {
			t.Errorf("%q has the key %q in upper case", a.Key, upper.Key)
		}
	})
}
