package pages

import (
	"slices"
	"strings"

	"golang.org/x/text/language"
)

// Language is one that the pages are written in. The zero value is English.
type Language struct{ index int }

// tags are the languages, as RFC 5646 names them. The first one is for everybody else.
var tags = [...]string{"en", "de"}

// Languages returns all of them.
func Languages() []Language {
	all := make([]Language, len(tags))
	for n := range all {
		all[n].index = n
	}
	return all
}

// String returns the tag, as in <html lang> (RFC 5646).
func (l Language) String() string { return tags[l.index] }

// longestList is in bytes. What comes after them is not read, since nobody knows so many languages.
const longestList = 256

// Choose finds the language for a person. An app may have asked for some by ui_locales, separated
// by spaces (OpenID Connect Core, §3.1.2.1). After these come the ones of Accept-Language (RFC
// 9110 §12.5.4).
func Choose(uiLocales, acceptLanguage string) Language {
	for locale := range strings.FieldsSeq(cut(uiLocales, longestList)) {
		if tag, err := language.Parse(locale); err == nil {
			if found, ok := written(tag); ok {
				return found
			}
		}
	}
	accepted, _, err := language.ParseAcceptLanguage(cut(acceptLanguage, longestList))
	if err != nil {
		return Language{}
	}
	for _, tag := range accepted {
		if found, ok := written(tag); ok {
			return found
		}
	}
	return Language{}
}

// written finds the language of a tag, whatever its region and its script. A tag may name none.
func written(tag language.Tag) (Language, bool) {
	base, confidence := tag.Base()
	if confidence != language.Exact {
		return Language{}, false
	}
	found := slices.Index(tags[:], base.String())
	return Language{max(found, 0)}, found >= 0
}

func cut(text string, most int) string { return text[:min(len(text), most)] }
