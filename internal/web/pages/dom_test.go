package pages

import (
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

const sampleBase = "/log%20in/auth"

// document is a page as a browser reads it.
type document struct{ root *html.Node }

func parsePage(t *testing.T, text string) document {
	t.Helper()
	root, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return document{root}
}

// elements are those with one of the names, in the order of the document. No names: all.
func (d document) elements(names ...string) (found []*html.Node) {
	for n := range d.root.Descendants() {
		if n.Type == html.ElementNode && (len(names) == 0 || slices.Contains(names, n.Data)) {
			found = append(found, n)
		}
	}
	return found
}

func (d document) byID(id string) *html.Node {
	for _, n := range d.elements() {
		if attribute(n, "id") == id {
			return n
		}
	}
	return nil
}

func attribute(n *html.Node, key string) string {
	value, _ := lookUp(n, key)
	return value
}

func lookUp(n *html.Node, key string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}

func textOf(n *html.Node) string {
	var text strings.Builder
	for child := range n.Descendants() {
		if child.Type == html.TextNode {
			text.WriteString(child.Data)
		}
	}
	return strings.Join(strings.Fields(text.String()), " ")
}

// eachPage runs a test on every sample in every language.
func eachPage(t *testing.T, test func(t *testing.T, language Language, page Page, d document)) {
	t.Helper()
	p := newPages(t, sampleBase)
	for name, page := range samples(t) {
		for _, language := range Languages() {
			t.Run(name+" "+language.String(), func(t *testing.T) {
				t.Parallel()
				test(t, language, page, parsePage(t, render(t, p, language, page)))
			})
		}
	}
}

// A screen reader goes by these: without them it reads with the wrong voice, or says nothing of
// where one is.
func TestAPageSaysItsLanguageItsTitleAndItsParts(t *testing.T) {
	t.Parallel()
	eachPage(t, func(t *testing.T, language Language, page Page, d document) {
		if got := attribute(d.elements("html")[0], "lang"); got != language.String() {
			t.Errorf("lang is %q", got)
		}
		for _, once := range []string{"h1", "main", "header", "title"} {
			if n := len(d.elements(once)); n != 1 {
				t.Fatalf("%d elements %s", n, once)
			}
		}
		title, h1 := textOf(d.elements("title")[0]), textOf(d.elements("h1")[0])
		if !strings.HasSuffix(title, h1+" · Example Bakery") || h1 == "" {
			t.Errorf("the title is %q, and the heading %q", title, h1)
		}
		alerted := slices.ContainsFunc(d.elements(), func(n *html.Node) bool {
			return attribute(n, "role") == "alert"
		})
		if said := title != h1+" · Example Bakery"; said != alerted {
			t.Errorf("the title is %q, and there is an alert: %v", title, alerted)
		}
		for _, section := range d.elements("section", "nav") {
			_, named := lookUp(section, "aria-label")
			if id, by := lookUp(section, "aria-labelledby"); by {
				named = d.byID(id) != nil && textOf(d.byID(id)) != ""
			}
			if page.describe().Wide && !named {
				t.Error("a part has no name")
			}
		}
	})
}

func TestEveryInputHasALabelAndWhatDescribesItIsThere(t *testing.T) {
	t.Parallel()
	eachPage(t, func(t *testing.T, _ Language, _ Page, d document) {
		ids := map[string]bool{}
		for _, n := range d.elements() {
			if id, has := lookUp(n, "id"); has && (ids[id] || id == "") {
				t.Errorf("the id %q is there twice, or is empty", id)
			} else if has {
				ids[id] = true
			}
		}
		for _, input := range d.elements("input") {
			_, unseen := lookUp(input, "hidden")
			if !unseen && attribute(input, "type") != "hidden" && !d.hasLabel(input) {
				t.Errorf("the input %s has no label", attribute(input, "name"))
			}
			for id := range strings.FieldsSeq(attribute(input, "aria-describedby")) {
				if !ids[id] {
					t.Errorf("%s is described by %s, which is not there", attribute(input, "name"), id)
				}
			}
			if attribute(input, "aria-invalid") == "true" && !d.isExplained(input) {
				t.Errorf("nothing says what is wrong with %s", attribute(input, "name"))
			}
		}
		for _, n := range d.elements("button", "a", "th") {
			if textOf(n) == "" {
				t.Errorf("a %s says nothing", n.Data)
			}
		}
		for _, picture := range d.elements("img") {
			if _, has := lookUp(picture, "alt"); !has {
				t.Error("a picture has no alt")
			}
		}
	})
}

func (d document) hasLabel(input *html.Node) bool {
	if input.Parent.Data == "label" {
		return textOf(input.Parent) != ""
	}
	return slices.ContainsFunc(d.elements("label"), func(label *html.Node) bool {
		return attribute(label, "for") == attribute(input, "id") && textOf(label) != ""
	})
}

// isExplained is true if an alert describes the input.
func (d document) isExplained(input *html.Node) bool {
	ids := strings.Fields(attribute(input, "aria-describedby"))
	return slices.ContainsFunc(ids, func(id string) bool {
		said := d.byID(id)
		return said != nil && attribute(said, "role") == "alert" && textOf(said) != ""
	})
}

// Whoever has used somebody else's computer must find the way out from wherever they are.
func TestEveryPageOfSomebodyWhoIsLoggedInOffersTheLogout(t *testing.T) {
	t.Parallel()
	eachPage(t, func(t *testing.T, _ Language, page Page, d document) {
		switch page.(type) {
		case Login: // it asks for an answer, and the page after it offers one
			return
		}
		loggedIn, offered := false, false
		for _, n := range d.elements("input", "button") {
			loggedIn = loggedIn || attribute(n, "name") == AsField
			offered = offered || attribute(n, "value") == ChoiceLogOut
		}
		if loggedIn && !offered {
			t.Error("there is no logout")
		}
	})
}

// A password manager fills in, saves and proposes by these words.
func TestAPasswordManagerKnowsEveryField(t *testing.T) {
	t.Parallel()
	want := map[string]string{
		UsernameField: "username", CurrentField: "current-password", NewField: "new-password",
		LoginField: "username", CodeField: "one-time-code", AddressField: "email",
		FactorField: "one-time-code", PasskeyNameField: "off",
	}
	eachPage(t, func(t *testing.T, _ Language, page Page, d document) {
		for _, form := range d.elements("form") {
			var username, password bool
			for input := range form.Descendants() {
				kind := attribute(input, "type")
				if input.Data != "input" || (kind != "text" && kind != "password") {
					continue
				}
				name, completed := attribute(input, "name"), attribute(input, "autocomplete")
				if login, ok := page.(Login); ok && login.Passkeys && name == UsernameField {
					if completed != "username webauthn" {
						t.Errorf("no browser offers a passkey at the name: %q", completed)
					}
					completed = "username"
				}
				username = username || completed == "username"
				password = password || kind == "password"
				if _, registers := page.(Register); name == PasswordField && registers {
					name = NewField
				} else if name == PasswordField {
					name = CurrentField
				} else if name == "" {
					name = UsernameField
				}
				if form, ok := page.(Register); ok && form.NeedsAddress && name == AddressField {
					name = UsernameField // by which they log in
				}
				if completed != want[name] {
					t.Errorf("%s has autocomplete=%q", name, completed)
				}
				if hidden := strings.HasSuffix(want[name], "-password"); hidden != (kind == "password") {
					t.Errorf("%s is typed into a field of type %s", name, kind)
				}
				if _, filled := lookUp(input, "value"); filled && kind == "password" {
					t.Errorf("%s comes with a value", name)
				}
			}
			// Whoever opens the link of a mail must not learn whose it is. The login after it says so.
			_, byLink := page.(ResetByLink)
			_, byCode := page.(ResetByCode)
			_, verify := page.(VerifyByLink)
			proof, nameless := page.(VerifyByCode)
			nameless = nameless && proof.Login == "" // nobody has said who they are
			_, invited := page.(Invitation)
			if password && !username && !byLink && !byCode && !verify && !nameless && !invited {
				t.Error("a form has a password, and does not say whose it is")
			}
		}
	})
}

// The policy of the pages refuses all of these, so what needs them would not work. The one script is
// for passkeys, and what a page can do without is on no page.
func TestNoPageHasAnInlineStyleOrAHandlerOrAScriptButForPasskeys(t *testing.T) {
	t.Parallel()
	script := sampleBase + newScript().Path
	eachPage(t, func(t *testing.T, _ Language, page Page, d document) {
		if found := d.elements("style", "iframe", "object", "embed", "base"); len(found) > 0 {
			t.Errorf("there is a %s", found[0].Data)
		}
		ceremonies := 0
		for _, n := range d.elements() {
			for _, a := range n.Attr {
				if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
					t.Errorf("a %s has %s", n.Data, a.Key)
				}
				if a.Key == "data-passkey" {
					ceremonies++
				}
			}
		}
		scripts := d.elements("script")
		if HasScript(page) != (ceremonies > 0) || len(scripts) != min(ceremonies, 1) {
			t.Errorf("%d scripts for %d forms, by a policy that allows it: %v", len(scripts), ceremonies, HasScript(page))
		}
		for _, n := range scripts {
			if attribute(n, "src") != script || n.FirstChild != nil {
				t.Errorf("the script is at %q, or in the page", attribute(n, "src"))
			}
		}
	})
}

