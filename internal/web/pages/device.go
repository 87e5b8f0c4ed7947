package pages

import (
	"strings"
	"unicode"
)

// Device is what a User-Agent says of itself. Anybody can write what they like into it, so it is
// good for nothing but to be shown.
type Device struct {
	Program string // such as "Firefox"; "" if it is not known
	System  string // such as "Linux"; "" if it is not known
}

// maxProgram is in characters.
const maxProgram = 40

// naming is a name, and the part of a User-Agent that gives it away.
type naming struct{ sign, name string }

// programs are in an order that matters: a browser also names those that it descends from.
func programs() []naming {
	return []naming{
		{"EdgA/", "Edge"}, {"EdgiOS/", "Edge"}, {"Edg/", "Edge"},
		{"OPR/", "Opera"}, {"OPT/", "Opera"}, {"Vivaldi/", "Vivaldi"}, {"YaBrowser/", "Yandex"},
		{"SamsungBrowser/", "Samsung Internet"}, {"DuckDuckGo/", "DuckDuckGo"},
		{"FxiOS/", "Firefox"}, {"Firefox/", "Firefox"},
		{"CriOS/", "Chrome"}, {"HeadlessChrome/", "Chrome"}, {"Chromium/", "Chromium"},
		{"Chrome/", "Chrome"},
		{"Safari/", "Safari"},
	}
}

// systems are in an order that matters: Android names Linux too, and an iPhone Mac OS X.
func systems() []naming {
	return []naming{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"CrOS", "ChromeOS"},
		{"Windows", "Windows"}, {"Macintosh", "Mac"}, {"Linux", "Linux"},
		{"FreeBSD", "FreeBSD"}, {"OpenBSD", "OpenBSD"},
	}
}

// DeviceOf reads a User-Agent (RFC 9110 §10.1.5). For what is no browser, the program is the name
// of the first product.
func DeviceOf(userAgent string) Device {
	d := Device{System: nameIn(userAgent, systems())}
	if strings.HasPrefix(userAgent, "Mozilla/") {
		d.Program = nameIn(userAgent, programs())
		return d
	}
	d.Program = firstProduct(userAgent)
	return d
}

func nameIn(userAgent string, known []naming) string {
	for _, one := range known {
		if strings.Contains(userAgent, one.sign) {
			return one.name
		}
	}
	return ""
}

// firstProduct is the first word, without its version.
func firstProduct(userAgent string) string {
	end := strings.IndexFunc(userAgent, func(r rune) bool {
		return r == '/' || !unicode.IsPrint(r) || unicode.IsSpace(r)
	})
	if end >= 0 {
		userAgent = userAgent[:end]
	}
	product := []rune(strings.ToValidUTF8(userAgent, ""))
	return string(product[:min(len(product), maxProgram)])
}

// String names the device in no language, such as "Firefox, Linux". It is "" if nothing is known.
func (d Device) String() string {
	if d.Program == "" || d.System == "" {
		return d.Program + d.System
	}
	return d.Program + ", " + d.System
}
