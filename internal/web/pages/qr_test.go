package pages

import (
	"image"
	"image/color"
	"regexp"
	"strconv"
	"strings"
	"testing"

	decoder "github.com/piglig/go-qr"
)

// drawQR renders the template as a browser reads it.
func drawQR(t *testing.T, title, text string) document {
	t.Helper()
	parsed, err := parse(Language{})
	if err != nil {
		t.Fatal(err)
	}
	code, err := newQR(title, text)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := parsed["home"].ExecuteTemplate(&out, "qr", code); err != nil {
		t.Fatal(err)
	}
	return parsePage(t, out.String())
}

// paint paints the paths of the picture as a browser does: each is made of rectangles.
func paint(t *testing.T, d document, scale int) image.Image {
	t.Helper()
	view := strings.Fields(attribute(d.elements("svg")[0], "viewBox"))
	side, err := strconv.Atoi(view[3])
	if err != nil {
		t.Fatal(err)
	}
	picture := image.NewGray(image.Rect(0, 0, side*scale, side*scale))
	for n, path := range d.elements("path") {
		shade := color.Gray{Y: 0x80}
		switch fill, has := lookUp(path, "fill"); {
		case n == 0 && fill == "#fff":
			shade.Y = 0xff
		case n == 1 && !has: // black
			shade.Y = 0
		}
		fillRectangles(t, picture, attribute(path, "d"), shade, scale)
	}
	return picture
}

func fillRectangles(t *testing.T, picture *image.Gray, path string, shade color.Gray, scale int) {
	t.Helper()
	form := regexp.MustCompile(`^M(\d+) (\d+)h(\d+)v(\d+)(?:h-(\d+)|H(\d+))$`)
	for rectangle := range strings.SplitSeq(strings.TrimSuffix(path, "z"), "z") {
		match := form.FindStringSubmatch(rectangle)
		if match == nil || match[5] != "" && match[5] != match[3] || match[6] != "" && match[6] != match[1] {
			t.Fatalf("%q is no rectangle", rectangle)
		}
		var at [4]int
		for n := range at {
			at[n], _ = strconv.Atoi(match[n+1])
		}
		for y := at[1] * scale; y < (at[1]+at[3])*scale; y++ {
			for x := at[0] * scale; x < (at[0]+at[2])*scale; x++ {
				picture.SetGray(x, y, shade)
			}
		}
	}
}

// The decoder is of another library than the code.
func TestACameraReadsTheTextOfAQRCode(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"1", "https://example.org/", "otpauth://totp/Haus%20%26%20Hof:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
		"Größe <svg> \"quoted\" & 'so on'", strings.Repeat("longest ", 291) + "1!!",
	} {
		got, err := decoder.Decode(paint(t, drawQR(t, "A code", text), 3))
		if err != nil || got != text {
			t.Errorf("a camera reads %q of %q, %v", got, text, err)
		}
	}
	if _, err := newQR("", strings.Repeat("x", 2332)); err == nil {
		t.Error("a text that is too long has a code")
	}
}

// Cameras want four white modules on each side, and no page may paint them in its own colours.
func TestAQRCodeStandsOnWhiteWithAQuietZone(t *testing.T) {
	t.Parallel()
	picture := paint(t, drawQR(t, "A code", "some text"), 1)
	side := picture.Bounds().Dx()
	isWhite := func(x, y int) bool { return picture.At(x, y) == color.Gray{Y: 0xff} }
	for y := range side {
		for x := range side {
			if outer := min(x, y, side-1-x, side-1-y); outer < 4 && !isWhite(x, y) {
				t.Fatalf("%d, %d is not white", x, y)
			}
		}
	}
	for _, corner := range [][2]int{{4, 4}, {side - 5, 4}, {4, side - 5}} {
		if isWhite(corner[0], corner[1]) {
			t.Errorf("there is more white around the corner at %v", corner)
		}
	}
}

func TestAQRCodeIsSaidToWhoeverDoesNotSeeIt(t *testing.T) {
	t.Parallel()
	const title = `A code for "apps" <of your own>`
	d := drawQR(t, title, "some text")
	if svg := d.elements("svg")[0]; attribute(svg, "role") != "img" {
		t.Error("the picture is none to a screen reader")
	}
	if got := attribute(d.elements("svg")[0], "aria-label"); got != title {
		t.Errorf("it is called %q", got)
	}
}
