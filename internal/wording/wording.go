// Package wording owns the form of the files that hold what people read: a line for each text, with
// places for what is filled in.
package wording

import (
	"fmt"
	"regexp"
	"strings"
)

// Parse reads a file of lines such as "login.title = Log in". It returns the texts by name. Lines
// that begin with # are for whoever edits the file.
func Parse(file []byte) (map[string]string, error) {
	said := make(map[string]string)
	for line := range strings.Lines(string(file)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, text, found := strings.Cut(line, " = ")
		if _, twice := said[name]; !found || twice {
			return nil, fmt.Errorf("the line %q is no text, or is there twice", line)
		}
		said[name] = text
	}
	return said, nil
}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// Fill returns a text with its placeholders, such as {name}, filled in by pairs of a name and a
// value. It is an error if a placeholder is left. The result is plain text: whoever shows it
// escapes it.
func Fill(text string, pairs ...any) (string, error) {
	values := make(map[string]string)
	for n := 0; n+1 < len(pairs); n += 2 {
		values[fmt.Sprintf("{%s}", pairs[n])] = fmt.Sprint(pairs[n+1])
	}
	var missing error
	filled := placeholder.ReplaceAllStringFunc(text, func(hole string) string {
		value, given := values[hole]
		if !given {
			missing = fmt.Errorf("the text %q lacks a value for %s", text, hole)
		}
		return value
	})
	return filled, missing
}

// Places returns the placeholders of a text, in their order.
func Places(text string) []string { return placeholder.FindAllString(text, -1) }
