package pages

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// hostile are names that somebody may give themselves, an app, a device or a return URL.
func hostile() []string {
	return []string{
		`"><script>alert(1)</script>`,
		`'><img src=x onerror=alert(1)>`,
		`</title><script>alert(1)</script>`,
		`" autofocus onfocus="alert(1)`,
		"` onmouseover=alert(1) x=`",
		`javascript:alert(1)`,
		`JaVaScRiPt:alert(1)//https://orders.example/`,
		` javascript:alert(1)`,
		`data:text/html,<script>alert(1)</script>`,
		`//evil.example/`,
		`{{.}} {app} {name} %s`,
		`<!-- --!> <![CDATA[`,
		`&lt;script&gt;&#x3c;script&#x3e;`,
		"\x00<b>\x1b[2J",
		"\xff\xfe<script>",
		`+ADw-script+AD4-`,
	}
}

// A name that becomes a part of the page could read what is typed into it, or send it elsewhere.
func TestNoTextBecomesAPartOfThePage(t *testing.T) {
	t.Parallel()
	p := newPages(t, sampleBase)
	fields := 0
	for name, page := range drawn() {
		harmless, n := withStrings(page, "x")
		fields += n
		want := parsePage(t, render(t, p, Language{}, harmless)).skeleton()
		for _, text := range hostile() {
			filled, _ := withStrings(page, text)
			d := parsePage(t, render(t, p, Language{}, filled))
			if got := d.skeleton(); !slices.Equal(got, want) {
				t.Errorf("%s: %q changes the page:\n%v\n%v", name, text, got, want)
			}
			for _, target := range d.targets() {
				if !strings.HasPrefix(target, sampleBase+"/") {
					t.Errorf("%s: %q makes a link to %q", name, text, target)
				}
			}
		}
	}
	if fields < 100 {
		t.Errorf("only %d strings were replaced", fields)
	}
}

// What is shown must be what was given: a name that loses a part of itself is another name.
func TestAHostileNameIsShownAsItIs(t *testing.T) {
	t.Parallel()
	p := newPages(t, "")
	for _, text := range hostile() {
		if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
			continue // what HTML cannot hold
		}
		for shown, page := range map[string]Page{
			"username":     Login{Username: text},
			"app":          Login{To: text},
			"who is here":  Login{AlreadyAs: text},
			"return URL":   Login{Next: text},
			"account":      Account{Username: text},
			"place":        Account{Sessions: []Session{{Address: text}}},
			"an app's own": Account{Sessions: []Session{{App: text}}},
			"session's id": Account{Sessions: []Session{{ID: text}}},
			"session's app": Account{
				Sessions: []Session{{Apps: []string{text}}},
			},
			"allowed app":    Account{Apps: []AllowedApp{{Title: text}}},
			"allowed app's":  Account{Apps: []AllowedApp{{ID: text, Asks: []string{text}}}},
			"client":         Consent{App: text},
			"scope":          Consent{App: "Orders", Asks: []string{text}},
			"hidden":         EndSession{Hidden: []Hidden{{"state", text}}},
			"detail":         Error{Why: FaultBadApp, Detail: text},
			"request id":     Error{Why: FaultInternal, RequestID: text},
			"login":          Forgot{Login: text},
			"challenge":      ResetByCode{Challenge: text},
			"code":           ResetByCode{Code: text},
			"verify":         VerifyByLink{Username: text},
			"second step":    Factor{Username: text},
			"who must enrol": Enrol{Username: text},
			"sealed secret":  SetUpApp{App: AppOffer{Sealed: text}},
			"secret":         SetUpApp{App: AppOffer{Secret: text}},
			"recovery code":  RecoveryCodes{Codes: []string{text}},
			"passkey":        Security{Passkeys: []Passkey{{Name: text}}},
			"passkey to be":  NewPasskey{Name: text},
			"passkey's name": ChangePasskey{Name: text},
			"trusted device": Security{Devices: []TrustedDevice{{ID: text, Address: text}}},
			"app in vain":    Error{Why: FaultNoAccess, App: text},
		} {
			d := parsePage(t, render(t, p, Language{}, page))
			if !d.shows(text) {
				t.Errorf("the %s %q is not shown as it is", shown, text)
			}
		}
	}
}

