package pages

import (
	"slices"
	"strings"
	"testing"
)

func TestEverybodyReadsALanguageThatTheyKnowIfThereIsOne(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ uiLocales, accept, want string }{
		{"", "", "en"},
		{"", "de", "de"},
		{"", "de-CH, en;q=0.5", "de"},
		{"", "fr, de;q=0.4, en;q=0.7", "en"},
		{"", "fr-FR, de-AT;q=0.8", "de"},
		{"", "fr", "en"},
		{"", "*", "en"},
		{"", "de;q=0, en", "en"},
		{"", "de;q=x", "en"},
		{"", "und, de", "de"},
		{"de", "en", "de"},
		{"fr de en", "en", "de"},
		{"fr", "de", "de"},
		{"!! de_AT", "en", "de"},
		{"fr", "", "en"},
		// nobody knows so many
		{strings.Repeat("fr ", 100) + "de", "en", "en"},
		{"", strings.Repeat("fr,", 100) + "de", "en"},
	} {
		if got := Choose(c.uiLocales, c.accept); got.String() != c.want {
			t.Errorf("ui_locales %.20q and Accept-Language %q: %s, want %s",
				c.uiLocales, c.accept, got, c.want)
		}
	}
}

func FuzzChoose(f *testing.F) {
	f.Add("de en", "de-CH, en;q=0.5")
	f.Add("x-klingon", "*;q=0.1, zh-Hant-TW-u-ca-roc")
	f.Fuzz(func(t *testing.T, uiLocales, acceptLanguage string) {
		if got := Choose(uiLocales, acceptLanguage); !slices.Contains(Languages(), got) {
			t.Errorf("the language is %v", got)
		}
	})
}
