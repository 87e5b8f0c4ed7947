package app

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse.example/internal/config"
	"gatehouse.example/internal/web/pages"
)

// A logo that cannot be shown is told at the start, and not by a broken picture on each page.
func TestALogoIsReadAtTheStartAndRefusedIfItIsNone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		content []byte
		ok      bool
	}{
		"svg":     {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`), true},
		"png":     {append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, 100)...), true},
		"biggest": {append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, pages.MaxLogo-8)...), true},
		"bigger":  {append([]byte("\x89PNG\r\n\x1a\n"), make([]byte, pages.MaxLogo-7)...), false},
		"empty":   {nil, false},
		"html":    {[]byte("<html><script>alert(1)</script></html>"), false},
		"text":    {[]byte("a logo"), false},
	} {
		file := filepath.Join(t.TempDir(), "logo")
		if err := os.WriteFile(file, test.content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := newPages(config.Serve{AppName: "x", AppLogo: file}, "")
		if wrong, ok := errors.AsType[*config.Error](err); (err == nil) != test.ok ||
			err != nil && (!ok || wrong.Setting != "APP_LOGO") {
			t.Errorf("%s: %v", name, err)
		}
		if logo, err := readLogo(file); test.ok && !bytes.Equal(logo, test.content) {
			t.Errorf("%s: %d bytes are left, %v", name, len(logo), err)
		}
	}
	if logo, err := readLogo(""); logo != nil || err != nil {
		t.Errorf("no setting: %v", err)
	}
	_, err := newPages(config.Serve{AppName: "x", AppLogo: "/nowhere/logo.svg"}, "")
	if wrong, ok := errors.AsType[*config.Error](err); !ok || wrong.Setting != "APP_LOGO" ||
		!strings.Contains(wrong.Problem, "/nowhere/logo.svg") {
		t.Errorf("a file that is not there: %v", err)
	}
}
