package mail

import (
	"bytes"
	"maps"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/mail/mailtest"
	"gatehouse.example/internal/web/pages"
	"gatehouse.example/internal/wording"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func composer(t testing.TB) *Composer {
	t.Helper()
	c, err := NewComposer(Options{AppName: "Gatehouse", From: "login@example.org"})
	must(t, err)
	return c
}

func noon() time.Time { return time.Date(2026, 3, 4, 12, 5, 9, 0, time.UTC) }

const (
	sampleLink = "https://login.example.org/password/reset#AAECAwQFBgcICQoLDA0OD-_w8fLz9PX29_j5-vv8_f4"
	sampleCode = "7XK2MQ9D"
	firefox    = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
)

// sample is a letter of a kind, with all that such a letter has.
func sample(kind auth.MailKind) auth.Letter {
	l := auth.Letter{
		ID: uuid.MustParse("01980000-0000-7000-8000-000000000001"), Kind: kind,
		To: "alice@example.org", Username: "alice", At: noon(), ClientAddress: "192.0.2.1",
		UserAgent: firefox,
	}
	switch kind {
	case auth.MailTest:
		return auth.Letter{ID: l.ID, Kind: kind, To: l.To}
	case auth.MailVerify, auth.MailReset:
		l.Link, l.Code, l.ExpiresAt = sampleLink, sampleCode, l.At.Add(10*time.Minute)
	case auth.MailInvite:
		l.Link, l.Code, l.ExpiresAt = sampleLink, sampleCode, l.At.Add(72*time.Hour)
	case auth.MailAddressChanged:
		l.Link, l.Code, l.ExpiresAt = sampleLink, sampleCode, l.At.Add(7*24*time.Hour)
		l.NewAddress = "mallory@example.net"
	case auth.MailAccountDeleted:
	default:
		l.Link = "https://login.example.org/account"
	}
	return l
}

func compose(t testing.TB, c *Composer, l auth.Letter) mailtest.Received {
	t.Helper()
	m, err := c.Compose(l, noon())
	must(t, err)
	got, err := mailtest.Parse(m.Source)
	must(t, err)
	if got.Text != m.Text || got.HTML != m.HTML {
		t.Errorf("%s: the parts are not what was composed", l.Kind)
	}
	return got
}

// A kind without a text would fail on the day on which its first mail is due.
func TestEveryKindOfMailSaysWhatItHasInEveryLanguage(t *testing.T) {
	t.Parallel()
	c := composer(t)
	for _, kind := range auth.MailKinds() {
		subjects := map[string]bool{}
		for _, language := range pages.Languages() {
			l := sample(kind)
			l.Language = language.String()
			got := compose(t, c, l)
			subjects[got.Subject] = true
			if !strings.Contains(got.Subject, "Gatehouse") {
				t.Errorf("%s in %s: the subject %q does not name who writes", kind, language, got.Subject)
			}
			if got.Link() != l.Link || l.Code != "" && got.Code() != "7XK2-MQ9D" {
				t.Errorf("%s in %s: link %q, code %q in:\n%s", kind, language, got.Link(), got.Code(), got.Text)
			}
			if want := `href="` + l.Link + `"`; l.Link != "" && strings.Count(got.HTML, want) != 2 {
				t.Errorf("%s in %s: the HTML has no two links to %s", kind, language, l.Link)
			}
			if l.Code != "" && !strings.Contains(got.HTML, ">7XK2-MQ9D<") {
				t.Errorf("%s in %s: the HTML has no code", kind, language)
			}
			if !strings.Contains(got.HTML, `<html lang="`+language.String()+`"`) {
				t.Errorf("%s in %s: the HTML is in another language", kind, language)
			}
			for _, fact := range []string{l.ClientAddress, l.NewAddress, "Firefox"} {
				if l.At.IsZero() || strings.Contains(got.Text, fact) && strings.Contains(got.HTML, fact) {
					continue
				}
				t.Errorf("%s in %s does not say %s:\n%s", kind, language, fact, got.Text)
			}
		}
		if len(subjects) != len(pages.Languages()) {
			t.Errorf("%s: the subjects are the same in two languages: %v", kind, subjects)
		}
	}
}

// Whoever reads that there is another address looks for a thief who has it.
func TestTheMailToAnAddressThatWasRemovedDoesNotSayThatThereIsAnother(t *testing.T) {
	t.Parallel()
	c := composer(t)
	for language, words := range map[string]struct{ changed, removed string }{
		"en": {"another e-mail address", "no e-mail address any more"},
		"de": {"eine andere E-Mail-Adresse", "keine E-Mail-Adresse mehr"},
	} {
		l := sample(auth.MailAddressChanged)
		l.Language = language
		changed := compose(t, c, l)
		l.NewAddress = ""
		removed := compose(t, c, l)
		for want, got := range map[string]mailtest.Received{
			words.changed: changed, words.removed: removed,
		} {
			if !strings.Contains(got.Text, want) || !strings.Contains(got.HTML, want) {
				t.Errorf("%s: %q is not in\n%s", language, want, got.Text)
			}
		}
		if changed.Subject == removed.Subject || strings.Contains(removed.Text, words.changed) ||
			removed.Link() != l.Link {
			t.Errorf("%s: %s\n%s", language, removed.Subject, removed.Text)
		}
	}
}

// A text that is there for one language alone is seen by nobody who speaks it.
func TestMailsSayTheSameInAllLanguages(t *testing.T) {
	t.Parallel()
	english, err := readTexts(pages.Language{})
	must(t, err)
	for _, language := range pages.Languages() {
		said, err := readTexts(language)
		must(t, err)
		if want, got := slices.Sorted(maps.Keys(english)), slices.Sorted(maps.Keys(said)); !slices.Equal(want, got) {
			t.Errorf("%s has the texts %v, want %v", language, got, want)
		}
		for name, text := range english {
			want, got := wording.Places(text), wording.Places(said[name])
			slices.Sort(want)
			slices.Sort(got)
			if name != "time" && !slices.Equal(slices.Compact(want), slices.Compact(got)) {
				t.Errorf("%s: %s has the placeholders %v, want %v", language, name, got, want)
			}
		}
	}
}

func TestALanguageThatNobodyHasWrittenIsEnglish(t *testing.T) {
	t.Parallel()
	c := composer(t)
	for language, want := range map[string]string{
		"": "Confirm", "tlh": "Confirm", "no such thing": "Confirm", "de": "Bestätigen",
		"de-AT": "Bestätigen", "en-GB": "Confirm",
	} {
		l := sample(auth.MailVerify)
		l.Language = language
		if got := compose(t, c, l).Subject; !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s", language, got)
		}
	}
}