// What opens an app could open anything.
func TestTheLinkToAnAppOpensOneAndNothingElse(t *testing.T) {
	t.Parallel()
	for uri, linked := range map[string]bool{
		sampleApp().URI:             true,
		"otpauth://hotp/a?secret=x": false,
		"otpauth:javascript:alert":  false,
		"javascript://totp/alert":   false,
		"https://totp/":             false,
		"":                          false,
	} {
		if got := (AppOffer{URI: uri}).Link() != ""; got != linked {
			t.Errorf("%q is linked: %v", uri, got)
		}
	}
	d := parsePage(t, render(t, newPages(t, ""), Language{}, drawn()["app"]))
	if !slices.Contains(d.targets(), sampleApp().URI) {
		t.Errorf("no link is the app's: %v", d.targets())
	}
}

// withStrings returns a copy of a page with every text replaced, and how many there are. Words of
// this package, such as a [Notice], stay.
func withStrings(page Page, text string) (Page, int) {
	replaced := reflect.New(reflect.TypeOf(page)).Elem()
	replaced.Set(reflect.ValueOf(page))
	n := replaceStrings(replaced, text)
	return replaced.Interface().(Page), n
}

func replaceStrings(v reflect.Value, text string) (n int) {
	switch {
	case v.Type() == reflect.TypeFor[string]():
		v.SetString(text)
		return 1
	case v.Kind() == reflect.Slice:
		copied := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(copied, v)
		v.Set(copied)
		for i := range v.Len() {
			n += replaceStrings(v.Index(i), text)
		}
	case v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeFor[Pages]().PkgPath():
		for i := range v.NumField() {
			n += replaceStrings(v.Field(i), text)
		}
	}
	return n
}

// skeleton is the page without its texts and the values of its attributes.
func (d document) skeleton() (lines []string) {
	for n := range d.root.Descendants() {
		if n.Type == html.CommentNode {
			lines = append(lines, "comment")
		}
		if n.Type != html.ElementNode {
			continue
		}
		line := n.Data
		for _, a := range n.Attr {
			line += " " + a.Key
		}
		lines = append(lines, line)
	}
	return lines
}

// targets are all URLs of a page.
func (d document) targets() (all []string) {
	for _, n := range d.elements() {
		for _, key := range []string{"href", "src", "action", "formaction", "data-options"} {
			if target, has := lookUp(n, key); has {
				all = append(all, target)
			}
		}
	}
	return all
}

// shows is true if a text is in the page, whole, as a reader sees it or as a form sends it.
func (d document) shows(text string) bool {
	for n := range d.root.Descendants() {
		if n.Type == html.TextNode && strings.Contains(n.Data, text) {
			return true
		}
		if slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Val == text }) {
			return true
		}
	}
	return false
}

// The app proposes where to go after a logout, and the page makes a link of it.
func TestTheLinkOnwardLeadsToAPageAndNothingElse(t *testing.T) {
	t.Parallel()
	for onward, linked := range map[string]bool{
		"https://orders.example/bye?state=x":         true,
		"http://127.0.0.1:8080/":                     true,
		`https://orders.example/" onclick="alert(1)`: true, // escaped
		"javascript:alert(1)":                        false,
		"JAVASCRIPT://orders.example/%0aalert(1)":    false,
		"data:text/html,x":                           false,
		"com.example.app:/bye":                       false,
		"//orders.example/":                          false,
		"/account":                                   false,
		"https:orders.example":                       false,
		"https:///x":                                 false,
		" https://orders.example/":                   false,
		"https://orders.example/\n":                  false,
		"":                                           false,
	} {
		page := LoggedOut{Onward: onward}
		if got := page.Link() != ""; got != linked {
			t.Errorf("%q is linked: %v", onward, got)
		}
		d := parsePage(t, render(t, newPages(t, ""), Language{}, page))
		for _, n := range d.elements() {
			if _, has := lookUp(n, "onclick"); has {
				t.Errorf("%q breaks out of its attribute", onward)
			}
		}
	}
}
