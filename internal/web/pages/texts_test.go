package pages

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.example/internal/wording"
)

func textsOf(t *testing.T, language Language) texts {
	t.Helper()
	said, err := readTexts(language)
	if err != nil {
		t.Fatal(err)
	}
	return said
}

// A page without one of its texts cannot be shown at all in that language.
func TestEveryLanguageHasEveryTextWithTheSamePlaceholders(t *testing.T) {
	t.Parallel()
	english := textsOf(t, Language{})
	for _, language := range Languages()[1:] {
		said := textsOf(t, language)
		for name, text := range english {
			want := slices.Sorted(slices.Values(wording.Places(text)))
			got := slices.Sorted(slices.Values(wording.Places(said[name])))
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s has the placeholders %v, want %v", language, name, got, want)
			}
		}
		for name := range said {
			if _, found := english[name]; !found {
				t.Errorf("%s has the text %s, which English lacks", language, name)
			}
		}
	}
}

// A text that was only copied is read by people who do not know its language.
func TestEveryTextIsTranslated(t *testing.T) {
	t.Parallel()
	same := []string{
		"title", "account.end.which", "month.4", "month.8", "month.9", "month.11",
		"security.passkeys", "account.security.passkeys", "security.passkey.name",
	}
	english := textsOf(t, Language{})
	for _, language := range Languages()[1:] {
		for name, text := range textsOf(t, language) {
			if text == english[name] && !slices.Contains(same, name) {
				t.Errorf("%s: %s is as in English: %s", language, name, text)
			}
		}
	}
}

// A text that no page has any more would be translated in vain.
func TestEveryTextIsSaidSomewhere(t *testing.T) {
	t.Parallel()
	said := map[string]bool{}
	quoted := regexp.MustCompile(`"([a-z_]+(?:\.[a-z_]+)*)"`)
	for _, file := range sources(t) {
		for _, match := range quoted.FindAllStringSubmatch(file, -1) {
			said[match[1]] = true
		}
	}
	for kind, form := range map[string][]string{
		"FailureReason": {"failure.%"}, "ProblemReason": {"problem.%"}, "Notice": {"notice.%"},
		"Fault": {"fault.%.title", "fault.%.happened", "fault.%.next"},
	} {
		for _, word := range wordsOf(t, kind) {
			for _, one := range form {
				said[strings.Replace(one, "%", word, 1)] = true
			}
		}
	}
	for name := range textsOf(t, Language{}) {
		computed := slices.ContainsFunc([]string{"field.", "month.", "ask."}, func(prefix string) bool {
			return strings.HasPrefix(name, prefix)
		})
		if !said[name] && !computed {
			t.Errorf("nothing says %s", name)
		}
	}
}

// sources are the templates, and the Go files that name texts.
func sources(t *testing.T) (all []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS("."), ".", func(path string, _ fs.DirEntry, err error) error {
		if extension := filepath.Ext(path); err == nil && !strings.HasSuffix(path, "_test.go") &&
			(extension == ".go" || extension == ".html") {
			source, err := os.ReadFile(path)
			all = append(all, string(source))
			return err
		}
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatal("no sources", err)
	}
	return all
}

func TestDaysAreSaidAsPeopleSayThem(t *testing.T) {
	t.Parallel()
	english, german := textsOf(t, Languages()[0]), textsOf(t, Languages()[1])
	elsewhere := time.FixedZone("", 2*60*60)
	for at, want := range map[time.Time][2]string{
		sampleNow.Add(time.Hour): {"today", "heute"}, // another clock
		sampleNow:                {"today", "heute"},
		time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC):   {"today", "heute"},
		time.Date(2026, 11, 29, 1, 59, 0, 0, elsewhere): {"yesterday", "gestern"},
		time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC):   {"yesterday", "gestern"},
		time.Date(2026, 11, 27, 23, 59, 0, 0, time.UTC): {"27 November 2026", "27. November 2026"},
		time.Date(2026, 3, 1, 1, 5, 0, 0, elsewhere):    {"28 February 2026", "28. Februar 2026"},
	} {
		for n, said := range []texts{english, german} {
			got, err := said.when(at, sampleNow)
			if err != nil || got != want[n] {
				t.Errorf("%v: %q (%v), want %q", at, got, err, want[n])
			}
		}
	}
}

// Whoever tries again too early is refused again, so nothing is rounded down.
func TestAWaitIsNeverSaidTooShort(t *testing.T) {
	t.Parallel()
	said := textsOf(t, Language{})
	for wait, want := range map[time.Duration]string{
		0: "later", -time.Second: "later",
		time.Nanosecond: "in a minute", time.Minute: "in a minute",
		time.Minute + 1: "in 2 minutes", 90 * time.Minute: "in 90 minutes",
		90*time.Minute + 1: "in 2 hours", 2 * time.Hour: "in 2 hours",
		2*time.Hour + 1: "in 3 hours",
	} {
		if got, err := said.wait(wait); err != nil || got != want {
			t.Errorf("%v: %q (%v), want %q", wait, got, err, want)
		}
	}
}

func TestATextThatIsMissingOrHalfFilledIsNotSaid(t *testing.T) {
	t.Parallel()
	said := texts{"hello": "Hello {name}"}
	for name, says := range map[string]func() (string, error){
		"unknown text":  func() (string, error) { return said.say("bye") },
		"missing value": func() (string, error) { return said.say("hello", "n", 1) },
	} {
		if got, err := says(); err == nil {
			t.Errorf("%s: %q was said", name, got)
		}
	}
	if _, err := said.bold("hello", "app", "Orders"); err == nil {
		t.Error("a text without the placeholder was said")
	}
	if got, err := said.say("hello", "name", "{name}"); err != nil || got != "Hello {name}" {
		t.Errorf("a value was filled in again: %q (%v)", got, err)
	}
}

func TestScopesOfOpenIDConnectAreSaidInWordsAndRightsByName(t *testing.T) {
	t.Parallel()
	said := textsOf(t, Language{})
	known := []string{"*", "address", "email", "groups", "offline_access", "openid", "phone", "profile"}
	var written []string
	for name := range maps.Keys(said) {
		if scope, found := strings.CutPrefix(name, "ask."); found {
			written = append(written, scope)
		}
	}
	slices.Sort(written)
	if !slices.Equal(written, known) {
		t.Errorf("there are texts for %v, want %v", written, known)
	}
	if got, err := said.ask("orders:write"); err != nil || got != "the right orders:write" {
		t.Errorf("a right is said as %q (%v)", got, err)
	}
}