// Two tries with two Message-IDs are two mails to a mailbox, which else would drop one.
func TestEachTryIsTheSameMailAndAMachineDoesNotAnswerIt(t *testing.T) {
	t.Parallel()
	c, err := NewComposer(Options{
		AppName: "Gatehouse", From: "Die Tür <login@example.org>", ReplyTo: "Help <help@example.org>",
	})
	must(t, err)
	l := sample(auth.MailReset)
	first, err := c.Compose(l, noon())
	must(t, err)
	second, err := c.Compose(l, noon())
	must(t, err)
	if !bytes.Equal(first.Source, second.Source) {
		t.Error("two tries differ")
	}
	got, err := mailtest.Parse(first.Source)
	must(t, err)
	want := map[string]string{
		"Message-Id": "<01980000-0000-7000-8000-000000000001@example.org>",
		"Date":       "Wed, 04 Mar 2026 12:05:09 +0000", "Auto-Submitted": "auto-generated",
		"From": "=?utf-8?q?Die_T=C3=BCr?= <login@example.org>", "To": "<alice@example.org>",
		"Reply-To": `"Help" <help@example.org>`, "Mime-Version": "1.0",
	}
	for name, value := range want {
		if len(got.Header[name]) != 1 || got.Header.Get(name) != value {
			t.Errorf("%s: %q, want %q", name, got.Header[name], value)
		}
	}
	for name := range got.Header {
		if _, known := want[name]; !known && !slices.Contains(
			[]string{"Subject", "Content-Type", "X-Auto-Response-Suppress"}, name) {
			t.Errorf("there is a header %s: %s", name, got.Header.Get(name))
		}
	}
	other := l
	other.ID = uuid.MustParse("01980000-0000-7000-8000-000000000002")
	if m, err := c.Compose(other, noon()); err != nil || m.ID == first.ID {
		t.Errorf("another mail has the Message-ID %q, %v", m.ID, err)
	}
}

