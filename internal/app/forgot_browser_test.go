//go:build browser

package app_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/browsertest"
)

// arrives waits until a tab shows a URL that begins with another one.
func arrives(t *testing.T, tab context.Context, at string) {
	t.Helper()
	asynctest.Await(t, "the tab to be at "+at, func() bool {
		ready, err := chromedp.Run(tab, chromedp.Evaluate[bool](`document.readyState == "complete"`))
		now, locationErr := chromedp.Run(tab, chromedp.Location())
		return err == nil && locationErr == nil && ready && strings.HasPrefix(now, at)
	})
}

// says returns what a page says. A page that is still to come says nothing.
func says(t *testing.T, tab context.Context) string {
	t.Helper()
	text, err := chromedp.Run(tab, chromedp.Evaluate[string](`document.body?.innerText ?? ""`))
	must(t, err)
	return text
}

// forward says of all requests of a tab that a proxy has passed them on for an address.
func forward(address string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{
			Headers: network.Headers{"X-Forwarded-For": address},
		})
		return err
	})
}

// A person who has forgotten the password has only the pages and the mail. Before them, a scanner
// with a browser of its own has opened each link twice, and has run what scripts there are.
func TestWhoeverForgetsThePasswordGetsInAgainInChromium(t *testing.T) {
	t.Parallel()
	m := bootWithMail(t, "--trusted-proxies=127.0.0.1")
	person, seen := browsertest.Open(t)
	must(t, chromedp.Do(person,
		chromedp.Navigate(m.public+"/login"),
		chromedp.Click(chromedp.CSS("a[href^='/password/forgot']"))))
	arrives(t, person, m.public+"/password/forgot")
	must(t, chromedp.Do(person, chromedp.SendKeys(chromedp.CSS("#login"), "alice\r")))
	arrives(t, person, m.public+"/password/code/")
	if text := says(t, person); strings.Contains(text, "alice") {
		t.Errorf("the page says who has an account: %s", text)
	}
	mail := m.relay.Next(t)
	robot, _ := browsertest.Open(t)
	must(t, chromedp.Do(robot, forward("203.0.113.9")))
	for range 2 {
		for _, link := range linksIn(mail) {
			must(t, chromedp.Do(robot, chromedp.Navigate(link)))
			arrives(t, robot, link)
			if text := says(t, robot); !strings.Contains(text, "Set a new password") ||
				strings.Contains(text, "alice") {
				t.Errorf("the robot sees: %s", text)
			}
		}
	}
	must(t, chromedp.Do(person, chromedp.Navigate(mail.Link()),
		chromedp.SendKeys(chromedp.CSS("#new_password"), nextPassword+"\r")))
	arrives(t, person, m.public+"/login?")
	if text := says(t, person); !strings.Contains(text, "Your password is changed") {
		t.Errorf("the login says: %s", text)
	}
	must(t, chromedp.Do(person, chromedp.SendKeys(chromedp.CSS("#password"), nextPassword+"\r")))
	asynctest.Await(t, "alice to be in", func() bool { return strings.Contains(says(t, person), "as alice") })
	for _, complaint := range seen.Complaints() {
		t.Errorf("the browser says: %s", complaint)
	}
	must(t, chromedp.Do(person, chromedp.Navigate(mail.Link())))
	if text := says(t, person); !strings.Contains(text, "not good any more") {
		t.Errorf("the link again: %s", text)
	}
}
