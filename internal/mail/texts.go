package mail

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/web/pages"
	"gatehouse.example/internal/wording"
)

// texts are all that mails say in one language, by name.
type texts map[string]string

func readTexts(language pages.Language) (texts, error) {
	file, err := textFiles.ReadFile("texts/" + language.String() + ".txt")
	if err != nil {
		return nil, err
	}
	return wording.Parse(file)
}

// view is a letter in words, for the plain part and for the template of the other one.
type view struct {
	Language string
	App      string
	Subject  string
	Said     string
	Facts    []fact

	BeforeLink, Link, Button string // "" without a link
	BeforeCode, Code         string // "" without a code
	Until                    string // "" if nothing ends

	Else   string // "" for none
	Footer string
}

// fact is a line of what is known.
type fact struct{ Name, Value string }

// speaker says texts, and keeps the first error.
type speaker struct {
	texts texts
	err   error
}

func (s *speaker) say(name string, pairs ...any) string {
	text, found := s.texts[name]
	if !found {
		s.keep(fmt.Errorf("there is no text %s", name))
		return ""
	}
	filled, err := wording.Fill(text, pairs...)
	s.keep(err)
	return filled
}

func (s *speaker) keep(err error) {
	if s.err == nil {
		s.err = err
	}
}

// view puts a letter into words. Errors: [ErrUnusableLetter].
func (t texts) view(l auth.Letter, app string) (view, error) {
	kind := wordsOf(l)
	if _, known := t[kind+".subject"]; !known {
		return view{}, ErrUnusableLetter
	}
	s := &speaker{texts: t}
	v := view{
		App:     app,
		Subject: s.say(kind+".subject", "app", app),
		Said:    s.say(kind+".said", "app", app),
		Footer:  s.say("footer", "app", app),
		Facts:   s.facts(l),
	}
	if l.Link != "" {
		v.Link, v.BeforeLink = l.Link, s.say(kind+".link")
		v.Button = s.say(kind + ".button")
		if !isPage(l.Link) {
			s.keep(ErrUnusableLetter)
		}
	}
	if l.Code != "" {
		v.Code, v.BeforeCode = shownCode(l.Code), s.say(kind+".code")
	}
	if !l.ExpiresAt.IsZero() {
		v.Until = s.until(l)
	}
	if _, more := t[kind+".else"]; more {
		v.Else = s.say(kind+".else", "app", app)
	}
	return v, s.err
}

// wordsOf is what the texts of a letter are called: mostly its kind. An address that no other one
// replaces was not changed but removed.
func wordsOf(l auth.Letter) string {
	if l.Kind == auth.MailAddressChanged && l.NewAddress == "" {
		return "address_removed"
	}
	return string(l.Kind)
}

// facts are what is known of the cause. A mail that asks whether an address is somebody's says
// nothing that a stranger may have chosen for them to read: the username. It could be an
// advertisement, sent to anybody in our name.
func (s *speaker) facts(l auth.Letter) (facts []fact) {
	add := func(name, value string) {
		if value = clean(value); value != "" {
			facts = append(facts, fact{s.say(name), value})
		}
	}
	if l.Kind != auth.MailVerify {
		add("fact.account", l.Username)
	}
	add("fact.new_address", l.NewAddress)
	if !l.At.IsZero() {
		add("fact.at", s.time(l.At))
	}
	add("fact.address", l.ClientAddress)
	add("fact.device", s.device(l.UserAgent))
	return facts
}

// time is of UTC, since nobody knows the reader's zone.
func (s *speaker) time(at time.Time) string {
	at = at.UTC()
	two := func(n int) string { return fmt.Sprintf("%02d", n) }
	return s.say("time", "year", at.Year(), "month", two(int(at.Month())), "day", two(at.Day()),
		"hour", two(at.Hour()), "minute", two(at.Minute()))
}

// until says how long the link and the code are good.
func (s *speaker) until(l auth.Letter) string {
	span := l.ExpiresAt.Sub(l.At)
	if l.At.IsZero() || span < time.Minute {
		return s.say("until.alone", "time", s.time(l.ExpiresAt))
	}
	unit, n := "span.minutes", span.Minutes()
	switch {
	case span >= 4*24*time.Hour:
		unit, n = "span.days", span.Hours()/24
	case span >= 2*time.Hour:
		unit, n = "span.hours", span.Hours()
	}
	return s.say("until", "span", s.say(unit, "n", int(n)), "time", s.time(l.ExpiresAt))
}

// device says what a User-Agent names. Whoever sent it may have written anything into it. A program
// that could be read as a link, such as "example.org", is not said.
func (s *speaker) device(userAgent string) string {
	d := pages.DeviceOf(userAgent)
	if strings.ContainsFunc(d.Program, isNotOfProgram) {
		d.Program = ""
	}
	if d.Program != "" && d.System != "" {
		return s.say("device.both", "program", d.Program, "system", d.System)
	}
	return d.Program + d.System
}

func isNotOfProgram(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' ||
		r == '-' || r == '_' || r == ' ')
}

// shownCode is a code as people read it: in two halves.
func shownCode(code string) string {
	if len(code) != 8 {
		return clean(code)
	}
	return code[:4] + "-" + code[4:]
}

// isPage reports whether a link is one that a mail may have.
func isPage(link string) bool {
	u, err := url.Parse(link)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" &&
		printable(link) == link && !strings.ContainsAny(link, " <>\"")
}

// plain is the plain part. The link and the code have lines of their own, so that a double click
// takes them whole.
func (v view) plain() string {
	var parts []string
	add := func(lines ...string) { parts = append(parts, strings.Join(lines, "\n")) }
	add(v.Said)
	if len(v.Facts) > 0 {
		var lines []string
		for _, f := range v.Facts {
			lines = append(lines, f.Name+": "+f.Value)
		}
		add(lines...)
	}
	if v.Link != "" {
		add(v.BeforeLink, v.Link)
	}
	if v.Code != "" {
		add(v.BeforeCode, v.Code)
	}
	if v.Until != "" {
		add(v.Until)
	}
	if v.Else != "" {
		add(v.Else)
	}
	add("-- ", v.Footer)
	return strings.Join(parts, "\n\n") + "\n"
}
