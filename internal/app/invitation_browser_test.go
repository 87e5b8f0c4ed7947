//go:build browser

package app_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/browsertest"
)

// Whoever is invited has a mail, and no password yet.
func TestWhoeverIsInvitedGetsInInChromium(t *testing.T) {
	t.Parallel()
	m := bootWithMail(t)
	link := m.invited(map[string]string{"email": "carol@example.org"})
	person, seen := browsertest.Open(t)
	must(t, chromedp.Do(person, chromedp.Navigate(link)))
	arrives(t, person, link)
	if text := says(t, person); !strings.Contains(text, "You are invited") {
		t.Errorf("the page says: %s", text)
	}
	must(t, chromedp.Do(person,
		chromedp.SendKeys(chromedp.CSS("#username"), "carol"),
		chromedp.SendKeys(chromedp.CSS("#new_password"), nextPassword+"\r")))
	arrives(t, person, m.public+"/login?")
	if text := says(t, person); !strings.Contains(text, "Your account is made") {
		t.Errorf("the login says: %s", text)
	}
	must(t, chromedp.Do(person, chromedp.SendKeys(chromedp.CSS("#password"), nextPassword+"\r")))
	asynctest.Await(t, "carol to be in", func() bool { return strings.Contains(says(t, person), "as carol") })
	for _, complaint := range seen.Complaints() {
		t.Errorf("the browser says: %s", complaint)
	}
}
