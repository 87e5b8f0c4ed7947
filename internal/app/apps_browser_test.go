//go:build browser

package app_test

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/browsertest"
	"gatehouse.example/internal/dbtest"
)

// Only a browser heeds CORS and runs the script. An access token lives a minute here, so the page
// refreshes before each question.
func TestTheSinglePageAppOfTheDocumentsInChromium(t *testing.T) {
	t.Parallel()
	address, programs := dbtest.FreeAddr(t), t.TempDir()
	build(t, programs+"/gatehouse", "../../cmd/gatehouse")
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

	do(chromedp.Navigate(d.app))
	logIn()
	ask()
	says(hello)
	if requests := strings.Join(seen.Requests(), " "); strings.Count(requests, "/token") != 2 {
		t.Errorf("not refreshed once: %s", requests)
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
