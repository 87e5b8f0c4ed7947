package pages

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"strings"
	"sync"
	"testing"
)

func TestAnInstallationHasAName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", " \t"} {
		if _, err := New(Options{AppName: name}); !errors.Is(err, ErrAppName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// An operator who gives a file that no browser shows must learn it at once, and not from the
// people who log in.
func TestALogoIsAPictureThatBrowsersShow(t *testing.T) {
	t.Parallel()
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		t.Fatal(err)
	}
	const svg = `<svg xmlns="http://www.w3.org/2000/svg"/>`
	for name, c := range map[string]struct {
		logo      string
		mediaType string // "": refused
		extension string
	}{
		"none":          {"", "image/svg+xml", ".svg"},
		"SVG":           {svg, "image/svg+xml", ".svg"},
		"SVG with more": {"<?xml version='1.0'?>\n<!-- by hand -->\n" + svg, "image/svg+xml", ".svg"},
		"PNG":           {picture.String(), "image/png", ".png"},
		"JPEG":          {"\xff\xd8\xff\xe0", "image/jpeg", ".jpg"},
		"WebP":          {"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp", ".webp"},
		"HTML":          {"<html><script>", "", ""},
		"other XML":     {"<svg/>", "", ""},
		"text":          {"logo.svg", "", ""},
		"GIF":           {"GIF89a", "", ""},
		"too big":       {svg + strings.Repeat(" ", MaxLogo), "", ""},
	} {
		p, err := New(Options{AppName: "Example Bakery", Logo: []byte(c.logo)})
		if c.mediaType == "" {
			if !errors.Is(err, ErrLogo) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := p.Assets()[1]
		if got.MediaType != c.mediaType || !strings.HasSuffix(got.Path, c.extension) {
			t.Errorf("%s: %s at %s", name, got.MediaType, got.Path)
		}
		if c.logo != "" && string(got.Body) != c.logo {
			t.Errorf("%s: another file is served", name)
		}
	}
}

// Browsers keep these files for ever. Under the same path, an old look would stay after an update.
func TestAnotherFileHasAnotherPath(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, logo := range []string{"", `<svg xmlns="http://www.w3.org/2000/svg"/>`} {
		p, err := New(Options{AppName: "Example Bakery", Logo: []byte(logo)})
		if err != nil {
			t.Fatal(err)
		}
		seen[p.Assets()[1].Path] = true
	}
	if len(seen) != 2 {
		t.Errorf("two logos have the paths %v", seen)
	}
	if hashed("style", "css", []byte("a")) == hashed("style", "css", []byte("b")) {
		t.Error("two stylesheets have one path")
	}
}

// Whoever logs in over a slow line waits for all of this.
func TestTheLoginPageIsSmall(t *testing.T) {
	t.Parallel()
	p := newPages(t, "")
	whole := len(render(t, p, Language{}, drawn()["login to"]))
	for _, asset := range p.Assets() {
		whole += len(asset.Body)
	}
	t.Logf("the login page has %d bytes with all that it loads", whole)
	if whole >= 20_000 {
		t.Errorf("the login page has %d bytes; less than 20,000 are allowed", whole)
	}
}

// Replicas render for many people at once.
func TestManyPeopleSeeTheirOwnPages(t *testing.T) {
	t.Parallel()
	p := newPages(t, "")
	var wait sync.WaitGroup
	for name, page := range drawn() {
		for _, language := range Languages() {
			wait.Go(func() {
				var first, second bytes.Buffer
				if p.Render(&first, language, page) != nil || p.Render(&second, language, page) != nil {
					t.Errorf("%s cannot be rendered", name)
				}
				if !bytes.Equal(first.Bytes(), second.Bytes()) {
					t.Errorf("%s is another page the second time", name)
				}
			})
		}
	}
	wait.Wait()
}

// Half a page, with a status that says all is well, would be worse than none.
func TestAPageThatCannotBeRenderedIsNotWritten(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := newPages(t, "").Render(&out, Language{}, Login{Failure: Failure{Why: "unheard of"}})
	if err == nil || out.Len() > 0 {
		t.Errorf("%d bytes were written: %v", out.Len(), err)
	}
}

func TestASessionOnAnotherPageIsOneOfTheOthers(t *testing.T) {
	t.Parallel()
	own, other := Session{ID: "1", Current: true}, Session{ID: "2"}
	for _, c := range []struct {
		account Account
		want    bool
	}{
		{Account{}, false},
		{Account{Sessions: []Session{own}}, false},
		{Account{Sessions: []Session{own, other}}, true},
		{Account{Sessions: []Session{own}, Older: "c"}, true},
		{Account{Sessions: []Session{own}, Later: true}, true},
	} {
		if got := c.account.Others(); got != c.want {
			t.Errorf("%+v: %v", c.account, got)
		}
	}
}
