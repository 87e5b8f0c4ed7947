package pages

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"net/http"
)

// MaxLogo is in bytes. Whoever logs in for the first time loads the logo.
const MaxLogo = 256 << 10

// CacheControl is the header for every [Asset]. A changed file has another path, so that the old
// one may be kept for ever.
const CacheControl = "public, max-age=31536000, immutable"

// ErrLogo is for a logo that is too big, or that is no picture which browsers show.
var ErrLogo = errors.New("the logo must be an SVG, PNG, JPEG or WebP file of at most 256 KiB")

var (
	//go:embed assets/style.css
	styleSheet []byte
	//go:embed assets/mark.svg
	mark []byte
	//go:embed assets/passkey.js
	passkeyScript []byte
)

// Asset is a file that the pages load. Whoever serves a logo must send a Content-Security-Policy
// with it, since an SVG that is opened by itself may run scripts.
type Asset struct {
	// Path begins with a slash, and has a digest of the file. The base comes before it.
	Path      string
	MediaType string
	Body      []byte
}

// Assets returns all files that the pages load.
func (p *Pages) Assets() []Asset { return []Asset{p.style, p.logo, p.script} }

func newStyle() Asset {
	return Asset{
		Path: hashed("style", "css", styleSheet), MediaType: "text/css; charset=utf-8",
		Body: styleSheet,
	}
}

// newScript makes the asset of the only script, which asks the browser for passkeys.
func newScript() Asset {
	return Asset{
		Path: hashed("passkey", "js", passkeyScript), MediaType: "text/javascript; charset=utf-8",
		Body: passkeyScript,
	}
}

// newLogo makes the asset of a logo, or of the mark if there is none.
func newLogo(logo []byte) (Asset, error) {
	if len(logo) == 0 {
		logo = mark
	}
	mediaType, extension := pictureOf(logo)
	if mediaType == "" || len(logo) > MaxLogo {
		return Asset{}, ErrLogo
	}
	return Asset{
		Path: hashed("logo", extension, logo), MediaType: mediaType, Body: bytes.Clone(logo),
	}, nil
}

// hashed is the path of a file. 64 bits of the digest tell the versions of one file apart.
func hashed(name, extension string, body []byte) string {
	digest := sha256.Sum256(body)
	return "/assets/" + name + "-" + hex.EncodeToString(digest[:8]) + "." + extension
}

// pictureOf looks at a file, and not at its name. Both results are empty for what is no picture.
func pictureOf(body []byte) (mediaType, extension string) {
	known := map[string]string{"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
	mediaType = http.DetectContentType(body)
	if extension, ok := known[mediaType]; ok {
		return mediaType, extension
	}
	if isSVG(body) {
		return "image/svg+xml", "svg"
	}
	return "", ""
}

// isSVG is true for XML that begins with the element svg.
func isSVG(body []byte) bool {
	decoder := xml.NewDecoder(bytes.NewReader(body))
	for {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		if start, ok := token.(xml.StartElement); ok {
			return start.Name == xml.Name{Space: "http://www.w3.org/2000/svg", Local: "svg"}
		}
	}
}
