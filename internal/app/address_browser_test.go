//go:build browser

package app_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/browsertest"
)

// A stranger has only the pages and the mails, from the registration until a forgotten password.
func TestWhoeverRegistersWithAnAddressGetsInAgainByItInChromium(t *testing.T) {
	t.Parallel()
	m := bootWithMail(t)
	person, seen := browsertest.Open(t)
	types := func(field, text string) {
		t.Helper()
		must(t, chromedp.Do(person, chromedp.SendKeys(chromedp.CSS(field), text)))
	}
	logsIn := func(pw string) {
		t.Helper()
		must(t, chromedp.Do(person, chromedp.Navigate(m.public+"/login")))
		types("#username", "carol@example.org")
		types("#password", pw+"\r")
		asynctest.Await(t, "carol to be in", func() bool {
			return strings.Contains(says(t, person), "as carol")
		})
	}
	must(t, chromedp.Do(person, chromedp.Navigate(m.public+"/register")))
	types("#username", "carol")
	types("#email", "carol@example.org")
	types("#password", goodPassword+"\r")
	arrives(t, person, m.public+"/email/code/")
	if text := says(t, person); strings.Contains(text, "carol") {
		t.Errorf("the page says who has an account: %s", text)
	}
	types("#code", m.relay.Next(t).Code())
	types("#password", goodPassword+"\r")
	arrives(t, person, m.public+"/login?")
	if text := says(t, person); !strings.Contains(text, "Your e-mail address is confirmed") {
		t.Errorf("the login says: %s", text)
	}
	logsIn(goodPassword)
	must(t, chromedp.Do(person, chromedp.Navigate(m.public+"/account")))
	if text := says(t, person); !strings.Contains(text, "carol@example.org is confirmed") {
		t.Errorf("the account says: %s", text)
	}
	must(t, chromedp.Do(person, chromedp.Navigate(m.public+"/password/forgot")))
	types("#login", "carol@example.org\r")
	arrives(t, person, m.public+"/password/code/")
	types("#code", m.relay.Next(t).Code())
	types("#new_password", nextPassword+"\r")
	arrives(t, person, m.public+"/login?")
	logsIn(nextPassword)
	for _, complaint := range seen.Complaints() {
		t.Errorf("the browser says: %s", complaint)
	}
}