// More than that is a program, which nobody reads before they trust it.
func TestTheOnlyScriptIsShort(t *testing.T) {
	t.Parallel()
	if lines := strings.Count(string(passkeyScript), "\n"); lines == 0 || lines > 150 {
		t.Errorf("the script has %d lines, and may have 150", lines)
	}
	if found, _ := fs.Glob(os.DirFS("assets"), "*.js"); len(found) != 1 {
		t.Errorf("there are the scripts %v", found)
	}
}

// A form that waits for the script shows a button without a use, or lacks a sentence to say.
func TestAFormForAPasskeyIsSeenWithItsScriptAlone(t *testing.T) {
	t.Parallel()
	eachPage(t, func(t *testing.T, _ Language, _ Page, d document) {
		for _, form := range d.elements("form") {
			does, is := lookUp(form, "data-passkey")
			if !is {
				continue
			}
			if _, hidden := lookUp(form, "hidden"); !hidden {
				t.Error("without the script, the form is seen")
			}
			answer := slices.ContainsFunc(slices.Collect(form.Descendants()), func(n *html.Node) bool {
				return attribute(n, "name") == PasskeyField && attribute(n, "type") == "hidden"
			})
			if !answer || attribute(form, "data-options") == "" {
				t.Error("the script knows no options, or no field for the answer")
			}
			for _, why := range []string{"cancelled", "late", "failed", "known", "missing"} {
				if attribute(form, "data-"+why) == "" && does != "offer" {
					t.Errorf("the script cannot say that it is %s", why)
				}
			}
		}
	})
}

