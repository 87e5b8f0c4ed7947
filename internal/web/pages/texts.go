package pages

import (
	"embed"
	"fmt"
	"html/template"
	"strings"
	"time"

	"gatehouse.example/internal/wording"
)

//go:embed texts
var textFiles embed.FS

// texts are all that the pages say in one language, by name. A text may have placeholders, such as
// {name}. It is plain text: whoever shows it escapes it.
type texts map[string]string

// readTexts reads the file of a language.
func readTexts(language Language) (texts, error) {
	file, err := textFiles.ReadFile("texts/" + language.String() + ".txt")
	if err != nil {
		return nil, err
	}
	return wording.Parse(file)
}

// functions are what the templates call.
func (t texts) functions() template.FuncMap {
	return template.FuncMap{
		"say": t.say, "bold": t.bold, "list": list, "failure": t.failure, "problem": t.problem,
		"wait": t.wait, "device": t.device, "when": t.when, "date": t.date, "ask": t.ask,
		"qr": newQR,
	}
}

// say returns a text with its placeholders filled in, by pairs of a name and a value. It is an
// error if a text is missing, or if a placeholder is left.
func (t texts) say(name string, pairs ...any) (string, error) {
	text, found := t[name]
	if !found {
		return "", fmt.Errorf("there is no text %s", name)
	}
	filled, err := wording.Fill(text, pairs...)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return filled, nil
}

// bold is a text of which one value stands out.
type bold struct{ Before, Value, After string }

// bold fills in the one placeholder of a text. The template sets the value in bold.
func (t texts) bold(name, hole, value string) (bold, error) {
	before, after, found := strings.Cut(t[name], "{"+hole+"}")
	if !found {
		return bold{}, fmt.Errorf("the text %s has no place for %s", name, hole)
	}
	return bold{before, value, after}, nil
}

func list(names []string) string { return strings.Join(names, ", ") }

func (t texts) failure(f Failure) (string, error) {
	wait, err := t.wait(f.RetryAfter)
	if err != nil {
		return "", err
	}
	return t.say("failure."+string(f.Why), "wait", wait)
}

func (t texts) problem(p Problem) (string, error) {
	return t.say("problem."+string(p.Why), "n", p.Bound)
}

// ask is the text of a value of a scope, or of all. A value that is not of OpenID Connect is the
// name of a right.
func (t texts) ask(scope string) (string, error) {
	if _, known := t["ask."+scope]; known {
		return t.say("ask." + scope)
	}
	return t.say("consent.right", "right", scope)
}

// wait says when to try again.
func (t texts) wait(d time.Duration) (string, error) {
	switch minutes := int((d + time.Minute - 1) / time.Minute); {
	case d <= 0:
		return t.say("wait.later")
	case minutes == 1:
		return t.say("wait.minute")
	case minutes <= 90:
		return t.say("wait.minutes", "n", minutes)
	default:
		return t.say("wait.hours", "n", (minutes+59)/60)
	}
}

// when says on which day something was, as seen from now. Days are those of UTC, since nobody knows
// the reader's zone.
func (t texts) when(at, now time.Time) (string, error) {
	const day = 24 * time.Hour
	switch days := now.UTC().Truncate(day).Sub(at.UTC().Truncate(day)) / day; {
	case days <= 0:
		return t.say("when.today")
	case days == 1:
		return t.say("when.yesterday")
	}
	return t.date(at)
}

func (t texts) date(at time.Time) (string, error) {
	at = at.UTC()
	month, err := t.say(fmt.Sprintf("month.%d", at.Month()))
	if err != nil {
		return "", err
	}
	return t.say("date", "day", at.Day(), "month", month, "year", at.Year())
}

// device says what a User-Agent names.
func (t texts) device(userAgent string) (string, error) {
	switch d := DeviceOf(userAgent); {
	case d.Program == "" && d.System == "":
		return t.say("device.unknown")
	case d.Program == "":
		return d.System, nil
	case d.System == "":
		return d.Program, nil
	default:
		return t.say("device", "program", d.Program, "system", d.System)
	}
}
