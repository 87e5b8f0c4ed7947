package mail

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	netmail "net/mail"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/web/pages"
)

var (
	//go:embed texts
	textFiles embed.FS
	//go:embed letter.html
	letterHTML string
)

// Options are what an installation may set.
type Options struct {
	AppName string
	// From is the sender, such as "Example <login@example.org>". Without a name it gets AppName.
	From string
	// ReplyTo is where answers go. If it is empty, they go to the sender.
	ReplyTo string
}

// Composer puts letters into words, and makes mails of them. Many goroutines may use it.
type Composer struct {
	app     string
	from    *netmail.Address
	replyTo *netmail.Address // nil for none
	domain  string           // of the sender
	texts   map[pages.Language]texts
	html    *template.Template
}

// ErrUnusableLetter is for a letter that cannot be sent to anybody, at any try.
var ErrUnusableLetter = errors.New("the letter has no recipient, or its kind has no text")

// NewComposer reads the texts once. Its error names what is wrong with the options.
func NewComposer(o Options) (*Composer, error) {
	c := &Composer{app: clean(o.AppName), texts: make(map[pages.Language]texts)}
	var err error
	if c.from, err = netmail.ParseAddress(o.From); err != nil {
		return nil, fmt.Errorf("the sender is no address: %w", err)
	}
	if c.from.Name = clean(c.from.Name); c.from.Name == "" {
		c.from.Name = c.app
	}
	c.domain = c.from.Address[strings.LastIndexByte(c.from.Address, '@')+1:]
	if o.ReplyTo != "" {
		if c.replyTo, err = netmail.ParseAddress(o.ReplyTo); err != nil {
			return nil, fmt.Errorf("the address for answers is none: %w", err)
		}
		c.replyTo.Name = clean(c.replyTo.Name)
	}
	for _, language := range pages.Languages() {
		if c.texts[language], err = readTexts(language); err != nil {
			return nil, fmt.Errorf("mails in %s: %w", language, err)
		}
	}
	c.html, err = template.New("letter").Parse(letterHTML)
	return c, err
}

// Domain is that of the sender.
func (c *Composer) Domain() string { return c.domain }

// Compose makes a mail of a letter. Each try has the same Message-ID, so that relays and mailboxes
// may drop doubles. Errors: [ErrUnusableLetter].
func (c *Composer) Compose(letter auth.Letter, now time.Time) (Message, error) {
	to, err := netmail.ParseAddress("<" + letter.To + ">")
	// ParseAddress also takes comments and folded white space.
	if err != nil || to.Address != letter.To || printable(letter.To) != letter.To {
		return Message{}, ErrUnusableLetter
	}
	language := pages.Choose("", letter.Language)
	said, err := c.texts[language].view(letter, c.app)
	if err != nil {
		return Message{}, err
	}
	said.Language = language.String()
	m := Message{
		Letter: letter, From: c.from.Address, ID: letter.ID.String() + "@" + c.domain,
		Text: said.plain(),
	}
	var html bytes.Buffer
	if err := c.html.Execute(&html, said); err != nil {
		return Message{}, err
	}
	m.HTML = html.String()
	m.Source, err = c.source(m, to, said.Subject, now)
	return m, err
}

func (c *Composer) source(
	m Message, to *netmail.Address, subject string, now time.Time,
) ([]byte, error) {
	// A boundary of the id makes each try the same, byte for byte.
	mail := gomail.NewMsg(gomail.WithNoDefaultUserAgent(),
		gomail.WithBoundary("letter-"+m.Letter.ID.String()))
	mail.FromMailAddress(c.from)
	mail.ToMailAddress(to)
	if c.replyTo != nil {
		mail.ReplyToMailAddress(c.replyTo)
	}
	mail.Subject(subject)
	mail.SetMessageIDWithValue(m.ID)
	mail.SetDateWithValue(now.UTC())
	mail.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 §5.1
	mail.SetGenHeader("X-Auto-Response-Suppress", "All")  // Exchange asks for this one
	mail.SetBodyString(gomail.TypeTextPlain, m.Text)
	mail.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	var source bytes.Buffer
	_, err := mail.WriteTo(&source)
	return source.Bytes(), err
}

// maxName is in characters. Nothing that is filled in is longer.
const maxName = 256

// clean makes a text fit for a line of a mail: printable, and not too long.
func clean(text string) string {
	// "=?" begins an encoded word (RFC 2047 §2), in which a mailbox would find line breaks again.
	cleaned := []rune(strings.ReplaceAll(printable(text), "=?", "= ?"))
	return strings.TrimSpace(string(cleaned[:min(len(cleaned), maxName)]))
}

// printable leaves out control characters, line breaks, and the characters that turn the direction
// of what comes after them.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}