func TestTheFocusFollowsTheDocument(t *testing.T) {
	t.Parallel()
	eachPage(t, func(t *testing.T, _ Language, _ Page, d document) {
		focused := 0
		for _, n := range d.elements() {
			if _, has := lookUp(n, "tabindex"); has {
				t.Errorf("a %s has a tabindex", n.Data)
			}
			if _, has := lookUp(n, "autofocus"); has {
				focused++
			}
		}
		if focused > 1 {
			t.Errorf("%d elements want the focus", focused)
		}
	})
}

// Below a path, whatever leads out of it leads to another service.
func TestEveryLinkAndFormStaysBelowTheBase(t *testing.T) {
	t.Parallel()
	known := []string{
		HomePath, LoginPath, LoginPasswordPath, RegisterPath, ConsentPath, EndSessionPath,
		AccountPath, AccountSessionPath, AccountAppsPath, AccountDataPath, ChangePasswordPath, DeleteAccountPath,
		ForgetPath, ForgotPath, ForgotMailPath, ResetCodePath, ResetLinkPath + "ghm_x",
		VerifyCodePath, VerifyMailPath, AccountEmailPath, AccountMailPath,
		VerifyLinkPath + "ghm_x", UndoLinkPath + "ghm_x",
		InvitationPath + "ghm_x",
		LoginPasskeyPath, FactorPath, FactorPasskeyPath, EnrolPath, EnrolPasskeyPath, SecurityPath,
		AppPath, AddPasskeyPath, NewPasskeyPath, PasskeyPath + "9f9bd7a5", PasskeyPath + "9f9bd7a6",
		PasskeyPath + "9f9bd7a7", OfferedPasskeyPath, RecoveryCodesPath, DevicesPath, NoPasswordPath,
		LaterPath,
	}
	for _, asset := range newPages(t, "").Assets() {
		known = append(known, asset.Path)
	}
	eachPage(t, func(t *testing.T, _ Language, page Page, d document) {
		for _, n := range d.elements() {
			for _, key := range []string{"href", "src", "action", "formaction", "data-options"} {
				target, has := lookUp(n, key)
				if target == sampleApp().URI {
					continue
				}
				if onward, out := page.(LoggedOut); !has || out && target == onward.Onward {
					continue
				}
				parsed, err := url.Parse(target)
				if err != nil {
					t.Fatal(err)
				}
				path, below := strings.CutPrefix(parsed.EscapedPath(), sampleBase)
				if !below || parsed.Host != "" || !slices.Contains(known, path) {
					t.Errorf("a %s leads to %s", n.Data, target)
				}
			}
		}
		for _, form := range d.elements("form") {
			if attribute(form, "method") != "post" || attribute(form, "action") == "" {
				t.Error("a form is not posted, or not to a URL of its own")
			}
		}
	})
}

