//go:build browser

package mail

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/browsertest"
)

// pictures is where the mails can be looked at after the test.
const pictures = "../../dist/mails"

// Somebody with a small screen would have to scroll to the side, and somebody with a dark one would
// read dark letters on a dark ground. Most mail programs show a mail as a browser does.
func TestMailsAreReadableOnEveryScreen(t *testing.T) {
	t.Parallel()
	must(t, os.MkdirAll(pictures, 0o755))
	c := composer(t)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l := sample(auth.MailKind(r.FormValue("kind")))
		l.Language = r.FormValue("language")
		m, err := c.Compose(l, noon())
		if err != nil {
			http.NotFound(w, r)
			return
		}
		// what mail programs allow at most: styles within the mail
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte(m.HTML))
	}))
	t.Cleanup(service.Close)
	for _, look := range []struct {
		name, scheme, language string
		width                  int64
	}{
		{"light", "light", "en", 800}, {"dark", "dark", "en", 800}, {"320", "light", "de", 320},
	} {
		t.Run(look.name, func(t *testing.T) {
			t.Parallel()
			browser, observer := browsertest.Open(t)
			must(t, chromedp.Do(browser, seen(look.width, look.scheme)))
			for _, kind := range auth.MailKinds() {
				at := fmt.Sprintf("%s/?kind=%s&language=%s", service.URL, kind, look.language)
				must(t, chromedp.Do(browser, chromedp.Navigate(at)))
				sticksOut, err := chromedp.Run(browser, chromedp.Evaluate[[]string](tooWide))
				must(t, err)
				pale, err := chromedp.Run(browser, chromedp.Evaluate[[]string](browsertest.TooPale))
				must(t, err)
				picture, err := chromedp.Run(browser, chromedp.FullScreenshot(100))
				must(t, err)
				must(t, os.WriteFile(filepath.Join(pictures, fmt.Sprintf("%s-%s.png", kind, look.name)), picture, 0o644))
				if len(sticksOut) > 0 {
					t.Errorf("%s: too wide: %q", kind, sticksOut)
				}
				if len(pale) > 0 {
					t.Errorf("%s: too pale: %q", kind, pale)
				}
			}
			for _, url := range observer.Requests() {
				if !strings.HasPrefix(url, service.URL+"/") {
					t.Errorf("a mail asked for %s", url)
				}
			}
		})
	}
}

// seen is how somebody sees a mail.
func seen(width int64, scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.EmulateViewport(width, 700),
		chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia,
				emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
					{Name: "prefers-color-scheme", Value: scheme},
				}})
			return err
		}),
	)
}

// tooWide names what sticks out of the window to the side.
const tooWide = `[...document.querySelectorAll("body *")].filter(e => {
	const box = e.getBoundingClientRect()
	return box.right > innerWidth + 1 || box.left < -1
}).map(e => e.outerHTML.slice(0, 100))`
