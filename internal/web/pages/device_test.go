package pages

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestAPersonRecognizesTheirDevices(t *testing.T) {
	t.Parallel()
	const webKit = "AppleWebKit/537.36 (KHTML, like Gecko) "
	for userAgent, want := range map[string]string{
		firefox:   "Firefox on Linux",
		iphone:    "Safari on iPhone",
		androidUA: "Chrome on Android",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webKit + "Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0":                        "Edge on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webKit + "Chrome/142.0.0.0 Safari/537.36":                                      "Chrome on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webKit + "Chrome/142.0.0.0 Safari/537.36 OPR/126.0.0.0":                        "Opera on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15":       "Safari on Mac",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:145.0) Gecko/20100101 Firefox/145.0":                                        "Firefox on Mac",
		"Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0 Mobile/15E148 Safari/604": "Chrome on iPad",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/145.0 Safari/605.1.15": "Firefox on iPhone",
		"Mozilla/5.0 (Android 16; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0":                                                        "Firefox on Android",
		"Mozilla/5.0 (Linux; Android 16) " + webKit + "SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36":                     "Samsung Internet on Android",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) " + webKit + "Chrome/142.0.0.0 Safari/537.36":                                       "Chrome on ChromeOS",
		"Mozilla/5.0 (X11; Linux x86_64) " + webKit + "HeadlessChrome/142.0.0.0 Safari/537.36":                                        "Chrome on Linux",
		"Mozilla/5.0 (X11; FreeBSD amd64; rv:145.0) Gecko/20100101 Firefox/145.0":                                                     "Firefox on FreeBSD",
		"Mozilla/5.0 (Linux)":                 "Linux",
		"Mozilla/5.0":                         "Unknown device",
		"curl/8.5.0":                          "curl",
		"python-requests/2.32.3":              "python-requests",
		"OrdersApp/3.1 (Android 16; Pixel 9)": "OrdersApp on Android",
		"Orders App":                          "Orders",
		"":                                    "Unknown device",
		" ":                                   "Unknown device",
		"\u202eevil/1":                        "Unknown device",
		strings.Repeat("ä", 100):              strings.Repeat("ä", 40),
		"\xff\xfe":                            "Unknown device",
	} {
		if got, err := textsOf(t, Language{}).device(userAgent); err != nil || got != want {
			t.Errorf("%.60q is %q (%v), want %q", userAgent, got, err, want)
		}
	}
}

// Whoever logs in writes the User-Agent, and the owner of the account reads it.
func FuzzDeviceOf(f *testing.F) {
	f.Add(firefox)
	f.Add("curl/8.5.0")
	f.Add("\u202eevil/1\x00")
	f.Fuzz(func(t *testing.T, userAgent string) {
		d := DeviceOf(userAgent)
		if !utf8.ValidString(d.Program) || utf8.RuneCountInString(d.Program) > maxProgram {
			t.Errorf("the program is %q", d.Program)
		}
		for _, r := range d.Program + d.System {
			if !unicode.IsPrint(r) {
				t.Errorf("%q has a character that is not printed", d.Program)
			}
		}
	})
}
