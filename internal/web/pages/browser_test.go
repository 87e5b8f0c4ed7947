//go:build browser

package pages

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"gatehouse.example/internal/browsertest"
)

// pictures is where the pages can be looked at after the test.
const pictures = "../../../dist/pages"

// policy is the strictest one under which the pages are promised to work.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'"

// scripted is what pages with the script need besides.
const scripted = "; script-src 'self'; connect-src 'self'"

// look is a way in which somebody sees a page.
type look struct {
	name          string
	width, height int64
	scale         float64
	media         emulation.SetEmulatedMediaParams
	languages     []Language
}

// looks has all languages where their words have least room.
func looks() []look {
	english := Languages()[:1]
	return []look{
		{"light", 1000, 800, 1, with("prefers-color-scheme", "light"), english},
		{"dark", 1000, 800, 1, with("prefers-color-scheme", "dark"), english},
		{"320", 320, 640, 1, with("prefers-color-scheme", "light"), Languages()},
		{"400-percent", 1280 / 4, 1024 / 4, 4, with("prefers-color-scheme", "dark"), english},
		{"forced-colors", 1000, 800, 1, with("forced-colors", "active"), english},
		{"print", 800, 1100, 1, emulation.SetEmulatedMediaParams{Media: "print"}, english},
	}
}

func with(feature, value string) emulation.SetEmulatedMediaParams {
	return emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: feature, Value: value}},
	}
}

// Somebody with a small screen, or who needs large letters, would have to scroll to the side to
// read a line (WCAG 2.2, 1.4.10), or would miss a button with their thumb (2.5.5). A policy that is
// stricter than the pages would take their style away.
func TestThePagesAreReadableOnEveryScreen(t *testing.T) {
	t.Parallel()
	service := servePages(t)
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, seen := range looks() {
		t.Run(seen.name, func(t *testing.T) {
			t.Parallel()
			browser, observer := browsertest.Open(t)
			if err := chromedp.Do(browser, seen.emulate()); err != nil {
				t.Fatal(err)
			}
			for name := range drawn() {
				for _, language := range seen.languages {
					at := service + "/" + url.PathEscape(name) + "?language=" + language.String()
					lookAt(t, browser, at, fmt.Sprintf("%s-%s-%s", name, language, seen.name))
				}
			}
			for _, complaint := range observer.Complaints() {
				t.Errorf("the browser says: %s", complaint)
			}
		})
	}
}

// servePages serves each sample by its name.
func servePages(t *testing.T) string {
	t.Helper()
	p := newPages(t, "")
	routes := http.NewServeMux()
	for _, asset := range p.Assets() {
		routes.HandleFunc("GET "+asset.Path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", asset.MediaType)
			_, _ = w.Write(asset.Body)
		})
	}
	for _, options := range []string{LoginPasskeyPath, OfferedPasskeyPath} { // which the script wants
		routes.HandleFunc("GET "+options, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"challenge": "AAAA"}`))
		})
	}
	routes.HandleFunc("GET "+ForgetPath, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})
	routes.HandleFunc("GET /{name}", func(w http.ResponseWriter, r *http.Request) {
		allowed := policy
		if HasScript(drawn()[r.PathValue("name")]) {
			allowed += scripted
		}
		w.Header().Set("Content-Security-Policy", allowed)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		language := Choose(r.FormValue("language"), "")
		if err := p.Render(w, language, drawn()[r.PathValue("name")]); err != nil {
			t.Errorf("%s: %v", r.URL, err)
		}
	})
	service := httptest.NewServer(routes)
	t.Cleanup(service.Close)
	return service.URL
}

func (l look) emulate() chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.EmulateViewport(l.width, l.height, chromedp.EmulateScale(l.scale)),
		chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			// else no window has the focus, and nothing that has it is seen
			_, err := cdp.Call(ctx, target, emulation.SetFocusEmulationEnabled,
				emulation.SetFocusEmulationEnabledParams{Enabled: true})
			if err != nil {
				return err
			}
			_, err = cdp.Call(ctx, target, emulation.SetEmulatedMedia, l.media)
			return err
		}),
	)
}

// tooWide names what sticks out of the window to the side.
const tooWide = `[...document.querySelectorAll("body *")].filter(e => {
	const box = e.getBoundingClientRect()
	return !e.closest(".unseen, thead") && box.width > 0 && (box.right > innerWidth + 1 || box.left < -1)
}).map(e => e.outerHTML.slice(0, 100)).concat(
	document.documentElement.scrollWidth > innerWidth ? ["the page"] : [])`

// tooSmall names what a finger may miss. Links within a sentence are as high as its line (WCAG
// 2.2, 2.5.5).
const tooSmall = `[...document.querySelectorAll("button, .button, nav a, header a, .aside a, .more a, .check, input:not([type=hidden], [type=checkbox], [hidden])")].filter(e => {
	const box = e.getBoundingClientRect()
	return box.width > 0 && (box.height < 43.9 || box.width < 43.9)
}).map(e => e.outerHTML.slice(0, 100) + " " + e.getBoundingClientRect().height)`

// lookAt opens a page, and leaves a picture of it.
func lookAt(t *testing.T, browser context.Context, at, name string) {
	t.Helper()
	if err := chromedp.Do(browser, chromedp.Navigate(at)); err != nil {
		t.Fatal(err)
	}
	for fault, expression := range map[string]string{
		"sticks out": tooWide, "is smaller than 44 pixels": tooSmall, "is too pale": browsertest.TooPale,
	} {
		found, err := chromedp.Run(browser, chromedp.Evaluate[[]string](expression))
		if err != nil {
			t.Fatal(err)
		}
		for _, element := range found {
			t.Errorf("%s: this %s: %s", name, fault, element)
		}
	}
	picture, err := chromedp.Run(browser, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(pictures, strings.ReplaceAll(name, " ", "-")+".png")
	if err := os.WriteFile(file, picture, 0o644); err != nil {
		t.Fatal(err)
	}
}
