package pages

import (
	"fmt"
	"strings"

	"rsc.io/qr"
)

// quietZone is how many modules around a QR code stay white (ISO/IEC 18004 §9.1). Cameras do not
// find a code without it.
const quietZone = 4

// qrCode is the picture of a text, for cameras. The template "qr" draws it, black on white by night
// too: many cameras do not read the reverse.
type qrCode struct {
	Title string // for whoever does not see the picture
	Side  int    // of the square, in modules, with the quiet zone
	Path  string // the black modules, as the d of an SVG path
}

// newQR is what templates call qr. The text has at most 2331 bytes. The level of 15% repair makes
// larger modules than higher ones, and a screen is not torn.
func newQR(title, text string) (qrCode, error) {
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		return qrCode{}, err
	}
	var path strings.Builder
	for y := range code.Size {
		for x := 0; x < code.Size; x++ {
			from := x
			for code.Black(x, y) {
				x++
			}
			if x > from {
				_, _ = fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", from+quietZone, y+quietZone, x-from, x-from)
			}
		}
	}
	return qrCode{title, code.Size + 2*quietZone, path.String()}, nil
}