// hostile are what somebody may write into a name, to get a header, a line or an element of their
// own.
func hostile() []string {
	return []string{
		"x\r\nBcc: mallory@example.net", "x\nBcc: mallory@example.net", "x\rBcc: mallory@example.net",
		"x\x00y", "x\r\n\r\n<p>y", "x\u2028Bcc: mallory@example.net", "x\u0085Bcc: y", "\u202eevil",
		"</title><script>alert(1)</script>", `"><img src=https://evil.example/x.png>`, "x\r\n.\r\nMAIL FROM:<>",
		"=?utf-8?q?x=0D=0ABcc:_mallory?=", strings.Repeat("long ", 2000), "\xff\xfe", "{app}{{.Link}}",
		"\r\n--letter-01980000-0000-7000-8000-000000000001\r\n",
	}
}

func TestNoNameAddsAHeaderALineOrAnElement(t *testing.T) {
	t.Parallel()
	elements := func(html string) int { return strings.Count(html, "<") }
	for _, text := range hostile() {
		for _, kind := range auth.MailKinds() {
			plainly := composer(t)
			normal := compose(t, plainly, sample(kind))
			c, err := NewComposer(Options{AppName: "x" + text, From: "login@example.org"})
			must(t, err)
			l := sample(kind)
			if l.Username != "" {
				l.Username, l.ClientAddress, l.UserAgent = "x"+text, "x"+text, "Mozilla/ Linux"+text
			}
			if l.NewAddress != "" {
				l.NewAddress = "x" + text
			}
			l.Language = text
			got := compose(t, c, l)
			if len(got.Header) != len(normal.Header) {
				t.Errorf("%s, %q: headers %v", kind, text, got.Header)
			}
			for name, values := range got.Header {
				if strings.ContainsFunc(strings.Join(values, ""), func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Errorf("%s, %q: %s is %q", kind, text, name, values)
				}
			}
			if strings.ContainsAny(got.Subject, "\r\n\x00\u2028\u202e") {
				t.Errorf("%s, %q: subject %q", kind, text, got.Subject)
			}
			if want, got := strings.Count(normal.Text, "\n"), strings.Count(got.Text, "\n"); got > want {
				t.Errorf("%s, %q: %d lines, want %d", kind, text, got, want)
			}
			if want, got := elements(normal.HTML), elements(got.HTML); got > want {
				t.Errorf("%s, %q: %d tags, want %d", kind, text, got, want)
			}
			for _, line := range bytes.Split(got.Source, []byte("\r\n")) {
				if len(line) > 998 || bytes.ContainsAny(line, "\r\n\x00") { // RFC 5322 §2.1.1
					t.Errorf("%s, %q: the line %q", kind, text, line)
				}
			}
		}
	}
}

func TestNothingIsSentToWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	c := composer(t)
	for _, to := range []string{
		"", "alice", "alice@", "alice@example.org\r\nBcc: mallory@example.net", "alice@example.org, bob@example.org",
		"alice@example.org> NOTIFY=NEVER", "<alice@example.org>", "Alice <alice@example.org>",
		"alice@example.org (comment)", "alice@exam\x00ple.org", "alice@example.org\u202e",
		`"alice"@example.org`,
	} {
		l := sample(auth.MailReset)
		l.To = to
		if m, err := c.Compose(l, noon()); err != ErrUnusableLetter {
			t.Errorf("%q: %v\n%s", to, err, m.Source)
		}
	}
	for _, link := range []string{
		"javascript:alert(1)", "/account", "https://login.example.org/\r\nx", "https://x/ y", "data:text/html,x",
	} {
		l := sample(auth.MailReset)
		l.Link = link
		if _, err := c.Compose(l, noon()); err != ErrUnusableLetter {
			t.Errorf("link %q: %v", link, err)
		}
	}
	l := sample("no such kind")
	if _, err := c.Compose(l, noon()); err != ErrUnusableLetter {
		t.Errorf("unknown kind: %v", err)
	}
}

// Whoever gives a stranger's address chooses the username. "Win-at.evil.example" would be an
// advertisement in our name. So would a User-Agent.
func TestAStrangersMailHasNothingThatWhoeverTypedTheAddressHasChosen(t *testing.T) {
	t.Parallel()
	c := composer(t)
	l := sample(auth.MailVerify)
	l.Username, l.UserAgent = "win-at.evil.example", "visit-evil.example/1.0"
	if got := compose(t, c, l); strings.Contains(got.Text+got.HTML+got.Subject, "evil") {
		t.Errorf("the mail says:\n%s", got.Text)
	}
	l.UserAgent = "curl/8.5.0"
	if got := compose(t, c, l); !strings.Contains(got.Text, "With: curl\n") {
		t.Errorf("the mail does not name the program:\n%s", got.Text)
	}
}

// A picture or a style sheet from elsewhere would tell its owner who has opened the mail, and when.
func TestAMailLoadsNothing(t *testing.T) {
	t.Parallel()
	c := composer(t)
	for _, kind := range auth.MailKinds() {
		html := compose(t, c, sample(kind)).HTML
		for _, remote := range []string{"<img", "src=", "url(", "@import", "<link", "<script", "<iframe", "<form", "<base"} {
			if strings.Contains(html, remote) {
				t.Errorf("%s: %s in\n%s", kind, remote, html)
			}
		}
	}
}

func TestAMailSaysHowLongItIsGood(t *testing.T) {
	t.Parallel()
	c := composer(t)
	for span, want := range map[time.Duration]string{
		10 * time.Minute:   "Good for 10 minutes, until 2026-03-04, 12:15 UTC.",
		72 * time.Hour:     "Good for 72 hours, until 2026-03-07, 12:05 UTC.",
		7 * 24 * time.Hour: "Good for 7 days, until 2026-03-11, 12:05 UTC.",
	} {
		l := sample(auth.MailReset)
		l.ExpiresAt = l.At.Add(span)
		if got := compose(t, c, l).Text; !strings.Contains(got, want) {
			t.Errorf("%s is not in\n%s", want, got)
		}
		l.At = time.Time{}
		if got := compose(t, c, l).Text; strings.Contains(got, "Good for") || !strings.Contains(got, "Good until 2026-03") {
			t.Errorf("without a beginning:\n%s", got)
		}
	}
}

// A mailbox beyond ASCII (RFC 6531) stays as it is. An encoded one would be another mailbox.
func TestAnInternationalMailboxIsWrittenAsItIs(t *testing.T) {
	t.Parallel()
	l := sample(auth.MailReset)
	l.To = "jürgen@example.org"
	m, err := composer(t).Compose(l, noon())
	must(t, err)
	parsed, err := netmail.ReadMessage(bytes.NewReader(m.Source))
	must(t, err)
	to, err := parsed.Header.AddressList("To")
	if err != nil || len(to) != 1 || to[0].Address != l.To {
		t.Errorf("To: %q, %v", parsed.Header.Get("To"), err)
	}
}
