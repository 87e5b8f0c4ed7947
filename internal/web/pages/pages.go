// Package pages owns what people see of Gatehouse in a browser: the templates, the stylesheet, the
// mark, and the texts in each language. It renders, and does nothing else. It knows neither routes
// nor rules, so that whoever serves the pages decides what a person is told.
//
// No page has an inline style or a file of another site. Each works under the policy "default-src
// 'none'; style-src 'self'; img-src 'self'; form-action 'self'". Those for which [HasScript] is true
// have one script more, for passkeys. All but passkeys works without it.
package pages

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
)

// ErrAppName is for an empty [Options].AppName.
var ErrAppName = errors.New("the name of the installation must not be empty")

//go:embed templates
var templates embed.FS

// Options are what an installation may set.
type Options struct {
	// AppName is what the installation calls itself. It is in the title of every page.
	AppName string
	// Base is the escaped path of the issuer, without a slash at its end. It is "" at the root of a
	// host. Every link and every form goes below it.
	Base string
	// Logo is a picture as SVG, PNG, JPEG or WebP, of at most [MaxLogo] bytes. It takes the place of
	// Gatehouse's own mark.
	Logo []byte
}

// Pages renders pages. Many goroutines may use it.
type Pages struct {
	options     Options
	style, logo Asset
	script      Asset
	parsed      map[Language]map[string]*template.Template
}

// New parses everything once. Errors: [ErrAppName], [ErrLogo].
func New(options Options) (*Pages, error) {
	if strings.TrimSpace(options.AppName) == "" {
		return nil, ErrAppName
	}
	logo, err := newLogo(options.Logo)
	if err != nil {
		return nil, err
	}
	p := &Pages{
		options: options, style: newStyle(), logo: logo, script: newScript(),
		parsed: make(map[Language]map[string]*template.Template),
	}
	for _, language := range Languages() {
		if p.parsed[language], err = parse(language); err != nil {
			return nil, fmt.Errorf("pages in %s: %w", language, err)
		}
	}
	return p, nil
}

// parse makes the template of every page, in one language.
func parse(language Language) (map[string]*template.Template, error) {
	said, err := readTexts(language)
	if err != nil {
		return nil, err
	}
	layout, err := template.New("layout.html").Funcs(said.functions()).
		ParseFS(templates, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	parsed := make(map[string]*template.Template)
	for _, name := range names() {
		page, err := layout.Clone()
		if err != nil {
			return nil, err
		}
		if parsed[name], err = page.ParseFS(templates, "templates/"+name+".html"); err != nil {
			return nil, err
		}
	}
	return parsed, nil
}

// view is what a template gets.
type view struct {
	description
	Page     Page
	AppName  string
	Base     string
	Language Language
	Style    string
	Passkey  string // the script
	Logo     string
	LogoType string
}

// TitleForm is the name of the text that the title is made by. Whoever listens to a page hears the
// title first, and so that something is wrong.
func (v view) TitleForm() string {
	if v.Failure.Why != "" || slices.ContainsFunc(v.Fields, field.Invalid) {
		return "title.failed"
	}
	return "title"
}

// HasScript is true for a page whose policy must allow "script-src 'self'; connect-src 'self'".
func HasScript(page Page) bool { return page.describe().Script }

// Render writes a page. It writes nothing if the page cannot be rendered.
func (p *Pages) Render(w io.Writer, language Language, page Page) error {
	described := page.describe()
	described.Fields = described.laidOut()
	var out bytes.Buffer
	err := p.parsed[language][described.Name].Execute(&out, view{
		description: described,
		Page:        page,
		AppName:     p.options.AppName,
		Base:        p.options.Base,
		Language:    language,
		Style:       p.options.Base + p.style.Path,
		Passkey:     p.options.Base + p.script.Path,
		Logo:        p.options.Base + p.logo.Path,
		LogoType:    p.logo.MediaType,
	})
	if err != nil {
		return err
	}
	_, err = out.WriteTo(w)
	return err
}