// The handlers read fields by these names, so a form that has others is not understood.
func TestTheFormsHaveTheFieldsThatAreDeclared(t *testing.T) {
	t.Parallel()
	known := []string{
		AsField, UsernameField, PasswordField, CurrentField, NewField, RememberField, NextField,
		ChoiceField, SessionField, LoginField, CodeField, ChallengeField, AddressField,
		TrustField, OthersField, FactorField, SealedField, PasskeyField, PasskeyNameField, DeviceField,
		ClientField,
	}
	choices := []string{
		ChoiceCurrent, ChoiceAllow, ChoiceDeny, ChoiceLogOut, ChoiceOthers, ChoiceRemove,
		ChoiceAll,
	}
	eachPage(t, func(t *testing.T, _ Language, page Page, d document) {
		for _, n := range d.elements("input", "button") {
			name, has := lookUp(n, "name")
			if ending, ok := page.(EndSession); ok && slices.ContainsFunc(ending.Hidden, func(h Hidden) bool {
				return h.Name == name && h.Value == attribute(n, "value")
			}) {
				continue
			}
			if has && !slices.Contains(known, name) {
				t.Errorf("there is a field %s", name)
			}
			if value := attribute(n, "value"); name == ChoiceField && !slices.Contains(choices, value) {
				t.Errorf("there is a choice %s", value)
			}
		}
		for _, link := range d.elements("a") {
			parsed, _ := url.Parse(attribute(link, "href"))
			for name := range parsed.Query() {
				if parsed.Host == "" && name != NextField && name != AfterField {
					t.Errorf("a link has the parameter %s", name)
				}
			}
		}
	})
}

// Whoever cannot change the name would be told to.
func TestAFixedNameIsNotCalledWrong(t *testing.T) {
	t.Parallel()
	for name, invalid := range map[string]string{"login wrong": "true", "login again wrong": ""} {
		d := parsePage(t, render(t, newPages(t, ""), Language{}, drawn()[name]))
		if got := attribute(d.byID(UsernameField), "aria-invalid"); got != invalid {
			t.Errorf("%s: the name has aria-invalid=%q", name, got)
		}
		if got := attribute(d.byID(PasswordField), "aria-invalid"); got != "true" {
			t.Errorf("%s: the password has aria-invalid=%q", name, got)
		}
	}
}

func TestAProblemGetsTheFocusAndElseTheFirstEmptyField(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"login": UsernameField, "login wrong": PasswordField, "login again": PasswordField,
		"login already": "", "login long": PasswordField, "register": UsernameField,
		"register wrong": UsernameField, "password": CurrentField, "account": "",
		"account wrong": CurrentField, "delete": PasswordField, "home": "", "consent": "",
		"factor": "", "factor app": FactorField, "factor app wrong": FactorField, "enrol": "", "codes": "",
		"security": "", "app": "", "app wrong": FactorField,
	} {
		d := parsePage(t, render(t, newPages(t, ""), Language{}, drawn()[name]))
		got := ""
		for _, n := range d.elements() {
			if _, has := lookUp(n, "autofocus"); has {
				got = attribute(n, "id")
			}
		}
		if got != want {
			t.Errorf("%s: the focus is at %q, want %q", name, got, want)
		}
	}
}
