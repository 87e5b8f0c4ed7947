//go:build browser

package app_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/browsertest"
	"gatehouse.example/internal/dbtest"
)

// Only a browser holds the policy of a page against the redirects that follow, and keeps cookies by
// all of their rules. Here it goes to the apps that run beside Gatehouse, and back.
func TestAppsOfTheDocumentsLogUsersInAndOutAndHearOfBansInChromium(t *testing.T) {
	t.Parallel()
	tryAppsOfTheDocuments(t, func(d *documented) visitor {
		tab, seen := browsertest.Open(d.T)
		return &chromiumVisitor{d.T, tab, seen}
	})
}

// chromiumVisitor is somebody at a Chromium.
type chromiumVisitor struct {
	*testing.T
	tab  context.Context
	seen *browsertest.Observer
}

func (c *chromiumVisitor) opens(address string) shown {
	c.Helper()
	return c.goes(chromedp.NavigateResponse(address))
}

// sendsForm types into the fields, and presses the button that was named, else the first one.
func (c *chromiumVisitor) sendsForm(_ shown, typed ...string) shown {
	c.Helper()
	button := "form button"
	var steps []chromedp.Action[chromedp.Void]
	for n := 0; n < len(typed); n += 2 {
		if name, value := typed[n], typed[n+1]; name == "choice" {
			button = fmt.Sprintf("button[name=choice][value=%q]", value)
		} else {
			steps = append(steps,
				chromedp.SendKeys(chromedp.CSS(fmt.Sprintf("input[name=%q]", name)), value))
		}
	}
	steps = append(steps, chromedp.Click(chromedp.CSS(button)))
	return c.goes(func(ctx context.Context, _ *chromedp.Target) (*network.Response, error) {
		return chromedp.RunResponse(ctx, steps...)
	})
}

// goes returns what is shown when a way has led to another page.
func (c *chromiumVisitor) goes(way chromedp.Action[*network.Response]) shown {
	c.Helper()
	response, err := chromedp.Run(c.tab, way)
	var body string
	if err == nil {
		body, err = chromedp.Run(c.tab, chromedp.OuterHTML(chromedp.CSS("html")))
	}
	if err != nil {
		c.Fatalf("%v\nthe browser says:\n%s", err, strings.Join(c.seen.Complaints(), "\n"))
	}
	at, err := url.Parse(response.URL)
	must(c, err)
	return shown{at, int(response.Status), body}
}

// Only a browser heeds CORS and runs the script. An access token lives a minute here, so the page
// refreshes before each question.
func TestTheSinglePageAppOfTheDocumentsInChromium(t *testing.T) {
	t.Parallel()
	address, programs := dbtest.FreeAddr(t), t.TempDir()
	buildGatehouse(t, programs+"/gatehouse")
	d := document(t, "A single-page app", programs, address,
		"--cors-origins=http://"+atLocalhost(address), "--access-token-expire-minutes=1")
	d.start()
	ctx, seen := browsertest.Open(t)
	do := func(steps ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, steps...); err != nil {
			t.Fatalf("%v\nthe browser says:\n%s", err, strings.Join(seen.Complaints(), "\n"))
		}
	}
	says := func(hello string) {
		t.Helper()
		asynctest.Await(t, hello, func() bool {
			shown, err := chromedp.Run(ctx,
				chromedp.Evaluate[string](`document.getElementById("hello")?.textContent ?? ""`))
			return err == nil && shown == hello
		})
	}
	const hello, nobody = "Hello, alice.", "Nobody is logged in."
	logIn := func() {
		t.Helper()
		do(chromedp.Click(chromedp.ID("login")),
			chromedp.SendKeys(chromedp.CSS("input[name=username]"), "alice"),
			chromedp.SendKeys(chromedp.CSS("input[name=password]"), goodPassword+"\r"))
		says(hello)
	}
	ask := func() {
		t.Helper()
		do(chromedp.Evaluate[chromedp.Void](`document.getElementById("hello").textContent = ""`),
			chromedp.Click(chromedp.ID("ask")))
	}

	// RFC 9207: a code of another issuer goes to nobody.
	do(chromedp.Navigate(d.app+"/?code=x&iss=https://evil.example"), chromedp.WaitVisible(chromedp.ID("login")))
	asynctest.Await(t, "the code to be gone from the address", func() bool {
		at, err := chromedp.Run(ctx, chromedp.Location())
		return err == nil && at == d.app+"/"
	})
	do(chromedp.Click(chromedp.ID("ask"))) // after all that the page does by itself
	says(nobody)
	if requests := strings.Join(seen.Requests(), " "); strings.Contains(requests, "/token") {
		t.Errorf("a code of another issuer was sent to Gatehouse: %s", requests)
	}
	do(chromedp.Navigate(d.app))
	logIn()
	ask()
	says(hello)
	if requests := strings.Join(seen.Requests(), " "); strings.Count(requests, "/token") < 2 {
		t.Errorf("never refreshed: %s", requests)
	}
	do(chromedp.Click(chromedp.ID("logout")))
	says(nobody)
	logIn() // with the password again, since Gatehouse has logged the browser out
	d.banAlice()
	ask()
	says(nobody)
	if complaints := seen.Complaints(); len(complaints) > 1 { // the refusal of the last refresh
		t.Errorf("the browser says:\n%s", strings.Join(complaints, "\n"))
	}
}
